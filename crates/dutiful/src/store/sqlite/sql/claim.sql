-- Takes due jobs of a queue under a lease: reads the front of the queue with the records, copies it
-- into lease, deletes it from ready. Runs inside BEGIN IMMEDIATE: one claim at a time, so no row
-- can be taken twice. The front is a range of the primary key unless rows in it were skipped.

-- :paused ?1 queue
SELECT 1 FROM dutiful_queue WHERE name = ?1 AND paused_at IS NOT NULL

-- :front ?1 queue
SELECT r.priority, r.run_at, r.id, r.type, r.flags, r.attempt, r.failures, r.crashes,
       j.payload, j.max_attempts, j.timeout_ms, j.created_at, j.correlation_id, j.trace_parent,
       j.group_key
FROM dutiful_ready r LEFT JOIN dutiful_job j ON j.id = r.id
WHERE r.queue = ?1
ORDER BY r.priority, r.run_at, r.id

-- :lease_range ?1 queue, priority, run_at, id of the last row, ?5 nonce, worker, until, ?8 now
INSERT INTO dutiful_lease (id, attempt, nonce, worker, until, claimed_at, queue, priority, type,
    flags, failures, crashes, cancel)
SELECT id, attempt + 1, ?5, ?6, ?7, ?8, queue, priority, type, flags, failures, crashes, 0
FROM dutiful_ready WHERE queue = ?1 AND (priority, run_at, id) <= (?2, ?3, ?4)

-- :leave_range ?1 queue, priority, run_at, ?4 id of the last row
DELETE FROM dutiful_ready WHERE queue = ?1 AND (priority, run_at, id) <= (?2, ?3, ?4)

-- :lease_one ?1 queue, priority, run_at, id, ?5 nonce, worker, until, ?8 now
INSERT INTO dutiful_lease (id, attempt, nonce, worker, until, claimed_at, queue, priority, type,
    flags, failures, crashes, cancel)
SELECT id, attempt + 1, ?5, ?6, ?7, ?8, queue, priority, type, flags, failures, crashes, 0
FROM dutiful_ready WHERE queue = ?1 AND priority = ?2 AND run_at = ?3 AND id = ?4

-- :leave_one ?1 queue, priority, run_at, ?4 id
DELETE FROM dutiful_ready WHERE queue = ?1 AND priority = ?2 AND run_at = ?3 AND id = ?4

-- :done_one at-most-once, completed at the claim; ?1 id, attempt, nonce, worker, now, ?6 failures
INSERT INTO dutiful_done (id, attempt, nonce, worker, outcome, started_at, finished_at, failures)
VALUES (?1, ?2, ?3, ?4, 3, ?5, ?5, ?6)

-- :free_key ?1 id
DELETE FROM dutiful_unique_key WHERE id = ?1

-- :aside nobody here knows the type; ?1 queue, priority, run_at, id, ?5 the time to look again
INSERT INTO dutiful_scheduled (run_at, id, queue, priority, type, flags, attempt, failures, crashes,
    reason)
SELECT ?5, id, queue, priority, type, flags, attempt, failures, crashes, 3
FROM dutiful_ready WHERE queue = ?1 AND priority = ?2 AND run_at = ?3 AND id = ?4

-- :broken a place without a record, or with an id of another length than 16 bytes;
-- ?1 queue, priority, run_at, id, now, message, ?7 the id to keep it under
INSERT OR IGNORE INTO dutiful_dead (id, attempt, nonce, worker, reason, started_at, finished_at,
    failures, crashes, queue, priority, type, flags, error_class, error_message)
SELECT ?7, attempt, 0, 0, 3, ?5, ?5, failures, crashes, queue, priority, type, flags, 'corrupt', ?6
FROM dutiful_ready WHERE queue = ?1 AND priority = ?2 AND run_at = ?3 AND id = ?4
