-- Back to version 3: what no fold has added yet becomes rows of tally, so no number changes.
-- Takes exclusive locks on the view and on the table that goes, under the lock_timeout of a
-- migration.
CREATE OR REPLACE VIEW dutiful.queues AS
SELECT c.queue, sum(c.pending)::bigint AS pending, sum(c.scheduled)::bigint AS scheduled,
    sum(c.active)::bigint AS active, sum(c.failed)::bigint AS failed,
    greatest(sum(c.completed), 0)::bigint AS completed, sum(c.dead)::bigint AS dead,
    greatest(sum(c.cancelled), 0)::bigint AS cancelled, sum(c.stalled)::bigint AS stalled_total,
    min(c.oldest) AS oldest_pending, bool_or(c.paused) AS paused
FROM (
    SELECT queue, count(*) AS pending, 0::bigint AS scheduled, 0::bigint AS active,
        0::bigint AS failed, 0::numeric AS completed, 0::bigint AS dead, 0::numeric AS cancelled,
        0::numeric AS stalled, min(run_at) AS oldest, false AS paused
    FROM dutiful.ready GROUP BY queue
    UNION ALL SELECT queue, count(*) FILTER (WHERE reason = 3),
        count(*) FILTER (WHERE reason IN (0, 2)), 0, count(*) FILTER (WHERE reason = 1), 0, 0, 0, 0,
        NULL, false
    FROM dutiful.scheduled GROUP BY queue
    UNION ALL SELECT queue, 0, 0, count(*), 0, 0, 0, 0, 0, NULL, false
    FROM dutiful.lease GROUP BY queue
    UNION ALL SELECT queue, 0, 0, 0, 0, 0, count(*), 0, 0, NULL, false
    FROM dutiful.dead GROUP BY queue
    UNION ALL SELECT queue, 0, 0, 0, 0,
        sum(CASE event WHEN 1 THEN n WHEN 8 THEN -n ELSE 0 END), 0,
        sum(CASE event WHEN 4 THEN n WHEN 9 THEN -n ELSE 0 END),
        sum(CASE event WHEN 7 THEN n ELSE 0 END), NULL, false
    FROM (SELECT queue, event, n FROM dutiful.total
          UNION ALL SELECT queue, event, n FROM dutiful.tally) t GROUP BY queue
    UNION ALL SELECT name, 0, 0, 0, 0, 0, 0, 0, 0, NULL, true
    FROM dutiful.queue WHERE paused_at IS NOT NULL
) c GROUP BY c.queue;
LOCK TABLE dutiful.tally_batch IN ACCESS EXCLUSIVE MODE;
INSERT INTO dutiful.tally (queue, type, event, n, ran, waited, ran_us, waited_us)
SELECT queue, type, event, n, CASE WHEN ran IS NOT NULL THEN array_fill(ran, ARRAY[n]) END,
    CASE WHEN waited IS NOT NULL THEN array_fill(waited, ARRAY[n]) END, ran_us, waited_us
FROM (
    SELECT unnest(queue) AS queue, unnest(type) AS type, unnest(event) AS event, unnest(n) AS n,
        unnest(ran) AS ran, unnest(waited) AS waited, unnest(ran_us) AS ran_us,
        unnest(waited_us) AS waited_us
    FROM dutiful.tally_batch
) b
WHERE queue IS NOT NULL AND type IS NOT NULL AND event IS NOT NULL AND n BETWEEN 0 AND 1000000;
DROP TABLE dutiful.tally_batch;
