-- What the server is, and whether a connection to it is one's own. Reads only, in part within a
-- transaction, by which a pooler is told apart.

-- :server its version, what a commit survives, and whether we may write to its log (a function
-- that takes more parameters since version 17)
SELECT current_setting('server_version'), current_setting('fsync'),
    current_setting('synchronous_commit'), current_setting('server_version_num')::int,
    pg_is_in_recovery(), ARRAY (
        SELECT has_function_privilege(p.oid, 'EXECUTE') FROM pg_catalog.pg_proc p
        WHERE p.proname = 'pg_logical_emit_message' AND p.proargtypes[2] = 'text'::regtype
            AND p.pronamespace = 'pg_catalog'::regnamespace
    ) @> ARRAY[true]

-- :token the mark that the startup options of this connection carry; null when nobody took them
SELECT pg_catalog.current_setting('dutiful_wire.token', true)

-- :backend which of the server's processes answers
SELECT pg_catalog.pg_backend_pid()

-- :begin a transaction that holds its process
BEGIN READ ONLY

-- :end it
COMMIT
