-- What a person should look at. Reads only; each statement looks at a bounded number of rows.

-- :seen $1 now (null: the server's), $2 how many seconds ago a worker was alive: types that wait
-- and that no worker serves, leases that wait for their rescue, whether somebody leads
WITH clock AS (SELECT coalesce($1::timestamptz, statement_timestamp()) AS now)
SELECT now, (SELECT count(*) FROM dutiful.lease WHERE until < now) AS stalled,
    EXISTS (SELECT FROM dutiful.leader WHERE until >= now) AS led,
    ARRAY (
        SELECT DISTINCT r.type FROM (SELECT type FROM dutiful.ready LIMIT 2000) r
        WHERE NOT EXISTS (
            SELECT FROM dutiful.worker w WHERE w.stopped_at IS NULL
            AND w.beat_at >= now - $2::bigint * interval '1 second' AND r.type = ANY (w.types))
        ORDER BY r.type LIMIT 10) AS foreign_types
FROM clock
