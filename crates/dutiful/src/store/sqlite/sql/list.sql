-- Lists ids, newest first, from the place that the asked state stands in, so that a page of dead
-- jobs never walks the live ones. Reads only. ?1 ids below this (a blob), ?2 now.

-- :any
SELECT id FROM dutiful_job WHERE id < ?1 ORDER BY id DESC

-- :live in one statement, so in one snapshot: a job that moves is in one of the three
SELECT id FROM (SELECT id FROM dutiful_ready WHERE id < ?1
    UNION ALL SELECT id FROM dutiful_scheduled WHERE id < ?1
    UNION ALL SELECT id FROM dutiful_lease WHERE id < ?1) ORDER BY id DESC

-- :pending
SELECT id FROM (SELECT id FROM dutiful_ready WHERE id < ?1
    UNION ALL SELECT id FROM dutiful_scheduled WHERE id < ?1 AND reason = 3) ORDER BY id DESC

-- :scheduled
SELECT id FROM dutiful_scheduled WHERE id < ?1 AND reason IN (0, 2) ORDER BY id DESC

-- :failed
SELECT id FROM dutiful_scheduled WHERE id < ?1 AND reason = 1 ORDER BY id DESC

-- :active
SELECT id FROM dutiful_lease WHERE id < ?1 AND until >= ?2 ORDER BY id DESC

-- :stalled
SELECT id FROM dutiful_lease WHERE id < ?1 AND until < ?2 ORDER BY id DESC

-- :completed
SELECT id FROM dutiful_done WHERE id < ?1 AND outcome <> 2 ORDER BY id DESC

-- :cancelled
SELECT id FROM dutiful_done WHERE id < ?1 AND outcome = 2 ORDER BY id DESC

-- :dead
SELECT id FROM dutiful_dead WHERE id < ?1 ORDER BY id DESC
