-- Back to a database that Dutiful never touched; every job is lost, so export them first. Takes
-- exclusive locks on our own tables, under the lock_timeout of a migration.
DROP SCHEMA dutiful CASCADE;
