-- What was counted by queue, type and event since the store was made, and how long the attempts
-- took. Reads only, in one snapshot: totals and the rows that no fold has added yet.

-- :all
SELECT queue, type, event, n, ran, waited FROM dutiful_total
UNION ALL SELECT queue, type, event, n, ran, waited FROM dutiful_tally
