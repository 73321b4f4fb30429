-- Deletes what retention no longer keeps, a bounded piece a call. Ids sort by time, so jobs younger
-- than the cut are never looked at; only foreign ids, which sort by nothing, are. The look takes no
-- lock; the deletes run inside BEGIN IMMEDIATE after the term and each row were checked again.

-- :done ?1 first and ?2 last id of a range, finished_at before ?3, at most ?4
SELECT d.id, d.outcome, j.queue, j.type FROM dutiful_done d LEFT JOIN dutiful_job j ON j.id = d.id
WHERE d.id BETWEEN ?1 AND ?2 AND d.finished_at < ?3 ORDER BY d.id LIMIT ?4

-- :dead ?1 first and ?2 last id of a range, finished_at before ?3, at most ?4
SELECT id, 0, queue, type FROM dutiful_dead
WHERE id BETWEEN ?1 AND ?2 AND finished_at < ?3 ORDER BY id LIMIT ?4

-- :still_done ?1 id, finished_at before ?2
SELECT 1 FROM dutiful_done WHERE id = ?1 AND finished_at < ?2

-- :still_dead ?1 id, finished_at before ?2
SELECT 1 FROM dutiful_dead WHERE id = ?1 AND finished_at < ?2

-- :once ?1 now, ?2 at most
DELETE FROM dutiful_once WHERE key IN
    (SELECT key FROM dutiful_once WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)

-- :kept ?1 now, ?2 at most
DELETE FROM dutiful_kept WHERE (shelf, key) IN
    (SELECT shelf, key FROM dutiful_kept WHERE until < ?1 ORDER BY until LIMIT ?2)

-- :workers ?1 silent since
DELETE FROM dutiful_worker WHERE beat_at < ?1
