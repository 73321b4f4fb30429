-- Stops jobs: waiting ones move to done as cancelled, active ones get a mark that their worker
-- reads. Runs inside BEGIN IMMEDIATE, so the place that was looked up is the place that is changed.

-- :ready_to_done ?1 id, ?2 now
INSERT INTO dutiful_done (id, attempt, nonce, worker, outcome, started_at, finished_at, failures)
SELECT id, attempt, 0, 0, 2, ?2, ?2, failures FROM dutiful_ready WHERE id = ?1

-- :leave_ready ?1 id
DELETE FROM dutiful_ready WHERE id = ?1

-- :scheduled_to_done ?1 id, ?2 now
INSERT INTO dutiful_done (id, attempt, nonce, worker, outcome, started_at, finished_at, failures)
SELECT id, attempt, 0, 0, 2, ?2, ?2, failures FROM dutiful_scheduled WHERE id = ?1

-- :leave_scheduled ?1 id
DELETE FROM dutiful_scheduled WHERE id = ?1

-- :free_key ?1 id
DELETE FROM dutiful_unique_key WHERE id = ?1

-- :ask ?1 id
UPDATE dutiful_lease SET cancel = 1 WHERE id = ?1
