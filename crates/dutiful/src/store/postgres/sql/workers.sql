-- Lists workers with how many leases each holds. Reads only, in one statement; lease is small, for
-- it holds what runs now.

-- :all $1 at most, $2 now (null: the server's)
SELECT w.id, w.name, w.pid, w.queues::text AS queues, w.types, w.started_at, w.beat_at,
    w.stopped_at, coalesce(l.n, 0) AS running, l.until, w.quiet,
    coalesce($2::timestamptz, statement_timestamp()) AS now
FROM dutiful.worker w
LEFT JOIN (SELECT worker, count(*) AS n, max(until) AS until FROM dutiful.lease GROUP BY worker) l
    ON l.worker = w.id
ORDER BY w.stopped_at IS NOT NULL, w.started_at DESC, w.id LIMIT $1::bigint
