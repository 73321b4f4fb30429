-- Moves scheduled jobs that are due into ready; a range of the primary key, at most ?2 rows a call.
-- Runs inside BEGIN IMMEDIATE after the term was checked.

-- :next
SELECT min(run_at) FROM dutiful_scheduled

-- :last ?1 now, ?2 limit: the last row of a full batch
SELECT run_at, id FROM dutiful_scheduled WHERE run_at <= ?1
ORDER BY run_at, id LIMIT 1 OFFSET ?2 - 1

-- :to_ready what stands in ready already stays there; ?1 run_at, ?2 id of the last row, ?3 now
INSERT OR IGNORE INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures,
    crashes)
SELECT queue, priority, ?3, id, type, flags, max(0, min(attempt, 4294967295)), failures, crashes
FROM dutiful_scheduled WHERE (run_at, id) <= (?1, ?2)

-- :leave ?1 run_at, ?2 id of the last row
DELETE FROM dutiful_scheduled WHERE (run_at, id) <= (?1, ?2)
