-- Takes jobs whose lease expired back to ready, or to dead. It finds them in lease alone (which is
-- small: it holds what runs now), pages by id, and compares with the store's clock. Lease rows are
-- locked in the order of their ids; one that a user's transaction holds is passed over (SKIP
-- LOCKED), for it may complete the job, and so is one that its owner renewed beside such a
-- transaction (heartbeat.sql), which names the whole fence. A row that cannot be one of ours is set
-- aside as dead, and does not count against the limit: the others go on.

-- :stalled $1 term, dead after so many crashes (0: never), at most so many, $4 an end this far
-- ahead in µs is of a clock that went back, now
SELECT id, attempt, nonce, queue, type, crashes, dead
FROM dutiful.rescue_($1::bigint, $2::bigint, $3::int, $4::bigint, $5::timestamptz)

-- :function
CREATE OR REPLACE FUNCTION dutiful.rescue_(of_term bigint, crashes_max bigint, at_most int,
    beyond_us bigint, at timestamptz)
RETURNS TABLE (id uuid, attempt int, nonce bigint, queue text, type text, crashes bigint,
    dead boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz;
    last uuid := '00000000-0000-0000-0000-000000000000';
    page dutiful.lease[];
    rescued int;
BEGIN
    PERFORM dutiful.check_term_(of_term);
    now := dutiful.moment_(at);
    LOOP
        WITH held AS MATERIALIZED (
            SELECT l.ctid AS place FROM dutiful.lease l
            WHERE (l.until < now OR l.until > now + beyond_us * interval '1 microsecond')
                AND l.id >= last
                AND NOT dutiful.renewed_(l.id, l.attempt, l.nonce, now, beyond_us)
            ORDER BY l.id LIMIT at_most FOR UPDATE OF l SKIP LOCKED
        ),
        ended AS (
            DELETE FROM dutiful.lease WHERE ctid = ANY (ARRAY (SELECT place FROM held))
            RETURNING lease AS l
        )
        SELECT array_agg(e.l ORDER BY (e.l).id) INTO page FROM ended e;
        EXIT WHEN page IS NULL;
        last := page[cardinality(page)].id;
        RETURN QUERY SELECT * FROM dutiful.rescue_page_(page, crashes_max, now);
        GET DIAGNOSTICS rescued = ROW_COUNT;
        at_most := at_most - rescued;
        EXIT WHEN at_most <= 0;
    END LOOP;
    IF to_regclass('dutiful.renewal') IS NOT NULL THEN
        DELETE FROM dutiful.renewal WHERE ctid = ANY (ARRAY (
            SELECT r.ctid FROM dutiful.renewal r WHERE r.until < now FOR UPDATE SKIP LOCKED));
    END IF;
END $$

-- :function_renewed says whether a lease was renewed beside a user's transaction; a schema of the
-- version before has no table for it
CREATE OR REPLACE FUNCTION dutiful.renewed_(of_id uuid, of_attempt int, of_nonce bigint,
    now timestamptz, beyond_us bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF to_regclass('dutiful.renewal') IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM dutiful.renewal r
        WHERE (r.id, r.attempt, r.nonce) = (of_id, of_attempt, of_nonce)
            AND r.until BETWEEN now AND now + beyond_us * interval '1 microsecond');
END $$

-- :function_page gives each lease of a page, which is gone already, its new place
CREATE OR REPLACE FUNCTION dutiful.rescue_page_(page dutiful.lease[], crashes_max bigint,
    now timestamptz)
RETURNS TABLE (id uuid, attempt int, nonce bigint, queue text, type text, crashes bigint,
    dead boolean) LANGUAGE sql AS $$
WITH judged AS MATERIALIZED (
    SELECT l.*, l.crashes::bigint + 1 AS stalls, CASE
        WHEN l.attempt < 0 OR l.attempt = 2147483647 OR l.failures < 0 OR l.crashes < 0
            OR l.crashes = 2147483647 THEN 'its numbers in the store are damaged'
        WHEN NOT EXISTS (SELECT FROM dutiful.job j WHERE j.id = l.id)
            THEN 'its record is missing from the store' END AS corrupt
    FROM unnest(page) l
),
moved AS MATERIALIZED (
    SELECT *, CASE WHEN corrupt IS NOT NULL THEN 'corrupt'
        WHEN crashes_max > 0 AND stalls >= crashes_max THEN 'dead'
        WHEN cancel THEN 'cancelled' ELSE 'ready' END AS place
    FROM judged ORDER BY id
),
buried AS (
    INSERT INTO dutiful.dead (id, attempt, nonce, worker, reason, started_at, finished_at, failures,
        crashes, queue, priority, type, flags, error_class, error_message)
    SELECT id, greatest(attempt, 0), CASE place WHEN 'dead' THEN nonce ELSE 0 END,
        CASE place WHEN 'dead' THEN worker ELSE 0 END, 3,
        CASE place WHEN 'dead' THEN claimed_at ELSE now END, now, greatest(failures, 0),
        least(greatest(stalls, 0), 2147483647), queue, priority, type, flags,
        CASE place WHEN 'dead' THEN 'stalled' ELSE 'corrupt' END,
        coalesce(corrupt, format('%s workers in a row died or stopped renewing while they ran it',
            stalls))
    FROM moved WHERE place IN ('dead', 'corrupt') ON CONFLICT DO NOTHING
),
logged AS (
    INSERT INTO dutiful.attempt AS a (id, attempt, worker, started_at, finished_at, outcome,
        error_class, error_message)
    SELECT id, attempt, worker, claimed_at, now, 6, 'stalled',
        'the worker died or stopped renewing its lease'
    FROM moved WHERE place IN ('ready', 'cancelled')
    ON CONFLICT (id, attempt) DO UPDATE SET worker = excluded.worker,
        started_at = excluded.started_at, finished_at = excluded.finished_at,
        outcome = excluded.outcome, error_class = excluded.error_class,
        error_message = excluded.error_message
),
queued AS (
    INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
    SELECT queue, priority, now, id, type, flags, attempt, failures, stalls
    FROM moved WHERE place = 'ready' ON CONFLICT DO NOTHING
),
cancelled AS (
    INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
        failures)
    SELECT id, attempt, 0, 0, 2, now, now, failures
    FROM moved WHERE place = 'cancelled' ON CONFLICT DO NOTHING
),
freed AS (
    DELETE FROM dutiful.unique_key
    WHERE id = ANY (ARRAY (SELECT id FROM moved WHERE place <> 'ready' AND flags & 1 = 1))
),
counted AS (
    INSERT INTO dutiful.tally (queue, type, event, n)
    SELECT queue, type, event, count(*) FROM moved CROSS JOIN LATERAL (
        SELECT 7 AS event WHERE place <> 'corrupt'
        UNION ALL SELECT 3 WHERE place IN ('dead', 'corrupt')
        UNION ALL SELECT 4 WHERE place = 'cancelled') e
    GROUP BY queue, type, event
)
SELECT id, attempt, nonce, queue, type, stalls, place = 'dead' FROM moved
WHERE place <> 'corrupt' ORDER BY id
$$
