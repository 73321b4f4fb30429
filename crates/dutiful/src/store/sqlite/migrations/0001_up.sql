-- Version 1: the places a job can stand, and what the leader and the workers know of each other.
-- A job is written once into dutiful_job; a small row about it stands in exactly one of ready,
-- scheduled, lease, done or dead. The payload is the last column, so that reading the others never
-- walks through a long one. All times are µs since 1970, UTC. Ids are 16 bytes.

CREATE TABLE dutiful_job (
    seq            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    type           TEXT NOT NULL,
    queue          TEXT NOT NULL,
    priority       INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    created_at     INTEGER NOT NULL,
    scheduled_for  INTEGER,
    max_attempts   INTEGER NOT NULL CHECK (max_attempts BETWEEN 1 AND 1000),
    timeout_ms     INTEGER NOT NULL CHECK (timeout_ms > 0),
    correlation_id TEXT,
    trace_parent   TEXT,
    group_key      TEXT,
    unique_key     TEXT,
    tags           TEXT,
    delivery       INTEGER NOT NULL,
    payload        BLOB NOT NULL
) STRICT;

-- flags: 1 holds a unique key, 2 at-most-once
CREATE TABLE dutiful_ready (
    queue    TEXT NOT NULL,
    priority INTEGER NOT NULL,
    run_at   INTEGER NOT NULL,
    id       BLOB NOT NULL,
    type     TEXT NOT NULL,
    flags    INTEGER NOT NULL,
    attempt  INTEGER NOT NULL CHECK (attempt BETWEEN 0 AND 4294967295),
    failures INTEGER NOT NULL,
    crashes  INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, run_at, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX dutiful_ready_id ON dutiful_ready (id);

-- reason: 0 a time was asked for, 1 failed, 2 snoozed, 3 set aside (no worker knew the type)
CREATE TABLE dutiful_scheduled (
    run_at   INTEGER NOT NULL,
    id       BLOB NOT NULL,
    queue    TEXT NOT NULL,
    priority INTEGER NOT NULL,
    type     TEXT NOT NULL,
    flags    INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    crashes  INTEGER NOT NULL,
    reason   INTEGER NOT NULL,
    PRIMARY KEY (run_at, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX dutiful_scheduled_id ON dutiful_scheduled (id);

CREATE TABLE dutiful_lease (
    id         BLOB PRIMARY KEY,
    attempt    INTEGER NOT NULL,
    nonce      INTEGER NOT NULL,
    worker     INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    queue      TEXT NOT NULL,
    priority   INTEGER NOT NULL,
    type       TEXT NOT NULL,
    flags      INTEGER NOT NULL,
    failures   INTEGER NOT NULL,
    crashes    INTEGER NOT NULL,
    cancel     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dutiful_lease_cancel ON dutiful_lease (worker) WHERE cancel = 1;

-- outcome: 1 completed, 2 cancelled, 3 at-most-once and nothing heard yet, 4 at-most-once and
-- failed worker 0: it ended while it waited, so no attempt belongs to this row
CREATE TABLE dutiful_done (
    id          BLOB PRIMARY KEY,
    attempt     INTEGER NOT NULL,
    nonce       INTEGER NOT NULL,
    worker      INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    failures    INTEGER NOT NULL,
    result      BLOB
) STRICT, WITHOUT ROWID;

-- reason: 1 exhausted, 2 discarded, 3 quarantined
CREATE TABLE dutiful_dead (
    id            BLOB PRIMARY KEY,
    attempt       INTEGER NOT NULL,
    nonce         INTEGER NOT NULL,
    worker        INTEGER NOT NULL,
    reason        INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    crashes       INTEGER NOT NULL,
    queue         TEXT NOT NULL,
    priority      INTEGER NOT NULL,
    type          TEXT NOT NULL,
    flags         INTEGER NOT NULL,
    error_class   TEXT NOT NULL,
    error_message TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- the earlier attempts; the last one stands in lease, done or dead
-- outcome: 2 failed, 3 dead, 4 snoozed, 5 released, 6 stalled
CREATE TABLE dutiful_attempt (
    id            BLOB NOT NULL,
    attempt       INTEGER NOT NULL,
    worker        INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER NOT NULL,
    outcome       INTEGER NOT NULL,
    error_class   TEXT,
    error_message TEXT,
    PRIMARY KEY (id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE dutiful_unique_key (
    key TEXT PRIMARY KEY,
    id  BLOB NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

CREATE TABLE dutiful_queue (
    name      TEXT PRIMARY KEY,
    paused_at INTEGER
) STRICT, WITHOUT ROWID;

-- what happened, one row per commit and kind; folded into totals by the leader
CREATE TABLE dutiful_tally (
    seq    INTEGER PRIMARY KEY,
    queue  TEXT NOT NULL,
    type   TEXT NOT NULL,
    event  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    ran    BLOB,
    waited BLOB
) STRICT;
CREATE TABLE dutiful_total (
    queue  TEXT NOT NULL,
    type   TEXT NOT NULL,
    event  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    ran    BLOB,
    waited BLOB,
    PRIMARY KEY (queue, type, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE dutiful_type (
    name         TEXT PRIMARY KEY,
    queue        TEXT NOT NULL,
    priority     INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    timeout_ms   INTEGER NOT NULL,
    delivery     INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE dutiful_worker (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    queues     TEXT NOT NULL,
    types      TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at    INTEGER NOT NULL,
    stopped_at INTEGER
) STRICT;

CREATE TABLE dutiful_leader (
    role   TEXT PRIMARY KEY,
    worker INTEGER NOT NULL,
    term   INTEGER NOT NULL,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- remembered effects; result NULL while the attempt that runs it holds its lease
CREATE TABLE dutiful_once (
    key        TEXT PRIMARY KEY,
    id         BLOB NOT NULL,
    attempt    INTEGER NOT NULL,
    nonce      INTEGER NOT NULL,
    result     BLOB,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dutiful_once_expires ON dutiful_once (expires_at);
