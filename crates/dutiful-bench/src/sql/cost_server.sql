-- Bytes of WAL, commits, pages found in memory and pages read, so far. Sessions tell of themselves
-- when they end, or once a second while they work. No parameters.
SELECT pg_current_wal_insert_lsn() - '0/0', xact_commit, blks_hit, blks_read
FROM pg_stat_database, pg_sleep(1.5) WHERE datname = current_database()
