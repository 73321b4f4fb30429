-- Stores jobs: the record once, and a row in ready or scheduled, in one statement. A repeated id
-- changes nothing. No locks but those of the new rows; unique keys are taken in the order of the
-- keys, ids without one in their own, so that two batches cannot wait for each other in a circle.

-- :plain jobs without unique keys, none of which is there yet; answers with their ids. $1 ids,
-- types, queues, payloads, $5 priorities, delays in µs (-1: none), times or null, $8 most
-- attempts, timeouts in ms, $10 at most once, correlation ids, trace parents, groups, $14 tags as
-- JSON arrays, $15 now. They come in the order of their ids. To look for each id before it is
-- inserted costs a sixth, and an id that is there is rare: the insert fails, and `known` does it.
WITH t AS MATERIALIZED (SELECT dutiful.moment_($15::timestamptz) AS now),
/* part_stored */

-- :sooner the same by a commit that does not wait for the disk: `flush` has to follow. $16 whether
-- it wakes those who sleep elsewhere, the process that rings, $18 the channel
WITH t AS MATERIALIZED (
    SELECT dutiful.moment_($15::timestamptz) AS now,
        set_config('synchronous_commit', 'off', true) AS flushed,
        CASE WHEN $16::boolean THEN pg_notify($18::text, $17::bigint::text)::text END AS rung
),
/* part_stored */

-- :known the same where an id may be there already: that changes nothing, and is left out of the
-- answer
WITH t AS MATERIALIZED (SELECT dutiful.moment_($15::timestamptz) AS now),
/* part_given */,
new AS (
    /* part_records */
    ON CONFLICT DO NOTHING
    /* part_returning */
),
/* part_places */
SELECT id FROM new

-- :part_stored the rows of jobs none of which is there yet
/* part_given */,
new AS (
    /* part_records */
    /* part_returning */
),
/* part_places */
SELECT id FROM new

-- :part_given a row for each job, with its time
given AS (
    SELECT g.*, least(coalesce(g.at, t.now + g.delay * interval '1 microsecond'),
            '9999-12-31T23:59:59.999999Z') AS wanted, t.now
    FROM t, unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::smallint[], $6::bigint[],
        $7::timestamptz[], $8::int[], $9::bigint[], $10::smallint[], $11::text[], $12::text[],
        $13::text[], $14::text[]) AS g (id, type, queue, payload, priority, delay, at, attempts,
        timeout_ms, delivery, correlation, trace, grp, tags)
)

-- :part_records
INSERT INTO dutiful.job (id, type, queue, priority, created_at, scheduled_for, max_attempts,
        timeout_ms, correlation_id, trace_parent, group_key, tags, delivery, payload)
    SELECT id, type, queue, priority, now, CASE WHEN delay >= 0 OR at IS NOT NULL THEN wanted END,
        attempts, timeout_ms, correlation, trace, grp, tags, delivery, payload
    FROM given

-- :part_returning
RETURNING id, queue, priority, type, delivery, created_at AS now,
        greatest(created_at, scheduled_for) AS run_at

-- :part_places
due AS (
    INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
    SELECT queue, priority, run_at, id, type, delivery * 2, 0, 0, 0 FROM new WHERE run_at <= now
),
later AS (
    INSERT INTO dutiful.scheduled (queue, priority, run_at, id, type, flags, attempt, failures,
        crashes, reason)
    SELECT queue, priority, run_at, id, type, delivery * 2, 0, 0, 0, 0 FROM new WHERE run_at > now
),
counted AS (
    INSERT INTO dutiful.tally (queue, type, event, n)
    SELECT queue, type, 0, count(*) FROM new GROUP BY queue, type
)

-- :flush waits until all that was committed before is on the disk, by a commit of its own that
-- leaves nothing but a note in the log; says whether somebody sleeps elsewhere. $1 who asks
SELECT pg_logical_emit_message(true, 'dutiful', ''), EXISTS (
    SELECT FROM dutiful.sleeper WHERE until > clock_timestamp() AND process <> $1::bigint)

-- :copy_begin a large batch: the same rows, none of which is there yet, by COPY
BEGIN

-- :copy_moment its time: $1 now
SELECT dutiful.moment_($1::timestamptz)

-- :copy_records
COPY dutiful.job (id, type, queue, priority, created_at, scheduled_for, max_attempts, timeout_ms,
    correlation_id, trace_parent, group_key, tags, delivery, payload) FROM STDIN (FORMAT binary)

-- :copy_ready those that are due
COPY dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
FROM STDIN (FORMAT binary)

-- :copy_scheduled those that are not
COPY dutiful.scheduled (queue, priority, run_at, id, type, flags, attempt, failures, crashes,
    reason) FROM STDIN (FORMAT binary)

-- :copy_counted in one row: $1 queues, types, $3 how many
INSERT INTO dutiful.tally_batch (queue, type, event, n, ran, waited, ran_us, waited_us)
VALUES ($1::text[], $2::text[], array_fill(0::smallint, ARRAY[cardinality($1::text[])]),
    $3::int[], '{}', '{}', '{}', '{}')

-- :copy_commit
COMMIT

-- :ages how old these jobs are, in µs: what a lost answer left to be known. $1 ids, $2 now
SELECT j.id, (extract(epoch FROM coalesce($2::timestamptz, clock_timestamp()) - j.created_at)
    * 1000000)::bigint
FROM dutiful.job j WHERE j.id = ANY ($1::uuid[])

-- :function_moment the time of a row that goes to ready. The transaction has its number before it
-- reads the clock: whoever sees a later number running knows that no earlier time is still to come.
CREATE OR REPLACE FUNCTION dutiful.moment_(at timestamptz) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT CASE WHEN pg_current_xact_id() IS NOT NULL THEN coalesce(at, clock_timestamp()) END
$$

-- :keyed the same where at least one job has a unique key, $16 keys or null: $15 is the time
SELECT n, id, outcome FROM dutiful.enqueue_keyed_($1::uuid[], $2::text[], $3::text[], $4::bytea[],
    $5::smallint[], $6::bigint[], $7::timestamptz[], $8::int[], $9::bigint[], $10::smallint[],
    $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz, $16::text[])

-- :function one job after the other, in the order of their keys; outcome 0 new, 1 the id was known,
-- 2 a live job holds the key. A key that others are about to free or to take is waited for.
CREATE OR REPLACE FUNCTION dutiful.enqueue_keyed_(ids uuid[], types text[], queues text[],
    payloads bytea[], priorities smallint[], delays bigint[], ats timestamptz[], attempts int[],
    timeouts bigint[], deliveries smallint[], correlations text[], traces text[], grps text[],
    tags_ text[], at_now timestamptz, keys text[])
RETURNS TABLE (n bigint, id uuid, outcome smallint) LANGUAGE plpgsql AS $body$
DECLARE
    g record;
    moment timestamptz := dutiful.moment_(at_now);
    wanted timestamptz;
    holder uuid;
    took boolean;
    fresh uuid[] := '{}';
    there uuid[] := '{}';
    repeats boolean := (SELECT count(*) > count(DISTINCT i) FROM unnest(ids) i);
BEGIN
    FOR g IN
        SELECT u.*, coalesce(u.at, moment + u.delay * interval '1 microsecond') AS whenever
        FROM unnest(ids, types, queues, payloads, priorities, delays, ats, attempts, timeouts,
            deliveries, correlations, traces, grps, tags_, keys) WITH ORDINALITY AS u (job_id, type,
            queue, payload, priority, delay, at, attempts, timeout_ms, delivery, correlation, trace,
            grp, tags, key, place)
        -- A batch that names an id twice is worked off as it stands: the first of the two counts.
        ORDER BY CASE WHEN repeats THEN NULL ELSE u.key COLLATE "C" END,
            CASE WHEN NOT repeats AND u.key IS NULL THEN u.job_id END, u.place
    LOOP
        n := g.place;
        id := g.job_id;
        outcome := 1;
        IF EXISTS (SELECT 1 FROM dutiful.job j WHERE j.id = g.job_id) THEN
            there := there || g.job_id;
            RETURN NEXT;
            CONTINUE;
        END IF;
        holder := g.job_id;
        took := false;
        IF g.key IS NOT NULL THEN
            FOR tries IN 1 .. 100 LOOP
                INSERT INTO dutiful.unique_key (key, id) VALUES (g.key, g.job_id)
                ON CONFLICT DO NOTHING;
                took := FOUND;
                EXIT WHEN took;
                SELECT k.id INTO holder FROM dutiful.unique_key k WHERE k.key = g.key;
                EXIT WHEN FOUND;
                -- It was freed between the two looks, or the id holds another key.
                holder := g.job_id;
            END LOOP;
        END IF;
        IF holder <> g.job_id THEN
            id := holder;
            outcome := 2;
            there := there || holder;
            RETURN NEXT;
            CONTINUE;
        END IF;
        wanted := least(g.whenever, '9999-12-31T23:59:59.999999Z');
        INSERT INTO dutiful.job (id, type, queue, priority, created_at, scheduled_for, max_attempts,
            timeout_ms, correlation_id, trace_parent, group_key, unique_key, tags, delivery,
            payload)
        VALUES (g.job_id, g.type, g.queue, g.priority, moment,
            CASE WHEN g.delay >= 0 OR g.at IS NOT NULL THEN wanted END, g.attempts, g.timeout_ms,
            g.correlation, g.trace, g.grp, g.key, g.tags, g.delivery, g.payload)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            -- The same job may have come with its key while we waited for that: then it has it.
            IF took THEN
                DELETE FROM dutiful.unique_key k WHERE k.key = g.key AND k.id = g.job_id;
            END IF;
            there := there || g.job_id;
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF g.delay < 0 AND g.at IS NULL OR wanted <= moment THEN
            INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures,
                crashes)
            VALUES (g.queue, g.priority, moment, g.job_id, g.type,
                g.delivery * 2 + (g.key IS NOT NULL)::int, 0, 0, 0);
        ELSE
            INSERT INTO dutiful.scheduled (queue, priority, run_at, id, type, flags, attempt,
                failures, crashes, reason)
            VALUES (g.queue, g.priority, wanted, g.job_id, g.type,
                g.delivery * 2 + (g.key IS NOT NULL)::int, 0, 0, 0, 0);
        END IF;
        fresh := fresh || g.job_id;
        outcome := 0;
        RETURN NEXT;
    END LOOP;
    INSERT INTO dutiful.tally (queue, type, event, n)
    SELECT j.queue, j.type, 0, count(*) FROM dutiful.job j WHERE j.id = ANY (fresh)
    GROUP BY j.queue, j.type;
    -- A young job may stand there by a commit that has not reached the disk yet. Who is told that
    -- it is there may rely on it, so this transaction's own commit waits for the disk.
    IF EXISTS (SELECT FROM dutiful.job j
               WHERE j.id = ANY (there) AND j.created_at > moment - interval '1 minute') THEN
        BEGIN
            PERFORM pg_logical_emit_message(true, 'dutiful', '');
        EXCEPTION WHEN insufficient_privilege THEN
            -- Where that is forbidden, all commits wait.
        END;
    END IF;
END $body$
