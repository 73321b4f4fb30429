-- What the server is. Reads only.

-- :server its version and what a commit survives
SELECT current_setting('server_version'), current_setting('fsync'),
    current_setting('synchronous_commit'), current_setting('server_version_num')::int,
    pg_is_in_recovery()
