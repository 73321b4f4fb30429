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
