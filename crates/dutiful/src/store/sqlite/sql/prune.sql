-- Deletes what retention no longer keeps, a bounded piece a call. Ids sort by time, so jobs younger
-- than the cut are never looked at. Runs inside BEGIN IMMEDIATE after the term was checked.

-- :done ?1 first id that is too young, finished_at before ?2, at most ?3
SELECT d.id, d.outcome, j.queue, j.type FROM dutiful_done d LEFT JOIN dutiful_job j ON j.id = d.id
WHERE d.id < ?1 AND d.finished_at < ?2 ORDER BY d.id LIMIT ?3

-- :dead ?1 first id that is too young, finished_at before ?2, at most ?3
SELECT id, 0, queue, type FROM dutiful_dead
WHERE id < ?1 AND finished_at < ?2 ORDER BY id LIMIT ?3

-- :once ?1 now, ?2 at most
DELETE FROM dutiful_once WHERE key IN
    (SELECT key FROM dutiful_once WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)

-- :workers ?1 silent since
DELETE FROM dutiful_worker WHERE beat_at < ?1
