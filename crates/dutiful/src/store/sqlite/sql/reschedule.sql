-- Gives waiting jobs another time; a failed one stays failed. Runs inside BEGIN IMMEDIATE.

-- :ready_to_scheduled ?1 id, ?2 run_at
INSERT INTO dutiful_scheduled (run_at, id, queue, priority, type, flags, attempt, failures, crashes,
    reason)
SELECT ?2, id, queue, priority, type, flags, attempt, failures, crashes, 0
FROM dutiful_ready WHERE id = ?1

-- :leave_ready ?1 id
DELETE FROM dutiful_ready WHERE id = ?1

-- :move ?1 id, ?2 run_at; one that was set aside waits for its time now
UPDATE dutiful_scheduled SET run_at = ?2, reason = iif(reason = 3, 0, reason) WHERE id = ?1
