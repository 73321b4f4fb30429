-- What is kept on a shelf, by its keys, whose bytes give the order. Reads only.

-- :first $1 shelf, $2 from this key to before $3, $4 now, $5 at most
SELECT key, value, version, until FROM dutiful.kept
WHERE shelf = $1::text AND key >= $2::text AND key < $3::text
    AND (until IS NULL OR until > coalesce($4::timestamptz, clock_timestamp()))
ORDER BY key LIMIT $5::bigint

-- :last $1 shelf, $2 from this key to before $3, $4 now, $5 at most
SELECT key, value, version, until FROM dutiful.kept
WHERE shelf = $1::text AND key >= $2::text AND key < $3::text
    AND (until IS NULL OR until > coalesce($4::timestamptz, clock_timestamp()))
ORDER BY key DESC LIMIT $5::bigint
