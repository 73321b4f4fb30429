-- What is kept on a shelf, by its keys, whose bytes give the order. Reads only.

-- :first ?1 shelf, ?2 from this key to before ?3, ?4 now, ?5 at most
SELECT key, value, version, until FROM dutiful_kept
WHERE shelf = ?1 AND key >= ?2 AND key < ?3 AND (until IS NULL OR until > ?4)
ORDER BY key LIMIT ?5

-- :last ?1 shelf, ?2 from this key to before ?3, ?4 now, ?5 at most
SELECT key, value, version, until FROM dutiful_kept
WHERE shelf = ?1 AND key >= ?2 AND key < ?3 AND (until IS NULL OR until > ?4)
ORDER BY key DESC LIMIT ?5
