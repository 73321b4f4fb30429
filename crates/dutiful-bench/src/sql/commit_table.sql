-- A table to commit to, as durable as the store's file. No parameters; nobody else has the file.
PRAGMA journal_mode = wal;
PRAGMA synchronous = full;
CREATE TABLE IF NOT EXISTS commit_row (bytes BLOB) STRICT;
