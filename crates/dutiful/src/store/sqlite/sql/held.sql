-- Says whether a lease exists still. Reads only.

-- :lease ?1 id, attempt, ?3 nonce
SELECT 1 FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3
