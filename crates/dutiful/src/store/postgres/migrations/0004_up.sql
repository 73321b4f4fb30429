-- Version 4: what a batch counts in one row. One that stored or ended jobs of two hundred queues
-- wrote as many rows of tally, to be found and deleted again by the fold; now it writes one, in
-- which each place of the arrays is a queue, type, event and pair of buckets, with how often it
-- occurred. It stays on its page (toast_tuple_target), and is gone after the next fold.
-- Takes a lock on a new table, and on a view for a moment.
CREATE TABLE dutiful.tally_batch (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue     text[] COLLATE "C" NOT NULL,
    type      text[] COLLATE "C" NOT NULL,
    event     smallint[] NOT NULL,
    n         int[] NOT NULL,
    ran       smallint[] NOT NULL,
    waited    smallint[] NOT NULL,
    ran_us    bigint[] NOT NULL,
    waited_us bigint[] NOT NULL
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 500);
-- Whoever may write the tally, may do so.
DO $$ DECLARE given record; BEGIN
    FOR given IN
        SELECT a.privilege_type AS what,
            CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END AS whom
        FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
        WHERE c.oid = 'dutiful.tally'::regclass
    LOOP
        EXECUTE format('GRANT %s ON dutiful.tally_batch TO %s', given.what, given.whom);
    END LOOP;
END $$;

-- One row a queue, for people in psql. Finished jobs are counted by the tally, so history costs
-- nothing here.
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
          UNION ALL SELECT queue, event, n FROM dutiful.tally
          UNION ALL SELECT unnest(queue), unnest(event), unnest(n) FROM dutiful.tally_batch) t
    WHERE queue IS NOT NULL GROUP BY queue
    UNION ALL SELECT name, 0, 0, 0, 0, 0, 0, 0, 0, NULL, true
    FROM dutiful.queue WHERE paused_at IS NOT NULL
) c GROUP BY c.queue;
