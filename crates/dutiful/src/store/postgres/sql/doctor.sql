-- Looks for what is wrong with a store and its server. Reads only, from catalogs and a bounded
-- number of our rows, but for homeless and strays, which read everything.

-- :server its settings, its clock, and its connections; holder: who holds the oldest snapshot or
-- transaction of this database that keeps vacuum from dead rows, and for how long. $1 our schema
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('autovacuum') AS autovacuum, current_setting('track_counts') AS track_counts,
    current_setting('max_connections')::bigint AS connections_max,
    current_setting('superuser_reserved_connections')::bigint AS connections_reserved,
    current_setting('autovacuum_freeze_max_age')::bigint AS freeze_max,
    clock_timestamp() AS clock,
    (SELECT count(*) FROM pg_stat_activity
     WHERE backend_type IN ('client backend', 'walsender')) AS connections,
    (SELECT coalesce(max(age(c.relfrozenxid)), 0)::bigint FROM pg_class c
     WHERE c.relnamespace = to_regnamespace(quote_ident($1::text)) AND c.relkind = 'r')
        AS freeze_age,
    pg_has_role(current_user, 'pg_read_all_stats', 'usage') AS sees_all, h.holder, h.seconds
FROM (SELECT 1) one
LEFT JOIN LATERAL (
    SELECT holder, extract(epoch FROM clock_timestamp() - since)::bigint AS seconds FROM (
        SELECT format('session %s (%s, %s)', pid,
                coalesce(nullif(application_name, ''), usename::text), state) AS holder,
            xact_start AS since
        FROM pg_stat_activity a
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
            AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
            AND backend_type <> 'autovacuum worker'
            AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
        UNION ALL
        SELECT format('prepared transaction %s', gid), prepared FROM pg_prepared_xacts
        WHERE database = current_database()) held
    ORDER BY since LIMIT 1) h ON true

-- :slots replication slots that hold rows back: name, whether in use, how many transactions behind
SELECT slot_name::text AS name, active, greatest(age(xmin), age(catalog_xmin))::bigint AS behind
FROM pg_replication_slots WHERE coalesce(xmin, catalog_xmin) IS NOT NULL
ORDER BY 3 DESC LIMIT 10

-- :tables $1 our schema; rows alive and dead, the last vacuum, whether it is off, whether the table
-- is kept without a log, what our role may not do
SELECT c.relname::text AS name,
    coalesce(s.n_live_tup, 0) AS live, coalesce(s.n_dead_tup, 0) AS dead,
    greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed,
    coalesce(c.reloptions::text ~* 'autovacuum_enabled=(false|off|no|0)', false) AS vacuum_off,
    c.relpersistence = 'u' AS unlogged, c.relispartition AS partition,
    ARRAY (
        SELECT p FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) p
        WHERE NOT has_table_privilege(c.oid, p)) AS missing
FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relnamespace = to_regnamespace(quote_ident($1::text)) AND c.relkind IN ('r', 'p')
ORDER BY c.relname

-- :partitions $1 count at most so many; partitions of job besides the one for other ids, and how
-- many records lie in that one
SELECT (SELECT count(*) - 1 FROM pg_inherits WHERE inhparent = 'dutiful.job'::regclass) AS made,
    (SELECT count(*) FROM (SELECT FROM dutiful.job_other LIMIT $1::bigint) o) AS other

-- :installed $1 our schema; name and text
SELECT proname::text AS name, prosrc AS text, has_function_privilege(oid, 'EXECUTE') AS granted
FROM pg_proc WHERE pronamespace = to_regnamespace(quote_ident($1::text)) ORDER BY proname

-- :pid which process of the server answers
SELECT pg_backend_pid()

-- :contents $1 now (null: the server's), $2 how many seconds ago a worker was alive, $3 how many
-- seconds ago leases ended that should have been rescued: the latest time written lately, such
-- leases, the oldest, and queues in which jobs wait and that nobody serves (it steps from queue to
-- queue, so that a long one costs no more than a short one)
WITH RECURSIVE clock AS (SELECT coalesce($1::timestamptz, statement_timestamp()) AS now),
waiting (queue) AS (
    (SELECT queue FROM dutiful.ready ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT r.queue FROM dutiful.ready r WHERE r.queue > w.queue ORDER BY r.queue LIMIT 1)
    FROM waiting w WHERE w.queue IS NOT NULL)
SELECT now, (
        SELECT max(at) FROM (
            SELECT max(created_at) AS at FROM (
                SELECT created_at FROM dutiful.job ORDER BY id DESC LIMIT 1000) j
            UNION ALL SELECT max(claimed_at) FROM dutiful.lease
            UNION ALL SELECT max(beat_at) FROM dutiful.worker) t) AS newest,
    (SELECT count(*) FROM dutiful.lease
     WHERE until < now - $3::bigint * interval '1 second') AS stalled,
    (SELECT min(until) FROM dutiful.lease) AS oldest,
    ARRAY (
        SELECT v.queue FROM waiting v WHERE v.queue IS NOT NULL AND NOT EXISTS (
            SELECT FROM dutiful.worker w, json_object_keys(w.queues) k
            WHERE w.stopped_at IS NULL AND w.beat_at >= now - $2::bigint * interval '1 second'
            AND k = v.queue)
        ORDER BY v.queue LIMIT 10) AS unserved
FROM clock

-- :homeless records that stand in no place or in several, which must not be
SELECT count(*) FROM dutiful.job j WHERE 1 <>
    (SELECT count(*) FROM dutiful.ready r WHERE r.id = j.id)
    + (SELECT count(*) FROM dutiful.scheduled s WHERE s.id = j.id)
    + (SELECT count(*) FROM dutiful.lease l WHERE l.id = j.id)
    + (SELECT count(*) FROM dutiful.done d WHERE d.id = j.id)
    + (SELECT count(*) FROM dutiful.dead x WHERE x.id = j.id)

-- :strays places without a record, which must not be
SELECT count(*) FROM (SELECT id FROM dutiful.ready UNION ALL SELECT id FROM dutiful.scheduled
    UNION ALL SELECT id FROM dutiful.lease UNION ALL SELECT id FROM dutiful.done
    UNION ALL SELECT id FROM dutiful.dead) p
WHERE NOT EXISTS (SELECT FROM dutiful.job j WHERE j.id = p.id)
