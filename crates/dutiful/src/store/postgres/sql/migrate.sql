-- The version of the schema. Runs under an advisory lock of the transaction, so that of several
-- starters one migrates and the others find it done; lock_timeout keeps it from queueing behind a
-- long reader and blocking everybody behind itself.

-- :version of the schema here, and the fingerprint of its functions; fails when there is none
SELECT version, functions FROM dutiful.schema

-- :exists $1 the schema's name
SELECT to_regclass(format('%I.schema', $1::text)) IS NOT NULL

-- :lock $1 a number that stands for the schema
SELECT pg_advisory_xact_lock($1::bigint)
