-- Finds jobs that wait in a queue, to delete them. The look takes no lock; what it found is looked
-- at again, and deleted by the statements of delete.sql, inside BEGIN IMMEDIATE.

-- :ready ?1 queue, ?2 at most
SELECT id FROM dutiful_ready WHERE queue = ?1 LIMIT ?2

-- :scheduled ?1 queue, ?2 at most; there is no index by queue, so this walks what is scheduled
SELECT id FROM dutiful_scheduled WHERE queue = ?1 LIMIT ?2

-- :still ?1 id, ?2 queue
SELECT 1 FROM dutiful_ready WHERE id = ?1 AND queue = ?2
UNION ALL SELECT 1 FROM dutiful_scheduled WHERE id = ?1 AND queue = ?2
