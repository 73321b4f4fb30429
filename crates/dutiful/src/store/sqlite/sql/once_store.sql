-- Stores the result of a remembered effect, or forgets the key; only by the attempt that took it,
-- and only while its lease is held. Runs inside BEGIN IMMEDIATE.

-- :store ?1 key, id, attempt, nonce, ?5 result
UPDATE dutiful_once SET result = ?5
WHERE key = ?1 AND id = ?2 AND attempt = ?3 AND nonce = ?4 AND EXISTS (
    SELECT 1 FROM dutiful_lease WHERE id = ?2 AND attempt = ?3 AND nonce = ?4
    UNION ALL
    SELECT 1 FROM dutiful_done WHERE id = ?2 AND attempt = ?3 AND nonce = ?4 AND outcome = 3)

-- :forget ?1 key, id, attempt, ?4 nonce
DELETE FROM dutiful_once
WHERE key = ?1 AND id = ?2 AND attempt = ?3 AND nonce = ?4 AND EXISTS (
    SELECT 1 FROM dutiful_lease WHERE id = ?2 AND attempt = ?3 AND nonce = ?4
    UNION ALL
    SELECT 1 FROM dutiful_done WHERE id = ?2 AND attempt = ?3 AND nonce = ?4 AND outcome = 3)
