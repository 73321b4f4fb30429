-- What was counted by queue, type and event since the schema was made, and how long the attempts
-- took. Reads only, in one statement, so in one snapshot: totals, which hold how often each bucket
-- occurred, and the rows that no fold has added yet, which name the bucket of each attempt.

-- :all
SELECT queue, type, event, n, ran, waited, ran_us, waited_us, true AS folded FROM dutiful.total
UNION ALL
SELECT queue, type, event, n, ran::bigint[], waited::bigint[], ran_us, waited_us, false
FROM dutiful.tally
