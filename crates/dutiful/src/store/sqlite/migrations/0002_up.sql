-- Version 2: what handlers say of their attempts while they run, and whether a worker is quiet.
-- Apart from the places, for most jobs say nothing, and nothing here is on the path of a claim.

-- the last word of the job's last attempt that said one; the checkpoint outlives its attempt
CREATE TABLE dutiful_progress (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    attempt    INTEGER NOT NULL,
    percent    INTEGER CHECK (percent BETWEEN 0 AND 100),
    note       TEXT,
    noted_at   INTEGER NOT NULL,
    checkpoint BLOB
) STRICT, WITHOUT ROWID;

-- log lines, numbered from 1 in each attempt; old ones make room for new ones
CREATE TABLE dutiful_log (
    id        BLOB NOT NULL CHECK (length(id) = 16),
    attempt   INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    logged_at INTEGER NOT NULL,
    line      TEXT NOT NULL,
    PRIMARY KEY (id, attempt, number)
) STRICT, WITHOUT ROWID;

ALTER TABLE dutiful_worker ADD COLUMN quiet INTEGER NOT NULL DEFAULT 0;
