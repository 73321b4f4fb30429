-- Takes due jobs under a lease: picks the front of each lane, deletes it from ready, writes the
-- leases and answers with the records, in one statement. Rows that somebody else has locked are
-- passed over (SKIP LOCKED), so that claims wait for nothing and no row is taken twice. A row of
-- ready is never changed, only deleted, so what was locked is what is deleted.
-- A lane is read in stretches (floors.rs), each from a priority and a time up to the priority where
-- the next begins: what was taken long ago and is not vacuumed yet is not walked through again.
-- A row that cannot be one of ours is set aside as dead, so that it holds up nobody.

-- :part_found the rows at the front of the lanes, locked, with their records
found AS MATERIALIZED (
    /* part_columns */
    FROM (
        /* part_rows */
        FOR UPDATE OF r SKIP LOCKED
        /* part_limits */
    ) p
    /* part_record */
)

-- :part_few the same, but of the jobs in each lane that crashed a worker no more than may be taken,
-- and 16 that show that there are others: the rest keep their places in the limits, and are not
-- locked, nor are their records read. What others have locked is missing here, so it is asked again
found AS MATERIALIZED (
    /* part_columns */
    FROM (
        SELECT c.* FROM (
            SELECT *, count(*) FILTER (WHERE crashes > 0)
                OVER (PARTITION BY n ORDER BY priority, run_at, id) AS nth_crashed
            FROM (
                /* part_rows */
                /* part_limits */
            ) r
        ) c
        CROSS JOIN LATERAL (
            SELECT FROM dutiful.ready r WHERE r.ctid = c.place FOR UPDATE OF r SKIP LOCKED
        ) held
        WHERE c.crashes = 0 OR c.nth_crashed <= ($7::int)::bigint + 16
    ) p
    /* part_record */
)

-- :part_rows
SELECT l.n, l.once, r.place, r.queue, r.priority, r.run_at, r.id, r.type, r.flags, r.attempt,
    r.failures, r.crashes
FROM unnest($1::text[], $2::int[], $3::int[], $12::int[], $13::int[]) WITH ORDINALITY
    AS l (queue, room, once, first, last, n)
CROSS JOIN LATERAL (
    SELECT r.* FROM unnest(($14::smallint[])[l.first:l.last],
        ($15::timestamptz[])[l.first:l.last], ($16::smallint[])[l.first:l.last])
        AS s (priority, run_at, below)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS place, r.* FROM dutiful.ready r
        WHERE r.queue = l.queue AND (r.priority, r.run_at) >= (s.priority, s.run_at)
            AND r.priority < s.below AND r.type = ANY ($4::text[])
            AND (r.crashes = 0 OR $7::int > 0) AND (r.flags & 2 = 0 OR l.once > 0)
        ORDER BY r.priority, r.run_at, r.id LIMIT l.room

-- :part_limits
    ) r
    LIMIT l.room
) r
WHERE l.queue <> ALL (ARRAY (SELECT q.name FROM dutiful.queue q
    WHERE q.name = ANY ($1::text[]) AND q.paused_at IS NOT NULL))
LIMIT $5::int

-- :part_columns
SELECT p.*, CASE
    WHEN p.attempt < 0 OR p.attempt = 2147483647 OR p.failures < 0 OR p.crashes < 0
        THEN 'its numbers in the store are damaged'
    WHEN j.id IS NULL THEN 'its record is missing from the store' END AS corrupt,
    j.max_attempts, j.timeout_ms, j.created_at, j.correlation_id, j.trace_parent, j.group_key,
    j.payload

-- :part_record each is looked for by its id (OFFSET 0): joined as tables, the server would walk
-- through all of a day's records for each row where it planned while that day had none
LEFT JOIN LATERAL (SELECT * FROM dutiful.job WHERE id = p.id OFFSET 0) j ON true

-- :front takes all that it finds; or nothing, and answers with a row without an id, where one of
-- the rows needs a closer look (it crashed a worker, it runs at most once, it is none of ours)
-- or not all payloads fit: then `weighed` does it. To begin a statement costs as much as it names
-- tables, and this one is asked most of the time. $1 queues in their order, room in each, $3
-- at-most-once jobs in each, types, $5 limit, bytes, jobs that crashed, $8 nonce, worker, lease in
-- µs, $11 now, $12 the first stretch of each lane, its last one, $14 the stretches' priorities,
-- times and ends
WITH t AS MATERIALIZED (SELECT coalesce($11::timestamptz, clock_timestamp()) AS now),
/* part_found */,
special AS MATERIALIZED (
    SELECT bool_or(corrupt IS NOT NULL OR crashes > 0 OR flags & 2 = 2)
        OR sum(octet_length(payload)) > $6::bigint AS here FROM found
),
left_ready AS (
    DELETE FROM dutiful.ready
    WHERE ctid = ANY (ARRAY (SELECT place FROM found WHERE NOT (SELECT here FROM special)))
),
leased AS (
    INSERT INTO dutiful.lease (id, attempt, nonce, worker, until, claimed_at, queue, priority, type,
        flags, failures, crashes)
    SELECT id, attempt + 1, $8::bigint, $9::bigint, now + $10::bigint * interval '1 microsecond',
        now, queue, priority, type, flags, failures, crashes
    FROM found, t WHERE NOT (SELECT here FROM special)
)
SELECT w.n, w.id, w.attempt + 1, w.queue, w.type, w.flags, w.failures, w.crashes, w.priority,
    w.run_at, t.now, w.payload, w.max_attempts, w.timeout_ms, w.created_at, w.correlation_id,
    w.trace_parent, w.group_key, true AS takes, true AS fits
FROM special s CROSS JOIN t LEFT JOIN found w ON NOT s.here
WHERE s.here OR w.id IS NOT NULL

-- :weighed the same, row by row: as many crashed ones, at-most-once ones and bytes as there is room
-- for; what is none of ours is buried. Parameters as for front, and $17 whether the first may have
-- any size, for nothing was taken yet
WITH t AS MATERIALIZED (SELECT coalesce($11::timestamptz, clock_timestamp()) AS now),
/* part_found */,
/* part_weighed */

-- :crowded the same where thousands have crashed a worker and may run one by one
WITH t AS MATERIALIZED (SELECT coalesce($11::timestamptz, clock_timestamp()) AS now),
/* part_few */,
/* part_weighed */

-- :part_weighed takes what fits of what was found; what may not be taken now weighs nothing. (Such
-- a job hides one behind it in its lane until the next statement, and later lanes may take the
-- bytes that this one needs: to let them wait would cost a statement for each lane with such jobs.)
numbered AS (
    SELECT *, sum((crashes > 0 AND corrupt IS NULL)::int) OVER front AS crashed,
        sum(CASE WHEN corrupt IS NULL THEN flags & 2 ELSE 0 END)
            OVER (PARTITION BY n ORDER BY priority, run_at, id) / 2 AS onces
    FROM found
    WINDOW front AS (ORDER BY n, priority, run_at, id)
),
allowed AS (
    SELECT *, corrupt IS NULL AND (crashes = 0 OR crashed <= $7)
        AND (flags & 2 = 0 OR onces <= once) AS may
    FROM numbered
),
weighed AS (
    SELECT *, NOT may OR sum(octet_length(payload)) FILTER (WHERE may) OVER front <= $6::bigint
        OR $17::boolean AND count(*) FILTER (WHERE may) OVER front = 1 AS fits
    FROM allowed
    WINDOW front AS (ORDER BY n, priority, run_at, id)
),
judged AS MATERIALIZED (SELECT *, may AND fits AS takes FROM weighed),
left_ready AS (
    DELETE FROM dutiful.ready
    WHERE ctid = ANY (ARRAY (SELECT place FROM judged WHERE takes OR corrupt IS NOT NULL))
),
leased AS (
    INSERT INTO dutiful.lease (id, attempt, nonce, worker, until, claimed_at, queue, priority, type,
        flags, failures, crashes)
    SELECT id, attempt + 1, $8::bigint, $9::bigint, now + $10::bigint * interval '1 microsecond',
        now, queue, priority, type, flags, failures, crashes
    FROM judged, t WHERE takes AND flags & 2 = 0
),
done_at_once AS (
    INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
        failures)
    SELECT id, attempt + 1, $8, $9, 3, now, now, failures
    FROM judged, t WHERE takes AND flags & 2 = 2
),
freed AS (
    DELETE FROM dutiful.unique_key
    WHERE id = ANY (ARRAY (SELECT id FROM judged
        WHERE takes AND flags = 3 OR corrupt IS NOT NULL ORDER BY id))
),
buried AS (
    INSERT INTO dutiful.dead (id, attempt, nonce, worker, reason, started_at, finished_at, failures,
        crashes, queue, priority, type, flags, error_class, error_message)
    SELECT id, greatest(attempt, 0), 0, 0, 3, now, now, greatest(failures, 0), greatest(crashes, 0),
        queue, priority, type, flags, 'corrupt', corrupt
    FROM judged, t WHERE corrupt IS NOT NULL ON CONFLICT DO NOTHING
),
counted AS (
    INSERT INTO dutiful.tally (queue, type, event, n)
    SELECT queue, type, CASE WHEN takes THEN 1 ELSE 3 END, count(*) FROM judged
    WHERE takes AND flags & 2 = 2 OR corrupt IS NOT NULL GROUP BY queue, type, takes
)
SELECT w.n, w.id, CASE WHEN w.takes THEN w.attempt + 1 END, w.queue, w.type, w.flags, w.failures,
    w.crashes, w.priority, w.run_at, t.now, w.payload, w.max_attempts, w.timeout_ms, w.created_at,
    w.correlation_id, w.trace_parent, w.group_key, w.takes, w.fits
FROM judged w, t

-- :fronts where each lane begins now, by what this statement sees (and locks nothing): $1 queues,
-- priorities, $3 from these times on, types, $5 whether it is a look: its transaction takes a
-- number, so that it can be told later whether all that ran beside it have ended. A search, which
-- may take long, takes none: it would hold up everybody's looks.
SELECT r.run_at, c.now, c.oldest, c.xid
FROM (SELECT statement_timestamp() AS now,
        CASE WHEN $5::boolean THEN pg_current_xact_id()::text::bigint ELSE 0 END AS xid,
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) c
CROSS JOIN unnest($1::text[], $2::smallint[], $3::timestamptz[]) WITH ORDINALITY
    AS l (queue, priority, run_at, n)
LEFT JOIN LATERAL (
    SELECT r.run_at FROM dutiful.ready r
    WHERE r.queue = l.queue AND r.priority = l.priority AND r.run_at >= l.run_at
        AND r.type = ANY ($4::text[])
    ORDER BY r.run_at LIMIT 1
) r ON true
ORDER BY l.n

-- :aside sets rows of unknown types aside that stand in the way: $1 queues, known types, $3 as many
-- in a queue as make it worth it, for so many µs, $5 now, $6 the first stretch of each lane, its
-- last one, $8 the stretches' priorities, times and ends
WITH t AS MATERIALIZED (SELECT coalesce($5::timestamptz, clock_timestamp()) AS now),
foreigners AS MATERIALIZED (
    SELECT r.* FROM (
        SELECT DISTINCT ON (queue) * FROM unnest($1::text[], $6::int[], $7::int[])
            AS l (queue, first, last)
    ) l
    CROSS JOIN LATERAL (
        SELECT r.* FROM unnest(($8::smallint[])[l.first:l.last],
            ($9::timestamptz[])[l.first:l.last], ($10::smallint[])[l.first:l.last])
            AS s (priority, run_at, below)
        CROSS JOIN LATERAL (
            SELECT r.ctid AS place, r.* FROM dutiful.ready r
            WHERE r.queue = l.queue AND (r.priority, r.run_at) >= (s.priority, s.run_at)
                AND r.priority < s.below AND NOT r.type = ANY ($2::text[])
            ORDER BY r.priority, r.run_at, r.id LIMIT $3::int FOR UPDATE OF r SKIP LOCKED
        ) r
        LIMIT $3
    ) r
),
crowd AS MATERIALIZED (
    SELECT * FROM foreigners WHERE queue = ANY (ARRAY (
        SELECT queue FROM foreigners GROUP BY queue HAVING count(*) >= $3))
),
gone AS (DELETE FROM dutiful.ready WHERE ctid = ANY (ARRAY (SELECT place FROM crowd)))
INSERT INTO dutiful.scheduled (run_at, id, queue, priority, type, flags, attempt, failures, crashes,
    reason)
SELECT now + $4::bigint * interval '1 microsecond', id, queue, priority, type, flags, attempt,
    failures, crashes, 3
FROM crowd, t
