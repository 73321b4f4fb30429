-- What was counted by queue, type and event since the schema was made, how long the attempts took,
-- and what they failed with (2). Reads only, in one statement, so in one snapshot: totals, which
-- hold how often each bucket occurred, and the rows that no fold has added yet, which name the
-- bucket of each attempt; those of a batch say how often, so it is repeated here.

-- :all
SELECT queue, type, event, n, ran, waited, ran_us, waited_us, true AS folded, NULL AS class
FROM dutiful.total
UNION ALL
SELECT queue, type, event, n, ran::bigint[], waited::bigint[], ran_us, waited_us, false, NULL
FROM dutiful.tally
UNION ALL
SELECT queue, type, event, n, CASE WHEN ran IS NOT NULL THEN array_fill(ran, ARRAY[n::int]) END,
    CASE WHEN waited IS NOT NULL THEN array_fill(waited, ARRAY[n::int]) END, ran_us, waited_us,
    false, NULL
FROM (
    SELECT unnest(queue) AS queue, unnest(type) AS type, unnest(event) AS event,
        unnest(n)::bigint AS n, unnest(ran)::bigint AS ran, unnest(waited)::bigint AS waited,
        unnest(ran_us) AS ran_us, unnest(waited_us) AS waited_us
    FROM dutiful.tally_batch
) b
WHERE queue IS NOT NULL AND type IS NOT NULL AND event IS NOT NULL AND n BETWEEN 0 AND 1000000
UNION ALL
SELECT queue, type, 2::smallint, n, NULL, NULL, NULL, NULL, true, class FROM dutiful.failure_total
UNION ALL
SELECT queue, type, 2::smallint, n, NULL, NULL, NULL, NULL, false, class FROM dutiful.failure
