-- Back to version 2: tokens, sessions, audit log, history and the classes of failures are lost, the
-- jobs and their counts stay as they are.
-- Takes exclusive locks on the tables that go, under the lock_timeout of a migration.
DROP TABLE dutiful.kept;
DROP TABLE dutiful.failure_total;
DROP TABLE dutiful.failure;
