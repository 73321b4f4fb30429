-- Stops claims from a queue, or lets them go on. Runs inside BEGIN IMMEDIATE; a claim that has
-- already taken jobs is not undone.

-- :paused ?1 name
SELECT 1 FROM dutiful_queue WHERE name = ?1 AND paused_at IS NOT NULL

-- :set ?1 name, ?2 paused_at or NULL
INSERT INTO dutiful_queue (name, paused_at) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at
