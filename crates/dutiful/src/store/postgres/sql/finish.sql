-- Writes how attempts ended. A lease ends only where the whole fence (id, attempt, nonce) still
-- holds, so a worker whose lease was taken away changes nothing. One that somebody else has locked
-- is passed over (SKIP LOCKED) and asked for again by the caller, beside all others, so nobody
-- waits for anybody, in whatever order the rows come. Each answers with the places in the request
-- whose fence held. What was locked is deleted, but for a row that a heartbeat renewed after this
-- statement's snapshot: it is locked in its new version, which the delete does not see. So the
-- deleted rows are counted, and only where some are missing it is looked which (IS TRUE keeps that
-- look a hash: our sessions join by loops).

-- :part_held the leases that are ours, locked. Each is looked for by its id: joined as tables, the
-- server would read the whole table of leases where it was planned while that was empty.
held AS MATERIALIZED (
    SELECT l.place, g.* FROM given g CROSS JOIN LATERAL (
        SELECT l.ctid AS place FROM dutiful.lease l
        WHERE l.id = g.id AND l.attempt = g.attempt AND l.nonce = g.nonce
        FOR UPDATE SKIP LOCKED
    ) l
)

-- :done completed and cancelled ones: $1 ids, attempts, nonces, $4 outcomes, started, finished,
-- failures, $8 results, ran buckets, waited buckets, $11 ran µs, waited µs, $13 queues, types,
-- unique, $16 worker
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::smallint[], $5::timestamptz[],
        $6::timestamptz[], $7::int[], $8::bytea[], $9::smallint[], $10::smallint[], $11::bigint[],
        $12::bigint[], $13::text[], $14::text[], $15::boolean[]) WITH ORDINALITY
        AS g (id, attempt, nonce, outcome, started, finished, failures, result, ran, waited, ran_us,
        waited_us, queue, type, uniq, n)
),
/* part_held */,
gone AS (
    DELETE FROM dutiful.lease WHERE ctid = ANY (ARRAY (SELECT place FROM held))
    RETURNING id
),
whole AS MATERIALIZED (
    SELECT (SELECT count(*) FROM gone) = (SELECT count(*) FROM held) AS so
),
mine AS NOT MATERIALIZED (
    SELECT h.* FROM held h WHERE (SELECT so FROM whole)
    UNION ALL
    SELECT h.* FROM held h
    WHERE NOT (SELECT so FROM whole) AND (h.id IN (SELECT id FROM gone)) IS TRUE
),
placed AS (
    INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
        failures, result)
    SELECT id, attempt, nonce, $16::bigint, outcome, started, finished, failures, result FROM mine
),
freed AS (
    DELETE FROM dutiful.unique_key
    WHERE id = ANY (ARRAY (SELECT id FROM mine WHERE uniq ORDER BY id))
),
counted AS (
    INSERT INTO dutiful.tally_batch (queue, type, event, n, ran, waited, ran_us, waited_us)
    SELECT array_agg(queue), array_agg(type), array_agg(event), array_agg(n), array_agg(ran),
        array_agg(waited), array_agg(ran_us), array_agg(waited_us)
    FROM (
        SELECT queue, type, CASE outcome WHEN 1 THEN 1 ELSE 4 END::smallint AS event,
            count(*)::int AS n, CASE outcome WHEN 1 THEN ran END AS ran,
            CASE outcome WHEN 1 THEN waited END AS waited,
            sum(ran_us) FILTER (WHERE outcome = 1)::bigint AS ran_us,
            sum(waited_us) FILTER (WHERE outcome = 1)::bigint AS waited_us
        FROM mine GROUP BY queue, type, outcome, ran, waited
    ) each
    HAVING count(*) > 0
)
SELECT n FROM mine

-- :again failed, snoozed and released ones; where a cancel was asked for meanwhile the job ends
-- here. $1 ids, attempts, nonces, $4 kinds (2 failed, 4 snoozed, 5 released), started, finished,
-- failures, $8 waits in µs, ran buckets, waited buckets, $11 ran µs, waited µs, $13 classes,
-- messages, unique, $16 worker, now
WITH t AS MATERIALIZED (SELECT dutiful.moment_($17::timestamptz) AS now),
given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::smallint[], $5::timestamptz[],
        $6::timestamptz[], $7::int[], $8::bigint[], $9::smallint[], $10::smallint[], $11::bigint[],
        $12::bigint[], $13::text[], $14::text[], $15::boolean[]) WITH ORDINALITY
        AS g (id, attempt, nonce, kind, started, finished, failures, wait, ran, waited, ran_us,
        waited_us, class, message, uniq, n)
),
/* part_held */,
mine AS (
    DELETE FROM dutiful.lease l USING held h WHERE l.ctid = h.place
    RETURNING h.*, l.queue, l.priority, l.type, l.flags, l.failures AS before, l.cancel
),
cancelled AS (
    INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
        failures)
    SELECT id, attempt, 0, 0, 2, now, now, CASE kind WHEN 2 THEN failures ELSE before END
    FROM mine, t WHERE cancel
),
freed AS (
    DELETE FROM dutiful.unique_key
    WHERE id = ANY (ARRAY (SELECT id FROM mine WHERE cancel AND uniq ORDER BY id))
),
to_ready AS (
    INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
    SELECT queue, priority, now, id, type, flags, attempt, before, 0 FROM mine, t
    WHERE kind = 5 AND NOT cancel
),
to_scheduled AS (
    INSERT INTO dutiful.scheduled (run_at, id, queue, priority, type, flags, attempt, failures,
        crashes, reason)
    SELECT least(now + wait * interval '1 microsecond', '9999-12-31T23:59:59.999999Z'), id, queue,
        priority, type, flags, attempt, failures, 0, CASE kind WHEN 2 THEN 1 ELSE 2 END
    FROM mine, t WHERE kind <> 5 AND NOT cancel
),
logged AS (
    INSERT INTO dutiful.attempt (id, attempt, worker, started_at, finished_at, outcome, error_class,
        error_message)
    SELECT id, attempt, $16::bigint, started, finished, kind, class, message FROM mine
    ON CONFLICT (id, attempt) DO UPDATE SET worker = excluded.worker,
        started_at = excluded.started_at, finished_at = excluded.finished_at,
        outcome = excluded.outcome, error_class = excluded.error_class,
        error_message = excluded.error_message
),
counted AS (
    INSERT INTO dutiful.tally (queue, type, event, n, ran, waited, ran_us, waited_us)
    SELECT queue, type, CASE kind WHEN 2 THEN 2 WHEN 4 THEN 5 ELSE 6 END, count(*),
        array_agg(ran) FILTER (WHERE kind = 2), array_agg(waited) FILTER (WHERE kind = 2),
        sum(ran_us) FILTER (WHERE kind = 2), sum(waited_us) FILTER (WHERE kind = 2)
    FROM mine GROUP BY queue, type, kind
    UNION ALL
    SELECT queue, type, 4, count(*), NULL, NULL, NULL, NULL FROM mine WHERE cancel
    GROUP BY queue, type
),
classed AS (
    INSERT INTO dutiful.failure (queue, type, class, n)
    SELECT queue, type, class, count(*) FROM mine WHERE kind = 2 GROUP BY queue, type, class
)
SELECT n FROM mine

-- :dead $1 ids, attempts, nonces, $4 reasons, started, finished, failures, $8 classes, messages,
-- ran buckets, $11 waited buckets, ran µs, waited µs, unique
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::smallint[], $5::timestamptz[],
        $6::timestamptz[], $7::int[], $8::text[], $9::text[], $10::smallint[], $11::smallint[],
        $12::bigint[], $13::bigint[], $14::boolean[]) WITH ORDINALITY
        AS g (id, attempt, nonce, reason, started, finished, failures, class, message, ran, waited,
        ran_us, waited_us, uniq, n)
),
/* part_held */,
mine AS (
    DELETE FROM dutiful.lease l USING held h WHERE l.ctid = h.place
    RETURNING h.*, l.queue, l.priority, l.type, l.flags, l.worker
),
buried AS (
    INSERT INTO dutiful.dead (id, attempt, nonce, worker, reason, started_at, finished_at, failures,
        crashes, queue, priority, type, flags, error_class, error_message)
    SELECT id, attempt, nonce, worker, reason, started, finished, failures, 0, queue, priority,
        type, flags, class, message
    FROM mine
),
freed AS (
    DELETE FROM dutiful.unique_key
    WHERE id = ANY (ARRAY (SELECT id FROM mine WHERE uniq ORDER BY id))
),
counted AS (
    INSERT INTO dutiful.tally (queue, type, event, n, ran, waited, ran_us, waited_us)
    SELECT queue, type, 2, count(*), array_agg(ran), array_agg(waited), sum(ran_us), sum(waited_us)
    FROM mine GROUP BY queue, type
    UNION ALL
    SELECT queue, type, 3, count(*), NULL, NULL, NULL, NULL FROM mine GROUP BY queue, type
),
classed AS (
    INSERT INTO dutiful.failure (queue, type, class, n)
    SELECT queue, type, class, count(*) FROM mine GROUP BY queue, type, class
)
SELECT n FROM mine

-- :late at-most-once jobs stand in done since their claim, which counted them as completed. The ids
-- are named twice, so that however it was planned no more of done is read than those. $1 ids,
-- attempts, nonces, $4 outcomes, finished, results, $7 classes, messages, started, $10 ran buckets,
-- waited buckets, $12 ran µs, waited µs, queues, types, $16 worker
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::smallint[], $5::timestamptz[],
        $6::bytea[], $7::text[], $8::text[], $9::timestamptz[], $10::smallint[], $11::smallint[],
        $12::bigint[], $13::bigint[], $14::text[], $15::text[]) WITH ORDINALITY
        AS g (id, attempt, nonce, outcome, finished, result, class, message, started, ran, waited,
        ran_us, waited_us, queue, type, n)
),
mine AS (
    UPDATE dutiful.done d SET outcome = g.outcome, finished_at = g.finished, result = g.result
    FROM given g
    WHERE d.id = g.id AND d.attempt = g.attempt AND d.nonce = g.nonce AND d.outcome = 3
        AND d.id = ANY ($1::uuid[])
    RETURNING g.*
),
logged AS (
    INSERT INTO dutiful.attempt (id, attempt, worker, started_at, finished_at, outcome, error_class,
        error_message)
    SELECT id, attempt, $16::bigint, started, finished, 2, class, message FROM mine
    WHERE class IS NOT NULL
    ON CONFLICT (id, attempt) DO NOTHING
),
timed AS (
    INSERT INTO dutiful.tally (queue, type, event, n, ran, waited, ran_us, waited_us)
    SELECT queue, type, CASE WHEN class IS NULL THEN 1 ELSE 2 END,
        count(*) FILTER (WHERE class IS NOT NULL), array_agg(ran), array_agg(waited), sum(ran_us),
        sum(waited_us)
    FROM mine GROUP BY queue, type, class IS NULL
),
classed AS (
    INSERT INTO dutiful.failure (queue, type, class, n)
    SELECT queue, type, class, count(*) FROM mine WHERE class IS NOT NULL
    GROUP BY queue, type, class
)
SELECT n FROM mine

-- :locked which of these leases are there still (and were passed over); $1 ids, attempts, nonces
SELECT g.n FROM unnest($1::uuid[], $2::int[], $3::bigint[]) WITH ORDINALITY
    AS g (id, attempt, nonce, n)
CROSS JOIN LATERAL (
    SELECT FROM dutiful.lease l
    WHERE l.id = g.id AND l.attempt = g.attempt AND l.nonce = g.nonce OFFSET 0
) l

-- :ended which of these attempts ended by a write of their worker, whose answer got lost; $1 ids,
-- attempts, nonces, $4 worker
SELECT g.n FROM unnest($1::uuid[], $2::int[], $3::bigint[]) WITH ORDINALITY
    AS g (id, attempt, nonce, n)
WHERE EXISTS (SELECT 1 FROM dutiful.done d
              WHERE d.id = g.id AND d.attempt = g.attempt AND d.nonce = g.nonce)
    OR EXISTS (SELECT 1 FROM dutiful.dead d
               WHERE d.id = g.id AND d.attempt = g.attempt AND d.nonce = g.nonce)
    OR EXISTS (SELECT 1 FROM dutiful.attempt a
               WHERE a.id = g.id AND a.attempt = g.attempt AND a.worker = $4::bigint
                   AND a.outcome IN (2, 4, 5))
