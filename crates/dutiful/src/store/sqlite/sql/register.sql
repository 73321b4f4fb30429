-- Writes a worker's presence and its types' settings; types only when they changed.
-- Runs inside BEGIN IMMEDIATE.

-- :worker ?1 id, name, pid, queues, types, now, ?7 quiet
INSERT INTO dutiful_worker (id, name, pid, queues, types, started_at, beat_at, quiet)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, queues = excluded.queues,
    types = excluded.types, beat_at = excluded.beat_at, stopped_at = NULL, quiet = excluded.quiet

-- :type ?1 name, queue, priority, max_attempts, timeout_ms, delivery, ?7 now
INSERT INTO dutiful_type (name, queue, priority, max_attempts, timeout_ms, delivery, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, priority = excluded.priority,
    max_attempts = excluded.max_attempts, timeout_ms = excluded.timeout_ms,
    delivery = excluded.delivery, updated_at = excluded.updated_at
WHERE (queue, priority, max_attempts, timeout_ms, delivery) IS NOT
    (excluded.queue, excluded.priority, excluded.max_attempts, excluded.timeout_ms,
     excluded.delivery)
