-- Writes that a worker stopped in order. Runs inside BEGIN IMMEDIATE.

-- :stopped ?1 id, ?2 now
UPDATE dutiful_worker SET stopped_at = ?2 WHERE id = ?1

-- :running the workers of this file that did not stop in order, or run still; not those elsewhere
SELECT id, pid FROM dutiful_worker WHERE stopped_at IS NULL AND pid > 0

-- :crashed the process of ?1 id is gone
UPDATE dutiful_worker SET stopped_at = beat_at WHERE id = ?1 AND stopped_at IS NULL
