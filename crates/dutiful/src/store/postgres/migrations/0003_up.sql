-- Version 3: what a server keeps beside the jobs: tokens, sessions, the log of its operators,
-- numbers of the past; and what attempts failed with. Takes locks on new tables only. Keys sort by
-- their bytes, as on every store.
CREATE TABLE dutiful.kept (
    shelf   text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   bytea NOT NULL,
    version bigint NOT NULL,
    until   timestamptz,
    PRIMARY KEY (shelf, key)
);
CREATE INDEX kept_until ON dutiful.kept (until) WHERE until IS NOT NULL;

-- What attempts failed with, one row per statement and class, beside the tally's row of the same
-- failures; folded into failure_total by the leader.
CREATE TABLE dutiful.failure (
    seq   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text COLLATE "C" NOT NULL,
    type  text COLLATE "C" NOT NULL,
    class text COLLATE "C" NOT NULL,
    n     bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
-- at most 50 classes of a queue and type, and 'other' for the rest
CREATE TABLE dutiful.failure_total (
    queue text COLLATE "C" NOT NULL,
    type  text COLLATE "C" NOT NULL,
    class text COLLATE "C" NOT NULL,
    n     bigint NOT NULL,
    PRIMARY KEY (queue, type, class)
) WITH (fillfactor = 70);
