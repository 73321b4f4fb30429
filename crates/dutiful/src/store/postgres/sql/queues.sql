-- Counts the live places by queue. Reads only, in one statement, so in one snapshot; finished jobs
-- are counted by the tally, so a long history costs nothing here.

-- :all $1 now (null: the server's); what (1 ready, 2 scheduled, 3 lease, 5 dead, 6 tally,
-- 7 paused), queue, code (reason or event), how many, the oldest or the soonest
SELECT 1 AS what, queue, 0 AS code, count(*) AS n, min(run_at) AS oldest,
    coalesce($1::timestamptz, statement_timestamp()) AS now
FROM dutiful.ready GROUP BY queue
UNION ALL SELECT 2, queue, reason, count(*), min(run_at),
    coalesce($1::timestamptz, statement_timestamp())
FROM dutiful.scheduled GROUP BY queue, reason
UNION ALL SELECT 3, queue, 0, count(*), NULL, NULL FROM dutiful.lease GROUP BY queue
UNION ALL SELECT 5, queue, 0, count(*), NULL, NULL FROM dutiful.dead GROUP BY queue
UNION ALL SELECT 6, queue, event, sum(n)::bigint, NULL, NULL FROM (
    SELECT queue, event, n FROM dutiful.total UNION ALL SELECT queue, event, n FROM dutiful.tally
    UNION ALL SELECT unnest(queue), unnest(event), unnest(n) FROM dutiful.tally_batch
) t WHERE queue IS NOT NULL AND event IS NOT NULL AND n IS NOT NULL GROUP BY queue, event
UNION ALL SELECT 7, name, 0, 0, NULL, NULL FROM dutiful.queue WHERE paused_at IS NOT NULL
