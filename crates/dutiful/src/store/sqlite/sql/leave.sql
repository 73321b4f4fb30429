-- Writes that a worker stopped in order. Runs inside BEGIN IMMEDIATE.

-- :stopped ?1 id, ?2 now
UPDATE dutiful_worker SET stopped_at = ?2 WHERE id = ?1
