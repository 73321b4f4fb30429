-- Version 3: what a server keeps beside the jobs: tokens, sessions, the log of its operators,
-- numbers of the past; and what attempts failed with. Few and small, and nothing here is on the
-- path of a job that goes well.
CREATE TABLE dutiful_kept (
    shelf   TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL,
    version INTEGER NOT NULL,
    until   INTEGER,
    PRIMARY KEY (shelf, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX dutiful_kept_until ON dutiful_kept (until) WHERE until IS NOT NULL;

-- how many attempts failed, by the class of their failure; at most 50 of a queue and type, and
-- 'other' for the rest
CREATE TABLE dutiful_failure_total (
    queue TEXT NOT NULL,
    type  TEXT NOT NULL,
    class TEXT NOT NULL,
    n     INTEGER NOT NULL,
    PRIMARY KEY (queue, type, class)
) STRICT, WITHOUT ROWID;
