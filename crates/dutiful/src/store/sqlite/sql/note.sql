-- Keeps what a handler says of its attempt. Nothing is written unless the whole fence (?1 id,
-- ?2 attempt, ?3 nonce) still holds; the look and the writes are one transaction, inside BEGIN
-- IMMEDIATE, so the lease cannot end in between.

-- :holds an at-most-once job has no lease, but stands in done and nothing was heard of it yet
SELECT 1 FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3
UNION ALL SELECT 1 FROM dutiful_done WHERE id = ?1 AND attempt = ?2 AND nonce = ?3 AND outcome = 3

-- :progress ?1 id, attempt, percent, note, ?5 noted_at
INSERT INTO dutiful_progress (id, attempt, percent, note, noted_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (id) DO UPDATE SET attempt = excluded.attempt, percent = excluded.percent,
    note = excluded.note, noted_at = excluded.noted_at

-- :checkpoint ?1 id, attempt, checkpoint, ?4 noted_at
INSERT INTO dutiful_progress (id, attempt, checkpoint, noted_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (id) DO UPDATE SET attempt = excluded.attempt, checkpoint = excluded.checkpoint

-- :log ?1 id, attempt, number, logged_at, ?5 line; a line that was written before is left alone
INSERT OR IGNORE INTO dutiful_log (id, attempt, number, logged_at, line)
VALUES (?1, ?2, ?3, ?4, ?5)

-- :trim ?1 id, attempt, ?3 how many lines stay; counted from the last line there is, for those just
-- written may be older ones
DELETE FROM dutiful_log WHERE id = ?1 AND attempt = ?2 AND number <=
    (SELECT max(number) FROM dutiful_log WHERE id = ?1 AND attempt = ?2) - ?3

-- :forget ?1 id, ?2 the last attempt that makes room
DELETE FROM dutiful_log WHERE id = ?1 AND attempt <= ?2
