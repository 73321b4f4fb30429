-- Stops claims from a queue, or lets them go on; a claim that has already taken jobs is not undone.
-- Locks the one row of the queue, so of two who pause at once one hears that it changed something.

-- :set $1 name, $2 paused, $3 now; a row when that changed anything
INSERT INTO dutiful.queue AS q (name, paused_at)
SELECT $1::text, CASE WHEN $2::boolean THEN coalesce($3::timestamptz, clock_timestamp()) END
WHERE $2 OR EXISTS (SELECT FROM dutiful.queue p WHERE p.name = $1)
ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at
WHERE (q.paused_at IS NULL) <> (excluded.paused_at IS NULL)
RETURNING 1
