-- What the server is, and whether a connection to it is one's own. Reads only, in part within a
-- transaction, by which a pooler is told apart.

-- :server its version and what a commit survives
SELECT current_setting('server_version'), current_setting('fsync'),
    current_setting('synchronous_commit'), current_setting('server_version_num')::int,
    pg_is_in_recovery()

-- :token the mark that the startup options of this connection carry; null when nobody took them
SELECT pg_catalog.current_setting('dutiful_wire.token', true)

-- :backend which of the server's processes answers
SELECT pg_catalog.pg_backend_pid()

-- :begin a transaction that holds its process
BEGIN READ ONLY

-- :end it
COMMIT
