-- Says whether leases exist still. Reads only.

-- :leases $1 ids, attempts, $3 nonces
SELECT EXISTS (SELECT FROM dutiful.lease l
    WHERE l.id = a.id AND l.attempt = a.attempt AND l.nonce = a.nonce)
FROM unnest($1::uuid[], $2::int[], $3::bigint[]) WITH ORDINALITY AS a (id, attempt, nonce, n)
ORDER BY a.n
