-- Lists workers with how many leases each holds. Reads only, in one statement; lease is small, for
-- it holds what runs now.

-- :all ?1 at most
SELECT w.id, w.name, w.pid, w.queues, w.types, w.started_at, w.beat_at, w.stopped_at,
    ifnull(l.n, 0), l.until, w.quiet
FROM dutiful_worker w
LEFT JOIN (SELECT worker, count(*) AS n, max(until) AS until FROM dutiful_lease GROUP BY worker) l
    ON l.worker = w.id
ORDER BY w.stopped_at IS NOT NULL, w.started_at DESC, w.id LIMIT ?1
