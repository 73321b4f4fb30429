-- Version 1: the places a job can stand, and what the leader and the workers know of each other.
-- A job is written once into job; a small row about it stands in exactly one of ready, scheduled,
-- lease, done or dead. No foreign keys: a row's place is the truth. Texts compare as bytes.
-- Takes locks on new tables only.

-- One row: what tells this schema from any other, so that a transaction elsewhere is refused.
CREATE TABLE dutiful.instance (
    id uuid PRIMARY KEY
);
INSERT INTO dutiful.instance (id) VALUES (gen_random_uuid());

CREATE TABLE dutiful.job (
    id             uuid NOT NULL,
    type           text COLLATE "C" NOT NULL,
    queue          text COLLATE "C" NOT NULL,
    priority       smallint NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    created_at     timestamptz NOT NULL,
    scheduled_for  timestamptz,
    max_attempts   int NOT NULL CHECK (max_attempts BETWEEN 1 AND 1000),
    timeout_ms     bigint NOT NULL CHECK (timeout_ms > 0),
    correlation_id text,
    trace_parent   text,
    group_key      text,
    unique_key     text COLLATE "C",
    tags           text,
    delivery       smallint NOT NULL CHECK (delivery IN (0, 1)),
    payload        bytea NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE TABLE dutiful.job_other PARTITION OF dutiful.job DEFAULT;

-- flags: 1 holds a unique key, 2 at-most-once
CREATE TABLE dutiful.ready (
    queue    text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    run_at   timestamptz NOT NULL,
    id       uuid NOT NULL,
    type     text COLLATE "C" NOT NULL,
    flags    smallint NOT NULL,
    attempt  int NOT NULL CHECK (attempt >= 0),
    failures int NOT NULL CHECK (failures >= 0),
    crashes  int NOT NULL CHECK (crashes >= 0),
    PRIMARY KEY (queue, priority, run_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
CREATE UNIQUE INDEX ready_id ON dutiful.ready (id);

-- reason: 0 a time was asked for, 1 failed, 2 snoozed, 3 set aside (no worker knew the type)
CREATE TABLE dutiful.scheduled (
    run_at   timestamptz NOT NULL,
    id       uuid NOT NULL,
    queue    text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    type     text COLLATE "C" NOT NULL,
    flags    smallint NOT NULL,
    attempt  int NOT NULL CHECK (attempt >= 0),
    failures int NOT NULL CHECK (failures >= 0),
    crashes  int NOT NULL CHECK (crashes >= 0),
    reason   smallint NOT NULL CHECK (reason BETWEEN 0 AND 3),
    PRIMARY KEY (run_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
CREATE UNIQUE INDEX scheduled_id ON dutiful.scheduled (id);

-- Heartbeats change until and cancel alone: no index names until, so that an update stays on its
-- page.
CREATE TABLE dutiful.lease (
    id         uuid PRIMARY KEY,
    attempt    int NOT NULL,
    nonce      bigint NOT NULL,
    worker     bigint NOT NULL,
    until      timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    queue      text COLLATE "C" NOT NULL,
    priority   smallint NOT NULL,
    type       text COLLATE "C" NOT NULL,
    flags      smallint NOT NULL,
    failures   int NOT NULL,
    crashes    int NOT NULL,
    cancel     boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lease_cancel ON dutiful.lease (worker) WHERE cancel;

-- outcome: 1 completed, 2 cancelled, 3 at-most-once and nothing heard yet, 4 at-most-once and
-- failed; worker 0: it ended while it waited, so no attempt belongs to this row
CREATE TABLE dutiful.done (
    id          uuid NOT NULL,
    attempt     int NOT NULL,
    nonce       bigint NOT NULL,
    worker      bigint NOT NULL,
    outcome     smallint NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    failures    int NOT NULL,
    result      bytea,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE TABLE dutiful.done_other PARTITION OF dutiful.done DEFAULT;

-- reason: 1 exhausted, 2 discarded, 3 quarantined
CREATE TABLE dutiful.dead (
    id            uuid PRIMARY KEY,
    attempt       int NOT NULL,
    nonce         bigint NOT NULL,
    worker        bigint NOT NULL,
    reason        smallint NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL,
    failures      int NOT NULL,
    crashes       int NOT NULL,
    queue         text COLLATE "C" NOT NULL,
    priority      smallint NOT NULL,
    type          text COLLATE "C" NOT NULL,
    flags         smallint NOT NULL,
    error_class   text NOT NULL,
    error_message text NOT NULL
);

-- the earlier attempts; the last one stands in lease, done or dead
-- outcome: 2 failed, 3 dead, 4 snoozed, 5 released, 6 stalled, 7 cancelled
CREATE TABLE dutiful.attempt (
    id            uuid NOT NULL,
    attempt       int NOT NULL,
    worker        bigint NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL,
    outcome       smallint NOT NULL,
    error_class   text,
    error_message text,
    PRIMARY KEY (id, attempt)
);

CREATE TABLE dutiful.unique_key (
    key text COLLATE "C" PRIMARY KEY,
    id  uuid NOT NULL UNIQUE
);

CREATE TABLE dutiful.queue (
    name      text COLLATE "C" PRIMARY KEY,
    paused_at timestamptz
);

-- What happened, one row per statement and kind; folded into total by the leader. ran and waited
-- are the bucket of each run (an index into the histogram's bounds), the sums are in µs.
CREATE TABLE dutiful.tally (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue     text COLLATE "C" NOT NULL,
    type      text COLLATE "C" NOT NULL,
    event     smallint NOT NULL,
    n         bigint NOT NULL,
    ran       smallint[],
    waited    smallint[],
    ran_us    bigint,
    waited_us bigint
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
-- ran and waited: how many runs fell into each bucket
CREATE TABLE dutiful.total (
    queue     text COLLATE "C" NOT NULL,
    type      text COLLATE "C" NOT NULL,
    event     smallint NOT NULL,
    n         bigint NOT NULL,
    ran       bigint[],
    waited    bigint[],
    ran_us    bigint,
    waited_us bigint,
    PRIMARY KEY (queue, type, event)
) WITH (fillfactor = 70);

CREATE TABLE dutiful.type (
    name         text COLLATE "C" PRIMARY KEY,
    queue        text COLLATE "C" NOT NULL,
    priority     smallint NOT NULL,
    max_attempts int NOT NULL,
    timeout_ms   bigint NOT NULL,
    delivery     smallint NOT NULL,
    updated_at   timestamptz NOT NULL
);

CREATE TABLE dutiful.worker (
    id         bigint PRIMARY KEY,
    name       text NOT NULL,
    pid        int NOT NULL,
    queues     json NOT NULL,
    types      text[] NOT NULL,
    quiet      boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL,
    beat_at    timestamptz NOT NULL,
    stopped_at timestamptz
) WITH (fillfactor = 50);

CREATE TABLE dutiful.leader (
    role   text PRIMARY KEY,
    worker bigint NOT NULL,
    term   bigint NOT NULL,
    until  timestamptz NOT NULL
) WITH (fillfactor = 50);

-- remembered effects; result is null while the attempt that runs it holds its lease
CREATE TABLE dutiful.once (
    key        text COLLATE "C" PRIMARY KEY,
    id         uuid NOT NULL,
    attempt    int NOT NULL,
    nonce      bigint NOT NULL,
    result     bytea,
    expires_at timestamptz NOT NULL
);
CREATE INDEX once_expires ON dutiful.once (expires_at);

-- the last word of the job's last attempt that said one; the checkpoint outlives its attempt
CREATE TABLE dutiful.progress (
    id         uuid PRIMARY KEY,
    attempt    int NOT NULL,
    percent    smallint CHECK (percent BETWEEN 0 AND 100),
    note       text,
    noted_at   timestamptz NOT NULL,
    checkpoint bytea
);

-- log lines, numbered from 1 in each attempt; old ones make room for new ones
CREATE TABLE dutiful.log (
    id        uuid NOT NULL,
    attempt   int NOT NULL,
    number    bigint NOT NULL,
    logged_at timestamptz NOT NULL,
    line      text NOT NULL,
    PRIMARY KEY (id, attempt, number)
);

-- Who sleeps: the doorbell is rung only while a row here is younger than its end. Not logged, for
-- after a crash everybody looks anyway.
CREATE UNLOGGED TABLE dutiful.sleeper (
    process bigint PRIMARY KEY,
    until   timestamptz NOT NULL
) WITH (fillfactor = 50);
