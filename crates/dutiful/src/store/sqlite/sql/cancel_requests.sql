-- Returns the active jobs of a worker that somebody asked to cancel. Reads only; the partial index
-- holds nothing but such rows.

-- :asked ?1 worker
SELECT id FROM dutiful_lease WHERE worker = ?1 AND cancel = 1
