-- Deletes what retention no longer keeps, a bounded piece a call. Ids sort by time, so jobs younger
-- than the cut are never looked at; only foreign ids, which sort by nothing, are. Rows are locked
-- in the order of their ids, and those that somebody holds (a retry) are passed over (SKIP LOCKED).
--
-- Records and ends stand in one partition a day (UTC, by id), so that a day that is over goes at
-- once. Making and dropping partitions locks whole tables: it waits for such a lock for 200 ms at
-- most, because everybody else waits behind it meanwhile, and is tried again the next time.

-- :rows $1 term, completed jobs are kept for so many µs, dead ones, at most so many, $5 now
SELECT dutiful.prune_($1::bigint, $2::bigint, $3::bigint, $4::int, $5::timestamptz)

-- :days $1 term, completed jobs are kept for so many µs, now
SELECT dutiful.days_($1::bigint, $2::bigint, $3::timestamptz)

-- :function
CREATE OR REPLACE FUNCTION dutiful.prune_(of_term bigint, done_us bigint, dead_us bigint,
    at_most int, at timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    first CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    final CONSTANT uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    us CONSTANT interval := '1 microsecond';
    -- Rows of a larger day stay until all of it goes, unless that has been put off for long.
    small_day CONSTANT bigint := 64 * 1024 * 1024;
    late CONSTANT interval := '2 days';
    place text;
    cut timestamptz;
    ahead uuid;
    old uuid[];
    part uuid[];
    gone bigint;
    n bigint;
BEGIN
    PERFORM dutiful.check_term_(of_term);
    now := coalesce(at, clock_timestamp());
    -- A clock of a client that made an id is ahead by less than a day.
    ahead := dutiful.floor_(now + interval '1 day');
    cut := now - done_us * us;
    old := '{}';
    FOR place IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'dutiful.done'::regclass AND (c.relname = 'done_other'
            OR right(c.relname, 8) <= to_char(cut AT TIME ZONE 'UTC', 'YYYYMMDD')
            AND (pg_relation_size(c.oid) <= small_day
                OR right(c.relname, 8) < to_char(cut AT TIME ZONE 'UTC' - late, 'YYYYMMDD')))
        ORDER BY c.relname
    LOOP
        old := old || dutiful.old_done_(place, first, dutiful.floor_(cut), cut,
            at_most - cardinality(old));
        EXIT WHEN cardinality(old) >= at_most;
    END LOOP;
    old := old || dutiful.old_done_('done_other', ahead, final, cut, at_most - cardinality(old));
    cut := now - dead_us * us;
    part := dutiful.old_dead_(first, dutiful.floor_(cut), cut, at_most);
    part := part || dutiful.old_dead_(ahead, final, cut, at_most - cardinality(part));
    old := old || part;
    PERFORM dutiful.erase_(old);
    gone := cardinality(old);
    DELETE FROM dutiful.once WHERE key = ANY (ARRAY (
        SELECT o.key FROM dutiful.once o WHERE o.expires_at < now ORDER BY o.expires_at
        LIMIT at_most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS n = ROW_COUNT;
    gone := gone + n;
    DELETE FROM dutiful.kept k USING (
        SELECT o.shelf, o.key FROM dutiful.kept o WHERE o.until < now ORDER BY o.until
        LIMIT at_most FOR UPDATE SKIP LOCKED) old
    WHERE k.shelf = old.shelf AND k.key = old.key;
    GET DIAGNOSTICS n = ROW_COUNT;
    gone := gone + n;
    DELETE FROM dutiful.worker WHERE id = ANY (ARRAY (
        SELECT w.id FROM dutiful.worker w WHERE w.beat_at < now - greatest(done_us, dead_us) * us
        ORDER BY w.id FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN gone + n;
END $$

-- :function_done takes ended jobs of a range out of a partition of done and out of the numbers
CREATE OR REPLACE FUNCTION dutiful.old_done_(place text, first uuid, last uuid, cut timestamptz,
    at_most int) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    EXECUTE format($sql$
        WITH old AS MATERIALIZED (
            SELECT d.id FROM dutiful.%1$I d
            WHERE d.id BETWEEN $1 AND $2 AND d.finished_at < $3
            ORDER BY d.id LIMIT $4 FOR UPDATE SKIP LOCKED
        ),
        gone AS (
            DELETE FROM dutiful.%1$I d WHERE d.id = ANY (ARRAY (SELECT id FROM old))
            RETURNING d.id, d.outcome
        ),
        counted AS (
            INSERT INTO dutiful.tally (queue, type, event, n)
            SELECT coalesce(j.queue, 'unknown'), coalesce(j.type, 'unknown'),
                CASE g.outcome WHEN 2 THEN 9 ELSE 8 END, count(*)
            FROM gone g LEFT JOIN dutiful.job j USING (id) GROUP BY 1, 2, 3
        )
        SELECT coalesce(array_agg(id), '{}') FROM gone
    $sql$, place) INTO ids USING first, last, cut, at_most;
    RETURN ids;
END $$

-- :function_dead takes dead jobs of a range out of dead; they are counted by their rows
CREATE OR REPLACE FUNCTION dutiful.old_dead_(first uuid, last uuid, cut timestamptz, at_most int)
RETURNS uuid[] LANGUAGE sql AS $$
WITH old AS MATERIALIZED (
    SELECT d.id FROM dutiful.dead d
    WHERE d.id BETWEEN first AND last AND d.finished_at < cut
    ORDER BY d.id LIMIT at_most FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM dutiful.dead d WHERE d.id = ANY (ARRAY (SELECT id FROM old)) RETURNING d.id
)
SELECT coalesce(array_agg(id), '{}') FROM gone
$$

-- :function_erase removes what is left of jobs that stand nowhere any more
CREATE OR REPLACE FUNCTION dutiful.erase_(ids uuid[]) RETURNS void LANGUAGE sql AS $$
DELETE FROM dutiful.attempt WHERE id = ANY (ids);
DELETE FROM dutiful.progress WHERE id = ANY (ids);
DELETE FROM dutiful.log WHERE id = ANY (ids);
DELETE FROM dutiful.unique_key WHERE id = ANY (ids);
DELETE FROM dutiful.job WHERE id = ANY (ids)
$$

-- :function_floor the smallest id of a time
CREATE OR REPLACE FUNCTION dutiful.floor_(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
SELECT (lpad(to_hex(greatest(floor(extract(epoch FROM at) * 1000), 0)::bigint), 12, '0')
    || '00000000000000000000')::uuid
$$

-- :function_days keeps partitions ahead, and drops the oldest day that retention no longer keeps
CREATE OR REPLACE FUNCTION dutiful.days_(of_term bigint, done_us bigint, at timestamptz)
RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    now timestamptz;
    cut timestamp;
    day date;
    gone bigint;
    -- A day that is not to be dropped yet does not keep the next ones.
    tries CONSTANT int := 8;
BEGIN
    PERFORM dutiful.check_term_(of_term);
    -- Only the owner may change tables. Under another role days are made by migrations alone, and
    -- what ended goes one by one.
    IF NOT (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c
            WHERE c.oid = 'dutiful.job'::regclass) THEN
        RETURN 0;
    END IF;
    now := coalesce(at, clock_timestamp());
    PERFORM dutiful.make_days_(now);
    cut := (now - done_us * interval '1 microsecond') AT TIME ZONE 'UTC';
    FOR day IN
        SELECT DISTINCT to_date(right(c.relname, 8), 'YYYYMMDD')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('dutiful.job'::regclass, 'dutiful.done'::regclass)
            AND c.relname ~ '_[0-9]{8}$' AND right(c.relname, 8) < to_char(cut, 'YYYYMMDD')
        ORDER BY 1 LIMIT tries
    LOOP
        gone := dutiful.drop_day_(day, cut AT TIME ZONE 'UTC');
        EXIT WHEN gone IS NOT NULL;
    END LOOP;
    RETURN coalesce(gone, 0);
END $$

-- :function_make_days makes the partitions of today and of the next three days, unless rows of
-- that range stand in DEFAULT already, or DEFAULT is so large that looking through it takes long
CREATE OR REPLACE FUNCTION dutiful.make_days_(now timestamptz) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    day date;
    low uuid;
    high uuid;
    place text;
    default_bytes_max CONSTANT bigint := 64 * 1024 * 1024;
BEGIN
    FOR ahead IN 0..3 LOOP
        day := (now AT TIME ZONE 'UTC')::date + ahead;
        low := dutiful.floor_(day::timestamp AT TIME ZONE 'UTC');
        high := dutiful.floor_((day + 1)::timestamp AT TIME ZONE 'UTC');
        FOREACH place IN ARRAY ARRAY['job', 'done'] LOOP
            CONTINUE WHEN to_regclass(format('dutiful.%I', place || to_char(day, '_YYYYMMDD')))
                IS NOT NULL;
            CONTINUE WHEN pg_relation_size(format('dutiful.%I', place || '_other')::regclass)
                > default_bytes_max;
            CONTINUE WHEN place = 'job' AND EXISTS
                (SELECT FROM dutiful.job_other o WHERE o.id >= low AND o.id < high);
            CONTINUE WHEN place = 'done' AND EXISTS
                (SELECT FROM dutiful.done_other o WHERE o.id >= low AND o.id < high);
            EXECUTE format('CREATE TABLE dutiful.%I PARTITION OF dutiful.%I
                FOR VALUES FROM (%L) TO (%L)',
                place || to_char(day, '_YYYYMMDD'), place, low, high);
        END LOOP;
    END LOOP;
EXCEPTION WHEN lock_not_available OR check_violation OR duplicate_table OR deadlock_detected
    OR insufficient_privilege THEN
    -- Somebody holds the table, or put a row of that range into DEFAULT: the next time.
    RETURN;
END $$

-- :function_drop_day drops a day's partitions; what is kept longer moves to DEFAULT. Writes to
-- that day alone are locked out while it is looked through, everybody only for the moment in which
-- it is detached. Returns how many ended jobs went, null if it must wait.
CREATE OR REPLACE FUNCTION dutiful.drop_day_(day date, cut timestamptz) RETURNS bigint
LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    low uuid := dutiful.floor_(day::timestamp AT TIME ZONE 'UTC');
    high uuid := dutiful.floor_((day + 1)::timestamp AT TIME ZONE 'UTC');
    parts text[];
    part text;
    gone bigint;
    survivors uuid[];
    survivors_max CONSTANT int := 10000;
BEGIN
    parts := ARRAY (
        SELECT p || to_char(day, '_YYYYMMDD') FROM unnest(ARRAY['job', 'done']) p
        WHERE to_regclass(format('dutiful.%I', p || to_char(day, '_YYYYMMDD'))) IS NOT NULL);
    FOREACH part IN ARRAY parts LOOP
        EXECUTE format('LOCK TABLE dutiful.%I IN SHARE ROW EXCLUSIVE MODE', part);
    END LOOP;
    -- The other half stands in DEFAULT: what ended goes one by one first.
    IF cardinality(parts) < 2 AND EXISTS (SELECT FROM dutiful.done d
            WHERE d.id >= low AND d.id < high AND d.finished_at < cut) THEN
        RETURN NULL;
    END IF;
    survivors := ARRAY (
        SELECT id FROM dutiful.ready WHERE id >= low AND id < high
        UNION ALL SELECT id FROM dutiful.scheduled WHERE id >= low AND id < high
        UNION ALL SELECT id FROM dutiful.lease WHERE id >= low AND id < high
        UNION ALL SELECT id FROM dutiful.dead WHERE id >= low AND id < high
        UNION ALL SELECT id FROM dutiful.done
            WHERE id >= low AND id < high AND finished_at >= cut
        LIMIT survivors_max + 1);
    -- So many would hold everybody up while they move: the rest is pruned one by one meanwhile.
    IF cardinality(survivors) > survivors_max THEN
        RETURN NULL;
    END IF;
    WITH counts AS (
        SELECT coalesce(j.queue, 'unknown') AS queue, coalesce(j.type, 'unknown') AS type,
            CASE d.outcome WHEN 2 THEN 9 ELSE 8 END AS event, count(*) AS n
        FROM dutiful.done d
        LEFT JOIN dutiful.job j ON j.id = d.id AND j.id >= low AND j.id < high
        WHERE d.id >= low AND d.id < high AND d.finished_at < cut GROUP BY 1, 2, 3
    ),
    counted AS (
        INSERT INTO dutiful.tally (queue, type, event, n) SELECT * FROM counts
    )
    SELECT coalesce(sum(n), 0) INTO gone FROM counts;
    DELETE FROM dutiful.attempt a WHERE a.id >= low AND a.id < high
        AND NOT EXISTS (SELECT FROM unnest(survivors) s WHERE s = a.id);
    DELETE FROM dutiful.progress p WHERE p.id >= low AND p.id < high
        AND NOT EXISTS (SELECT FROM unnest(survivors) s WHERE s = p.id);
    DELETE FROM dutiful.log l WHERE l.id >= low AND l.id < high
        AND NOT EXISTS (SELECT FROM unnest(survivors) s WHERE s = l.id);
    FOREACH part IN ARRAY parts LOOP
        EXECUTE format('ALTER TABLE dutiful.%I DETACH PARTITION dutiful.%I',
            split_part(part, '_', 1), part);
        IF part LIKE 'done%' THEN
            EXECUTE format('INSERT INTO dutiful.done SELECT * FROM dutiful.%I
                WHERE finished_at >= $1', part) USING cut;
        ELSE
            EXECUTE format('INSERT INTO dutiful.job SELECT * FROM dutiful.%I WHERE id = ANY ($1)',
                part) USING survivors;
        END IF;
        EXECUTE format('DROP TABLE dutiful.%I', part);
    END LOOP;
    RETURN gone;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RETURN NULL;
END $$

-- :functions_ready the partitions that a migration leaves there
SELECT dutiful.make_days_(clock_timestamp())
