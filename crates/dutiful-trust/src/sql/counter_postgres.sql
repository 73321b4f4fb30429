-- The user's own table beside the jobs: a number in several rows, one of which is raised by each
-- job, in the transaction that completes it. `dutiful.` stands for the schema. A row is locked
-- until that transaction ends, so one of a process that stands still holds up the jobs of its row
-- alone.

-- :create
CREATE TABLE IF NOT EXISTS dutiful.trust_counter (row int PRIMARY KEY, n bigint NOT NULL)

-- :zero $1 how many rows
INSERT INTO dutiful.trust_counter (row, n) SELECT row, 0 FROM generate_series(0, $1::int - 1) row
ON CONFLICT (row) DO UPDATE SET n = 0

-- :raise $1 the row
UPDATE dutiful.trust_counter SET n = n + 1 WHERE row = $1::int
