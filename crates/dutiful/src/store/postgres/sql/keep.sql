-- Keeps something under a key of a shelf, or forgets it. Locks the one row, and waits for whoever
-- has it, so of two who find the same version one writes. A version is never below the µs since
-- 1970, so that it grows though the row was deleted in between.

-- :write $1 shelf, key, value, $4 for so many µs (null: for ever), $5 only where nothing is, $6 now
INSERT INTO dutiful.kept AS k (shelf, key, value, version, until)
SELECT $1::text, $2::text, $3::bytea, (extract(epoch FROM n.now) * 1000000)::bigint,
    n.now + $4::bigint * interval '1 microsecond'
FROM (SELECT coalesce($6::timestamptz, clock_timestamp()) AS now) n
ON CONFLICT (shelf, key) DO UPDATE SET value = excluded.value,
    version = greatest(k.version + 1, excluded.version), until = excluded.until
WHERE NOT $5::boolean OR k.until <= coalesce($6, clock_timestamp())
RETURNING version

-- :swap $1 shelf, key, value, $4 for so many µs (null: for ever), $5 the version it has, $6 now
UPDATE dutiful.kept k SET value = $3::bytea,
    version = greatest(k.version + 1, (extract(epoch FROM n.now) * 1000000)::bigint),
    until = n.now + $4::bigint * interval '1 microsecond'
FROM (SELECT coalesce($6::timestamptz, clock_timestamp()) AS now) n
WHERE k.shelf = $1::text AND k.key = $2::text AND k.version = $5::bigint
RETURNING k.version

-- :forget $1 shelf, $2 key, $3 the version it has (null: any)
DELETE FROM dutiful.kept
WHERE shelf = $1::text AND key = $2::text AND ($3::bigint IS NULL OR version = $3)
RETURNING version
