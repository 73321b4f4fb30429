-- Makes a backup the beginning of a new life: no lease, no worker and no term of the old one counts
-- in it. Runs inside BEGIN IMMEDIATE on a copy that nobody else knows yet, so there is nobody to
-- lock out.

-- :asked jobs that somebody asked to cancel
SELECT id FROM dutiful_lease WHERE cancel = 1

-- :log ?1 now, ?2 error_message
INSERT OR REPLACE INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome,
    error_class, error_message)
SELECT id, attempt, worker, claimed_at, ?1, 6, 'stalled', ?2 FROM dutiful_lease

-- :count ?1 the event
INSERT INTO dutiful_tally (queue, type, event, n)
SELECT queue, type, ?1, count(*) FROM dutiful_lease GROUP BY queue, type

-- :to_ready ?1 now; whatever ended the attempt, it was not the job: no crash is charged
INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT queue, priority, ?1, id, type, flags, attempt, failures, crashes FROM dutiful_lease

-- :end
DELETE FROM dutiful_lease

-- :unheard ?1 another nonce: an at-most-once attempt of the old life has no say any more either
UPDATE dutiful_done SET nonce = ?1 WHERE outcome = 3

-- :stopped
UPDATE dutiful_worker SET stopped_at = beat_at WHERE stopped_at IS NULL

-- :term ?1 by how much the term grows
INSERT INTO dutiful_leader (role, worker, term, until) VALUES ('upkeep', 0, ?1, 0)
ON CONFLICT (role) DO UPDATE SET worker = 0, term = term + excluded.term, until = 0
