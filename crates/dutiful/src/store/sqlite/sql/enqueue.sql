-- Stores jobs: the record once, and a row in ready or scheduled; unique keys in the same
-- transaction. Runs inside BEGIN IMMEDIATE, so nobody can take the same id or key between the look
-- and the insert.

-- :record ?1 id, type, queue, payload, priority, created_at, scheduled_for, max_attempts,
-- timeout_ms, correlation_id, trace_parent, group_key, unique_key, tags, ?15 delivery
INSERT INTO dutiful_job (id, type, queue, payload, priority, created_at, scheduled_for,
    max_attempts, timeout_ms, correlation_id, trace_parent, group_key, unique_key, tags, delivery)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT (id) DO NOTHING

-- :plain the same without the rarer settings: ?1 id, type, queue, payload, priority, created_at,
-- max_attempts, timeout_ms, ?9 delivery
INSERT INTO dutiful_job (id, type, queue, payload, priority, created_at, max_attempts, timeout_ms,
    delivery)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (id) DO NOTHING

-- :ready ?1 queue, priority, run_at, id, type, ?6 flags
INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0)

-- :newest the number of the newest record
SELECT ifnull(max(seq), 0) FROM dutiful_job

-- :ready_since places for all records newer than ?1, due at ?2
INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT queue, priority, ?2, id, type, iif(unique_key IS NULL, 0, 1) + iif(delivery = 1, 2, 0),
    0, 0, 0
FROM dutiful_job WHERE seq > ?1

-- :scheduled ?1 queue, priority, run_at, id, type, ?6 flags
INSERT INTO dutiful_scheduled (queue, priority, run_at, id, type, flags, attempt, failures, crashes,
    reason)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, 0)

-- :known ?1 id
SELECT 1 FROM dutiful_job WHERE id = ?1

-- :take_key ?1 key, ?2 id
INSERT INTO dutiful_unique_key (key, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING

-- :holder ?1 key
SELECT id FROM dutiful_unique_key WHERE key = ?1
