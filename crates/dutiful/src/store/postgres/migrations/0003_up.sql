-- Version 3: what a server keeps beside the jobs: tokens, sessions, the log of its operators,
-- numbers of the past. Takes a lock on a new table only. Keys sort by their bytes, as on every
-- store.
CREATE TABLE dutiful.kept (
    shelf   text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   bytea NOT NULL,
    version bigint NOT NULL,
    until   timestamptz,
    PRIMARY KEY (shelf, key)
);
CREATE INDEX kept_until ON dutiful.kept (until) WHERE until IS NOT NULL;
