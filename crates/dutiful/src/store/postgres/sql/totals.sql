-- What was counted by queue, type and event since the schema was made, how long the attempts took,
-- and what they failed with (2). Reads only, in one statement, so in one snapshot: totals, which
-- hold how often each bucket occurred, and the rows that no fold has added yet, which name the
-- bucket of each attempt.

-- :all
SELECT queue, type, event, n, ran, waited, ran_us, waited_us, true AS folded, NULL AS class
FROM dutiful.total
UNION ALL
SELECT queue, type, event, n, ran::bigint[], waited::bigint[], ran_us, waited_us, false, NULL
FROM dutiful.tally
UNION ALL
SELECT queue, type, 2::smallint, n, NULL, NULL, NULL, NULL, true, class FROM dutiful.failure_total
UNION ALL
SELECT queue, type, 2::smallint, n, NULL, NULL, NULL, NULL, false, class FROM dutiful.failure
