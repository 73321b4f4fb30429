-- Lists ids, newest first, from the places that the asked state stands in, so that a page of dead
-- jobs never walks the live ones; the second column says whether the row is in the state. Rows of
-- other states come too, so that whoever walks can count and stop. Reads only, takes no lock.
-- ?1 ids below this (a blob), ?2 now.

-- :any
SELECT id, 1 FROM dutiful_job WHERE id < ?1 ORDER BY id DESC

-- :live in one statement, so in one snapshot: a job that moves is in one of the three
SELECT id, 1 FROM dutiful_ready WHERE id < ?1
UNION ALL SELECT id, 1 FROM dutiful_scheduled WHERE id < ?1
UNION ALL SELECT id, 1 FROM dutiful_lease WHERE id < ?1 ORDER BY 1 DESC

-- :pending
SELECT id, 1 FROM dutiful_ready WHERE id < ?1
UNION ALL SELECT id, reason = 3 FROM dutiful_scheduled WHERE id < ?1 ORDER BY 1 DESC

-- :scheduled
SELECT id, reason IN (0, 2) FROM dutiful_scheduled WHERE id < ?1 ORDER BY id DESC

-- :failed
SELECT id, reason = 1 FROM dutiful_scheduled WHERE id < ?1 ORDER BY id DESC

-- :active
SELECT id, until >= ?2 FROM dutiful_lease WHERE id < ?1 ORDER BY id DESC

-- :stalled
SELECT id, until < ?2 FROM dutiful_lease WHERE id < ?1 ORDER BY id DESC

-- :completed
SELECT id, outcome <> 2 FROM dutiful_done WHERE id < ?1 ORDER BY id DESC

-- :cancelled
SELECT id, outcome = 2 FROM dutiful_done WHERE id < ?1 ORDER BY id DESC

-- :dead
SELECT id, 1 FROM dutiful_dead WHERE id < ?1 ORDER BY id DESC

-- :record ?1 id
SELECT type, queue, group_key, tags, correlation_id, created_at FROM dutiful_job WHERE id = ?1
