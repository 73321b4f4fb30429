-- Numbers of the store's own health, for metrics. Reads catalogs and statistics only, none of our
-- rows, so it costs the same however many jobs there are; takes no lock that anybody waits for.

-- :seen $1 our schema: rows that are dead and not vacuumed, how long the oldest snapshot or
-- transaction of this database is held that keeps them there (as in the doctor's look), whether we
-- see those of other roles, and whether we may ask where the last checkpoint was
SELECT (
        SELECT coalesce(sum(pg_stat_get_dead_tuples(c.oid)), 0)::bigint FROM pg_class c
        WHERE c.relnamespace = to_regnamespace(quote_ident($1::text)) AND c.relkind = 'r'
    ) AS dead_rows,
    extract(epoch FROM clock_timestamp() - least((
        SELECT min(xact_start) FROM pg_stat_activity a
        WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
            AND backend_type <> 'autovacuum worker'
            AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
    ), (
        SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()
    )))::float8 AS snapshot_age_s,
    pg_has_role(current_user, 'pg_read_all_stats', 'usage') AS sees_all,
    has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
        AND NOT pg_is_in_recovery() AS knows_checkpoint

-- :wal bytes of the write-ahead log since the last checkpoint: what a recovery would replay
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), redo_lsn)::bigint AS bytes
FROM pg_control_checkpoint()
