-- Version 3: what a server keeps beside the jobs: tokens, sessions, the log of its operators,
-- numbers of the past. Few and small, and nothing here is on the path of a job.
CREATE TABLE dutiful_kept (
    shelf   TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL,
    version INTEGER NOT NULL,
    until   INTEGER,
    PRIMARY KEY (shelf, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX dutiful_kept_until ON dutiful_kept (until) WHERE until IS NOT NULL;
