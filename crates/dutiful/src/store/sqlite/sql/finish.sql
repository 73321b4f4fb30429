-- Writes how attempts ended. Each statement that changes anything names the whole fence (?1 id,
-- ?2 attempt, ?3 nonce), so a worker whose lease was taken away changes nothing. Runs inside BEGIN
-- IMMEDIATE; the copy out of lease and the delete from it are one transaction.

-- :asked somebody asked to cancel the job
SELECT 1 FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3 AND cancel = 1

-- :end the lease ends; no row means that it was lost
DELETE FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3

-- :done ?4 worker, outcome, started_at, finished_at, failures, ?9 result
INSERT INTO dutiful_done (id, attempt, nonce, worker, outcome, started_at, finished_at, failures,
    result)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)

-- :late an at-most-once job stands in done already; ?4 outcome, finished_at, ?6 result
UPDATE dutiful_done SET outcome = ?4, finished_at = ?5, result = ?6
WHERE id = ?1 AND attempt = ?2 AND nonce = ?3 AND outcome = 3

-- :scheduled ?4 run_at, failures, ?6 reason
INSERT INTO dutiful_scheduled (run_at, id, queue, priority, type, flags, attempt, failures, crashes,
    reason)
SELECT ?4, id, queue, priority, type, flags, attempt, ?5, 0, ?6
FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3

-- :ready ?4 now
INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT queue, priority, ?4, id, type, flags, attempt, failures, 0
FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3

-- :dead ?4 reason, started_at, finished_at, failures, error_class, ?9 error_message
INSERT INTO dutiful_dead (id, attempt, nonce, worker, reason, started_at, finished_at, failures,
    crashes, queue, priority, type, flags, error_class, error_message)
SELECT id, attempt, nonce, worker, ?4, ?5, ?6, ?7, 0, queue, priority, type, flags, ?8, ?9
FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3

-- :attempt ?1 id, attempt, worker, started_at, finished_at, outcome, error_class, ?8 error_message
INSERT OR REPLACE INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome,
    error_class, error_message)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- :free_key ?1 id
DELETE FROM dutiful_unique_key WHERE id = ?1
