-- Finds one job: where it stands, its record, its attempts. Reads only, in one snapshot.

-- :place ?1 id; place 1 ready, 2 scheduled, 3 lease, 4 done, 5 dead; detail: reason, until, outcome
SELECT 1, 0, queue, type, 0 FROM dutiful_ready WHERE id = ?1
UNION ALL SELECT 2, reason, queue, type, 0 FROM dutiful_scheduled WHERE id = ?1
UNION ALL SELECT 3, until, queue, type, 0 FROM dutiful_lease WHERE id = ?1
UNION ALL SELECT 5, reason, queue, type, worker FROM dutiful_dead WHERE id = ?1
UNION ALL SELECT 4, outcome, (SELECT queue FROM dutiful_job WHERE id = ?1),
    (SELECT type FROM dutiful_job WHERE id = ?1), worker FROM dutiful_done WHERE id = ?1

-- :record ?1 id
SELECT type, queue, priority, payload, created_at, scheduled_for, max_attempts, timeout_ms,
    correlation_id, trace_parent, group_key, unique_key, tags, delivery, length(payload)
FROM dutiful_job WHERE id = ?1

-- :brief ?1 id; the same without the payload
SELECT type, queue, priority, NULL, created_at, scheduled_for, max_attempts, timeout_ms,
    correlation_id, trace_parent, group_key, unique_key, tags, delivery, length(payload)
FROM dutiful_job WHERE id = ?1

-- :standing ?1 id; place, detail, attempt, failures, crashes, worker, started_at, finished_at,
-- run_at, error_class, error_message, result of the row where it stands
SELECT 1, 0, attempt, failures, crashes, 0, NULL, NULL, run_at, NULL, NULL, NULL
FROM dutiful_ready WHERE id = ?1
UNION ALL SELECT 2, reason, attempt, failures, crashes, 0, NULL, NULL, run_at, NULL, NULL, NULL
FROM dutiful_scheduled WHERE id = ?1
UNION ALL SELECT 3, until, attempt, failures, crashes, worker, claimed_at, NULL, NULL, NULL, NULL,
    NULL
FROM dutiful_lease WHERE id = ?1
UNION ALL SELECT 4, outcome, attempt, failures, 0, worker, started_at, finished_at, NULL, NULL,
    NULL, result
FROM dutiful_done WHERE id = ?1
UNION ALL SELECT 5, reason, attempt, failures, crashes, worker, started_at, finished_at, NULL,
    error_class, error_message, NULL
FROM dutiful_dead WHERE id = ?1

-- :attempts ?1 id
SELECT a.attempt, a.worker, a.started_at, a.finished_at, a.outcome, a.error_class, a.error_message
FROM dutiful_attempt a WHERE a.id = ?1 ORDER BY a.attempt

-- :last_attempt ?1 id
SELECT attempt, worker, started_at, finished_at, outcome, error_class, error_message
FROM dutiful_attempt WHERE id = ?1 ORDER BY attempt DESC LIMIT 1

-- :worker ?1 id
SELECT name FROM dutiful_worker WHERE id = ?1

-- :progress ?1 id
SELECT percent, note, noted_at, checkpoint FROM dutiful_progress WHERE id = ?1

-- :log ?1 id
SELECT attempt, number, logged_at, line FROM dutiful_log WHERE id = ?1 ORDER BY attempt, number
