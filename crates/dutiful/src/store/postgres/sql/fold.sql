-- Folds the tally's rows into totals. A row with a smaller seq may be committed after one with a
-- larger, so exactly the rows that are seen are deleted and added, never a range. Rows are locked
-- in the order of seq; the leader alone writes totals, in the order of their keys.

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
    sums AS (
        SELECT queue, type, event, sum(n)::bigint AS n, sum(ran_us)::bigint AS ran_us,
            sum(waited_us)::bigint AS waited_us
        FROM gone GROUP BY queue, type, event
    ),
    counts AS (
        SELECT queue, type, event, which, bucket, count(*) AS n
        FROM gone, LATERAL (SELECT 1 AS which, b AS bucket FROM unnest(ran) b
                            UNION ALL SELECT 2, b FROM unnest(waited) b) each
        GROUP BY queue, type, event, which, bucket
    ),
    histograms AS (
        SELECT queue, type, event, which, array_agg(coalesce(c.n, 0) ORDER BY bucket) AS h
        FROM (SELECT DISTINCT queue, type, event, which FROM counts) k
        CROSS JOIN generate_series(0, buckets - 1) bucket
        LEFT JOIN counts c USING (queue, type, event, which, bucket)
        GROUP BY queue, type, event, which
    ),
    added AS (
        INSERT INTO dutiful.total AS t (queue, type, event, n, ran, waited, ran_us, waited_us)
        SELECT s.queue, s.type, s.event, s.n, r.h, w.h, s.ran_us, s.waited_us
        FROM sums s
        LEFT JOIN histograms r
            ON (r.queue, r.type, r.event, r.which) = (s.queue, s.type, s.event, 1)
        LEFT JOIN histograms w
            ON (w.queue, w.type, w.event, w.which) = (s.queue, s.type, s.event, 2)
        ORDER BY s.queue, s.type, s.event
        ON CONFLICT (queue, type, event) DO UPDATE SET n = t.n + excluded.n,
            ran = dutiful.added_(t.ran, excluded.ran),
            waited = dutiful.added_(t.waited, excluded.waited),
            ran_us = coalesce(t.ran_us + excluded.ran_us, t.ran_us, excluded.ran_us),
            waited_us = coalesce(t.waited_us + excluded.waited_us, t.waited_us, excluded.waited_us)
    )
    SELECT count(*) INTO folded FROM gone;
    RETURN folded;
END $$

-- :function_added adds two histograms, either of which may be missing
CREATE OR REPLACE FUNCTION dutiful.added_(a bigint[], b bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN a IS NULL THEN b WHEN b IS NULL THEN a ELSE ARRAY (
        SELECT coalesce(x, 0) + coalesce(y, 0)
        FROM unnest(a, b) WITH ORDINALITY AS u (x, y, i) ORDER BY i) END
$$
