-- Keeps something under a key of a shelf, or forgets it. Runs inside BEGIN IMMEDIATE, so of two who
-- find the same version one writes. A version is never below the µs since 1970, so that it grows
-- though the row was deleted in between.

-- :write ?1 shelf, key, value, ?4 now, ?5 until (null: for ever), ?6 only where nothing is kept
INSERT INTO dutiful_kept AS k (shelf, key, value, version, until) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (shelf, key) DO UPDATE
SET value = excluded.value, version = max(k.version + 1, excluded.version), until = excluded.until
WHERE NOT ?6 OR k.until <= ?4
RETURNING version

-- :swap ?1 shelf, key, value, ?4 now, ?5 until (null: for ever), ?6 the version it has
UPDATE dutiful_kept SET value = ?3, version = max(version + 1, ?4), until = ?5
WHERE shelf = ?1 AND key = ?2 AND version = ?6
RETURNING version

-- :forget ?1 shelf, ?2 key, ?3 the version it has (null: any)
DELETE FROM dutiful_kept WHERE shelf = ?1 AND key = ?2 AND (?3 IS NULL OR version = ?3)
RETURNING version
