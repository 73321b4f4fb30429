-- Begins a remembered effect under the fence of an attempt (?1 id, attempt, ?3 nonce where named).
-- Runs inside BEGIN IMMEDIATE, so of two attempts one takes the key and the other sees it.

-- :mine ?1 id, attempt, ?3 nonce
SELECT 1 FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3
UNION ALL
SELECT 1 FROM dutiful_done WHERE id = ?1 AND attempt = ?2 AND nonce = ?3 AND outcome = 3

-- :row ?1 key
SELECT id, attempt, nonce, result, expires_at FROM dutiful_once WHERE key = ?1

-- :take ?1 key, id, attempt, nonce, ?5 expires_at
INSERT OR REPLACE INTO dutiful_once (key, id, attempt, nonce, result, expires_at)
VALUES (?1, ?2, ?3, ?4, NULL, ?5)
