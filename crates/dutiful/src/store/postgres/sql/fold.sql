-- Folds the tally's rows into totals. A row with a smaller seq may be committed after one with a
-- larger, so exactly the rows that are seen are deleted and added, never a range. Rows are locked
-- in the order of seq; the leader alone writes totals, in the order of their keys. What attempts
-- failed with is folded beside it, in the same way.

-- :rows $1 term, how many buckets, at most so many rows
SELECT dutiful.fold_($1::bigint, $2::int, $3::int)

-- :function
CREATE OR REPLACE FUNCTION dutiful.fold_(of_term bigint, buckets int, at_most int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    folded bigint;
BEGIN
    PERFORM dutiful.check_term_(of_term);
    WITH front AS MATERIALIZED (
        SELECT seq FROM dutiful.tally ORDER BY seq LIMIT at_most FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        DELETE FROM dutiful.tally WHERE seq = ANY (ARRAY (SELECT seq FROM front)) RETURNING *
    ),
    keys AS (
        SELECT queue, type, event, sum(n) AS n, sum(ran_us) AS ran_us, sum(waited_us) AS waited_us,
            bool_or(ran IS NOT NULL) AS has_ran, bool_or(waited IS NOT NULL) AS has_waited
        FROM gone GROUP BY queue, type, event
    ),
    -- How often each bucket occurs; every bucket is named, most of them 0 times. There may be
    -- thousands of queues and types, so nothing is joined: what belongs to a key is gathered by it.
    counts AS (
        SELECT queue, type, event, which, bucket, count(*) AS n
        FROM gone, LATERAL (SELECT 1 AS which, b AS bucket FROM unnest(ran) b
                            UNION ALL SELECT 2, b FROM unnest(waited) b) each
        WHERE bucket BETWEEN 0 AND buckets - 1
        GROUP BY queue, type, event, which, bucket
        UNION ALL
        SELECT queue, type, event, which, bucket, 0
        FROM keys, LATERAL (SELECT 1 AS which WHERE has_ran UNION ALL SELECT 2 WHERE has_waited) w,
            generate_series(0, buckets - 1) bucket
    ),
    gathered AS (
        SELECT queue, type, event, which, bucket, sum(n) AS n, NULL::numeric AS ran_us,
            NULL::numeric AS waited_us
        FROM counts GROUP BY queue, type, event, which, bucket
        UNION ALL SELECT queue, type, event, 0, NULL, n, ran_us, waited_us FROM keys
    ),
    added AS (
        INSERT INTO dutiful.total AS t (queue, type, event, n, ran, waited, ran_us, waited_us)
        SELECT queue, type, event, sum(n) FILTER (WHERE which = 0),
            array_agg(n::bigint ORDER BY bucket) FILTER (WHERE which = 1),
            array_agg(n::bigint ORDER BY bucket) FILTER (WHERE which = 2),
            dutiful.clamped_(sum(ran_us)), dutiful.clamped_(sum(waited_us))
        FROM gathered GROUP BY queue, type, event ORDER BY queue, type, event
        ON CONFLICT (queue, type, event) DO UPDATE SET n = t.n + excluded.n,
            ran = dutiful.added_(t.ran, excluded.ran),
            waited = dutiful.added_(t.waited, excluded.waited),
            ran_us = dutiful.clamped_(coalesce(t.ran_us::numeric + excluded.ran_us, t.ran_us,
                excluded.ran_us)),
            waited_us = dutiful.clamped_(coalesce(t.waited_us::numeric + excluded.waited_us,
                t.waited_us, excluded.waited_us))
    )
    SELECT count(*) INTO folded FROM gone;
    RETURN folded + dutiful.fold_failures_(at_most, 50);
END $$

-- :function_failures folds what attempts failed with; a schema of the version before has no tables
-- for it. A class that has a row goes there; of new ones so many get one as there is room for, the
-- most frequent first; the rest is 'other', which takes no room.
CREATE OR REPLACE FUNCTION dutiful.fold_failures_(at_most int, classes_max int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    folded bigint;
BEGIN
    IF to_regclass('dutiful.failure') IS NULL THEN
        RETURN 0;
    END IF;
    WITH front AS MATERIALIZED (
        SELECT seq FROM dutiful.failure ORDER BY seq LIMIT at_most FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        DELETE FROM dutiful.failure WHERE seq = ANY (ARRAY (SELECT seq FROM front)) RETURNING *
    ),
    keys AS MATERIALIZED (
        SELECT queue, type, class, sum(n) AS n, class = 'other' OR EXISTS (
            SELECT FROM dutiful.failure_total t
            WHERE t.queue = g.queue AND t.type = g.type AND t.class = g.class) AS known
        FROM gone g GROUP BY queue, type, class
    ),
    ranked AS (
        SELECT *, row_number() OVER (
            PARTITION BY queue, type, known ORDER BY n DESC, class) AS rank
        FROM keys
    ),
    named AS (
        SELECT queue, type, n, CASE WHEN known OR rank <= classes_max - (
            SELECT count(*) FROM dutiful.failure_total t
            WHERE t.queue = r.queue AND t.type = r.type AND t.class <> 'other'
        ) THEN class ELSE 'other' END AS class
        FROM ranked r
    ),
    added AS (
        INSERT INTO dutiful.failure_total AS t (queue, type, class, n)
        SELECT queue, type, class, sum(n) FROM named GROUP BY queue, type, class
        ORDER BY queue, type, class
        ON CONFLICT (queue, type, class) DO UPDATE SET n = t.n + excluded.n
    )
    SELECT count(*) INTO folded FROM gone;
    RETURN folded;
END $$

-- :function_clamped a sum of times that is too large for its column stays at the largest: a number
-- that nobody can believe must not hold up the fold, and with it all other chores
CREATE OR REPLACE FUNCTION dutiful.clamped_(us numeric) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT least(us, 9223372036854775807)::bigint
$$

-- :function_added adds two histograms, either of which may be missing
CREATE OR REPLACE FUNCTION dutiful.added_(a bigint[], b bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN a IS NULL THEN b WHEN b IS NULL THEN a ELSE ARRAY (
        SELECT coalesce(x, 0) + coalesce(y, 0)
        FROM unnest(a, b) WITH ORDINALITY AS u (x, y, i) ORDER BY i) END
$$
