-- Folds the tally's rows into totals. A row with a smaller seq may be committed after one with a
-- larger, so exactly the rows that are seen are deleted and added, never a range. The leader alone
-- deletes them and writes totals, in the order of their keys, under the lock of its term
-- (check_term_): nobody else locks these rows. What a batch counted in one row is taken apart and
-- added with them. What attempts failed with is folded beside it, in the same way.

-- :rows $1 term, how many buckets, at most so many rows
SELECT dutiful.fold_($1::bigint, $2::int, $3::int)

-- :function
CREATE OR REPLACE FUNCTION dutiful.fold_(of_term bigint, buckets int, at_most int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    folded bigint;
BEGIN
    PERFORM dutiful.check_term_(of_term);
    WITH gone AS (
        DELETE FROM dutiful.tally
        WHERE ctid = ANY (ARRAY (SELECT ctid FROM dutiful.tally ORDER BY seq LIMIT at_most))
        RETURNING *
    ),
    parts AS MATERIALIZED (
        SELECT * FROM dutiful.take_batches_(at_most)
    ),
    -- There may be thousands of queues and types, so nothing is joined: each pair, with an event,
    -- has a number, and what belongs to it is gathered by that.
    numbered AS MATERIALIZED (
        SELECT *, dense_rank() OVER (ORDER BY queue, type, event) AS key FROM (
            SELECT queue, type, event, n, ran, waited, ran_us::numeric, waited_us::numeric,
                NULL::smallint AS r, NULL::smallint AS w
            FROM gone
            UNION ALL
            SELECT queue, type, event, n, NULL, NULL, ran_us, waited_us, ran, waited FROM parts
        ) each
    ),
    keys AS (
        SELECT key, min(queue) AS queue, min(type) AS type, min(event) AS event, sum(n) AS n,
            sum(ran_us) AS ran_us, sum(waited_us) AS waited_us,
            bool_or(ran IS NOT NULL OR r IS NOT NULL) AS has_ran,
            bool_or(waited IS NOT NULL OR w IS NOT NULL) AS has_waited
        FROM numbered GROUP BY key
    ),
    -- How often each bucket occurs; every bucket is named, most of them 0 times.
    pairs AS MATERIALIZED (
        SELECT key, r, w, sum(n) AS n FROM (
            SELECT key, unnest(ran) AS r, unnest(waited) AS w, 1 AS n FROM numbered
            UNION ALL
            SELECT key, r, w, n FROM numbered WHERE r IS NOT NULL OR w IS NOT NULL
        ) each
        GROUP BY key, r, w
    ),
    gathered AS (
        SELECT key, which, bucket, sum(n) AS n, NULL AS queue, NULL AS type,
            NULL::smallint AS event, NULL::numeric AS ran_us, NULL::numeric AS waited_us
        FROM (
            SELECT key, 1 AS which, r AS bucket, n FROM pairs
            UNION ALL SELECT key, 2, w, n FROM pairs
            UNION ALL SELECT key, 1, bucket, 0 FROM keys, generate_series(0, buckets - 1) bucket
            WHERE has_ran
            UNION ALL SELECT key, 2, bucket, 0 FROM keys, generate_series(0, buckets - 1) bucket
            WHERE has_waited
        ) each
        WHERE bucket BETWEEN 0 AND buckets - 1 GROUP BY key, which, bucket
        UNION ALL SELECT key, 0, NULL, n, queue, type, event, ran_us, waited_us FROM keys
    ),
    added AS (
        INSERT INTO dutiful.total AS t (queue, type, event, n, ran, waited, ran_us, waited_us)
        SELECT min(queue), min(type), min(event), sum(n) FILTER (WHERE which = 0),
            array_agg(n::bigint ORDER BY bucket) FILTER (WHERE which = 1),
            array_agg(n::bigint ORDER BY bucket) FILTER (WHERE which = 2),
            dutiful.clamped_(sum(ran_us)), dutiful.clamped_(sum(waited_us))
        FROM gathered GROUP BY key ORDER BY 1, 2, 3
        ON CONFLICT (queue, type, event) DO UPDATE SET n = t.n + excluded.n,
            ran = dutiful.added_(t.ran, excluded.ran),
            waited = dutiful.added_(t.waited, excluded.waited),
            ran_us = dutiful.clamped_(coalesce(t.ran_us::numeric + excluded.ran_us, t.ran_us,
                excluded.ran_us)),
            waited_us = dutiful.clamped_(coalesce(t.waited_us::numeric + excluded.waited_us,
                t.waited_us, excluded.waited_us))
    )
    SELECT (SELECT count(*) FROM gone) + coalesce((SELECT max(took) FROM parts), 0) INTO folded;
    RETURN folded + dutiful.fold_failures_(at_most, 50);
END $$

-- :function_batches takes the rows of batches, so many of them or twenty times so many places of
-- their arrays, and answers with what they counted and how much it took: who has taken that much
-- folds again at once, so neither small batches nor large ones pile up. A schema of the version
-- before has none.
CREATE OR REPLACE FUNCTION dutiful.take_batches_(at_most int)
RETURNS TABLE (queue text, type text, event smallint, n bigint, ran smallint, waited smallint,
    ran_us numeric, waited_us numeric, took bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF to_regclass('dutiful.tally_batch') IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH first AS (
        SELECT ctid AS place, seq, cardinality(queue) AS parts
        FROM dutiful.tally_batch ORDER BY seq LIMIT at_most
    ),
    enough AS (
        SELECT place, sum(parts) OVER (ORDER BY seq) - parts AS before FROM first
    ),
    gone AS (
        DELETE FROM dutiful.tally_batch
        WHERE ctid = ANY (ARRAY (SELECT place FROM enough WHERE before < 20 * at_most))
        RETURNING *
    ),
    parts AS (
        SELECT unnest(queue) AS queue, unnest(type) AS type, unnest(event) AS event,
            unnest(n) AS n, unnest(ran) AS ran, unnest(waited) AS waited, unnest(ran_us) AS ran_us,
            unnest(waited_us) AS waited_us
        FROM gone
    )
    SELECT queue, type, event, coalesce(sum(n), 0)::bigint, ran, waited, sum(ran_us),
        sum(waited_us), (SELECT count(*) + sum(cardinality(queue)) / 20 FROM gone)
    FROM parts WHERE queue IS NOT NULL AND type IS NOT NULL AND event IS NOT NULL
    GROUP BY queue, type, event, ran, waited;
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
    WITH gone AS (
        DELETE FROM dutiful.failure
        WHERE ctid = ANY (ARRAY (SELECT ctid FROM dutiful.failure ORDER BY seq LIMIT at_most))
        RETURNING *
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
