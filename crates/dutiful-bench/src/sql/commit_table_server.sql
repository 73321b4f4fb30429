-- A table to commit to, as durable as the store. No parameters; no lock that anybody waits for.
CREATE TABLE IF NOT EXISTS commit_row (bytes bytea)
