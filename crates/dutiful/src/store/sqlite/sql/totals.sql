-- What was counted by queue, type and event since the store was made, how long the attempts took,
-- and what they failed with (2). Reads only, in one snapshot: totals and the rows that no fold has
-- added yet.

-- :all
SELECT queue, type, event, n, ran, waited, NULL AS class FROM dutiful_total
UNION ALL SELECT queue, type, event, n, ran, waited, NULL FROM dutiful_tally
UNION ALL SELECT queue, type, 2, n, NULL, NULL, class FROM dutiful_failure_total
