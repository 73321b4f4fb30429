-- Stores the result of a remembered effect, or forgets the key; only by the attempt that took it,
-- and only while it may still speak. Locks the key's row alone.

-- :store $1 key, id, attempt, nonce, $5 result
UPDATE dutiful.once SET result = $5::bytea
WHERE key = $1::text AND id = $2::uuid AND attempt = $3::int AND nonce = $4::bigint
    AND dutiful.alive_($2, $3, $4)
RETURNING key

-- :forget $1 key, id, attempt, nonce
DELETE FROM dutiful.once
WHERE key = $1::text AND id = $2::uuid AND attempt = $3::int AND nonce = $4::bigint
    AND dutiful.alive_($2, $3, $4)
RETURNING key
