-- The version of the schema. Runs under an advisory lock of the transaction, so that of several
-- starters one migrates and the others find it done; lock_timeout keeps it from queueing behind a
-- long reader and blocking everybody behind itself. It is shorter than deadlock_timeout, so that
-- where it meets a user's transaction in a circle it is never that one which has to fail.

-- :version of the schema here, and the mark of its functions; fails when there is none
SELECT version, functions FROM dutiful.schema

-- :exists $1 the schema's name
SELECT to_regclass(format('%I.schema', $1::text)) IS NOT NULL

-- :open what every migration begins with: {lock} a number that stands for the schema
BEGIN;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = 0;
-- names in views mean the server's own, whatever path the user has
SET LOCAL search_path = pg_catalog, pg_temp;
SELECT pg_advisory_xact_lock({lock});
SET LOCAL lock_timeout = '200ms';
-- whoever may not create schemas can be given an empty one
DO $$ BEGIN
    IF to_regnamespace('"{schema}"') IS NULL THEN CREATE SCHEMA "{schema}"; END IF;
END $$;
CREATE TABLE IF NOT EXISTS dutiful.schema (version bigint NOT NULL, functions text NOT NULL);
-- whoever was faster has left another version there; the caller looks again
DO $$ BEGIN
    IF coalesce((SELECT version FROM dutiful.schema), 0) <> {from} THEN
        RAISE EXCEPTION 'the schema is not at version {from} any more' USING ERRCODE = '40001';
    END IF;
END $$;

-- :record {to} the version that it is now, {mark} whose functions are there
DELETE FROM dutiful.schema;
INSERT INTO dutiful.schema (version, functions) VALUES ({to}, '{mark}');

-- :commit all of it
COMMIT;
