-- Returns the active jobs of a worker that somebody asked to cancel. Reads only; the partial index
-- holds nothing but such rows.

-- :asked $1 worker
SELECT id FROM dutiful.lease WHERE worker = $1::bigint AND cancel
