-- Back to version 2: tokens, sessions, audit log and history are lost, the jobs stay as they are.
-- Takes an exclusive lock on the table that goes, under the lock_timeout of a migration.
DROP TABLE dutiful.kept;
