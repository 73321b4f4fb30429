-- The user's own table beside the store's: one number, raised once by each job, in the transaction
-- that completes it. The write lock of the file makes one of two transactions wait.

-- :create
CREATE TABLE IF NOT EXISTS trust_counter (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER)

-- :zero
INSERT OR IGNORE INTO trust_counter (one, n) VALUES (1, 0)

-- :raise
UPDATE trust_counter SET n = n + 1
