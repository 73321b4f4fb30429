-- Takes dead jobs out of the dead letter queue: they stay on record as cancelled, their last
-- attempt and its error in the log. Runs inside BEGIN IMMEDIATE.

-- :log ?1 id
INSERT OR REPLACE INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome,
    error_class, error_message)
SELECT id, attempt, worker, started_at, finished_at, iif(reason = 3, 6, 3), error_class,
    error_message
FROM dutiful_dead WHERE id = ?1 AND worker <> 0

-- :to_done ?1 id, ?2 now
INSERT INTO dutiful_done (id, attempt, nonce, worker, outcome, started_at, finished_at, failures)
SELECT id, attempt, 0, 0, 2, ?2, ?2, failures FROM dutiful_dead WHERE id = ?1

-- :leave_dead ?1 id
DELETE FROM dutiful_dead WHERE id = ?1
