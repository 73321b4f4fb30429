-- Writes that a worker stopped in order. Its lock is safe: one row, which is the worker's own.

-- :stopped $1 id, $2 now (null: the server's)
UPDATE dutiful.worker SET stopped_at = coalesce($2::timestamptz, clock_timestamp())
WHERE id = $1::bigint
