-- Back to version 1: a lease that a user's transaction has is renewed only when that has ended.
-- Takes an exclusive lock on the table that goes, under the lock_timeout of a migration.
DROP TABLE dutiful.renewal;
