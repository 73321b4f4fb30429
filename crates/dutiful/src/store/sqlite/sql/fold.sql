-- Folds the tally's rows into totals. Runs inside BEGIN IMMEDIATE after the term was checked: rows
-- that arrive later have a larger seq and stay.

-- :rows
SELECT seq, queue, type, event, n, ran, waited FROM dutiful_tally ORDER BY seq LIMIT 5000

-- :total ?1 queue, type, ?3 event
SELECT n, ran, waited FROM dutiful_total WHERE queue = ?1 AND type = ?2 AND event = ?3

-- :put ?1 queue, type, event, n, ran, ?6 waited
INSERT INTO dutiful_total (queue, type, event, n, ran, waited) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (queue, type, event) DO UPDATE SET n = excluded.n, ran = excluded.ran,
    waited = excluded.waited

-- :clear ?1 last seq
DELETE FROM dutiful_tally WHERE seq <= ?1

-- :add one row of a commit: ?1 queue, type, event, n, ran, ?6 waited
INSERT INTO dutiful_tally (queue, type, event, n, ran, waited) VALUES (?1, ?2, ?3, ?4, ?5, ?6)

-- :failed attempts of one class in a commit: ?1 queue, type, class, n, ?5 the class of the rest,
-- ?6 most classes of a queue and type that have a row besides that one. They go into the total at
-- once, since their number is bounded.
INSERT INTO dutiful_failure_total (queue, type, class, n)
VALUES (?1, ?2, iif(?3 = ?5
    OR EXISTS (SELECT 1 FROM dutiful_failure_total
               WHERE queue = ?1 AND type = ?2 AND class = ?3)
    OR ?6 > (SELECT count(*) FROM dutiful_failure_total
             WHERE queue = ?1 AND type = ?2 AND class <> ?5), ?3, ?5), ?4)
ON CONFLICT (queue, type, class) DO UPDATE SET n = n + excluded.n
