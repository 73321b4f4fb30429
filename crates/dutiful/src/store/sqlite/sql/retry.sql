-- Puts dead, failed or cancelled jobs back into ready, due now. The last attempt of a dead or
-- cancelled one moves to the attempt log first. Runs inside BEGIN IMMEDIATE.

-- :log_dead ?1 id
INSERT OR REPLACE INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome,
    error_class, error_message)
SELECT id, attempt, worker, started_at, finished_at, iif(reason = 3, 6, 3), error_class,
    error_message
FROM dutiful_dead WHERE id = ?1 AND worker <> 0

-- :dead_to_ready ?1 id, ?2 now
INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT queue, priority, ?2, id, type, flags, attempt, 0, 0 FROM dutiful_dead WHERE id = ?1

-- :leave_dead ?1 id
DELETE FROM dutiful_dead WHERE id = ?1

-- :scheduled_to_ready ?1 id, ?2 now
INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT queue, priority, ?2, id, type, flags, attempt, failures, crashes
FROM dutiful_scheduled WHERE id = ?1

-- :leave_scheduled ?1 id
DELETE FROM dutiful_scheduled WHERE id = ?1

-- :log_done ?1 id
INSERT OR REPLACE INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome)
SELECT id, attempt, worker, started_at, finished_at, 7 FROM dutiful_done
WHERE id = ?1 AND worker <> 0

-- :done_to_ready ?1 id, ?2 now
INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT j.queue, j.priority, ?2, d.id, j.type,
    iif(j.unique_key IS NULL, 0, 1) + iif(j.delivery = 1, 2, 0), d.attempt, 0, 0
FROM dutiful_done d JOIN dutiful_job j ON j.id = d.id WHERE d.id = ?1

-- :leave_done ?1 id
DELETE FROM dutiful_done WHERE id = ?1

-- :key ?1 id
SELECT unique_key FROM dutiful_job WHERE id = ?1
