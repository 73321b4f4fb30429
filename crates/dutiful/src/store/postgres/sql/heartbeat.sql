-- Renews leases that are still ours, and the worker's presence. Only the whole fence renews, so an
-- answer to a claim that never arrived is not kept alive. Lease rows are locked in the order of
-- their ids; one that somebody holds (a user's transaction that completes the job) is passed over
-- (SKIP LOCKED) and counts as held, for its end is not up to us. Its renewal is written beside it,
-- where only its owner writes: should the transaction be rolled back, the row is there again with
-- an end that has long passed. The look comes after the renewal, so what was taken away meanwhile
-- is seen to be gone. Leases are looked for by their ids (LATERAL): joined as tables, the server
-- would read the whole table where it was planned while that was empty.

-- :renew $1 ids, attempts, nonces, worker, lease in µs, $6 now
SELECT held, cancel FROM dutiful.heartbeat_($1::uuid[], $2::int[], $3::bigint[], $4::bigint,
    $5::bigint, $6::timestamptz) ORDER BY n

-- :function
CREATE OR REPLACE FUNCTION dutiful.heartbeat_(ids uuid[], attempts int[], nonces bigint[],
    of_worker bigint, lease_us bigint, at timestamptz)
RETURNS TABLE (n bigint, held boolean, cancel boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    until_then timestamptz := coalesce(at, clock_timestamp()) + lease_us * interval '1 microsecond';
    renewed uuid[];
BEGIN
    WITH free AS MATERIALIZED (
        SELECT l.place FROM (
            SELECT * FROM unnest(ids, attempts, nonces) AS g (id, attempt, nonce) ORDER BY id
        ) g CROSS JOIN LATERAL (
            SELECT l.ctid AS place FROM dutiful.lease l
            WHERE (l.id, l.attempt, l.nonce) = (g.id, g.attempt, g.nonce)
            FOR NO KEY UPDATE SKIP LOCKED
        ) l
    ),
    done AS (
        UPDATE dutiful.lease SET until = until_then
        WHERE ctid = ANY (ARRAY (SELECT place FROM free)) RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO renewed FROM done;
    -- A schema of the version before has no table for it; its leases are renewed as they were.
    IF cardinality(renewed) < cardinality(ids) AND to_regclass('dutiful.renewal') IS NOT NULL THEN
        INSERT INTO dutiful.renewal (id, attempt, nonce, until)
        SELECT g.id, g.attempt, g.nonce, until_then
        FROM unnest(ids, attempts, nonces) AS g (id, attempt, nonce)
        CROSS JOIN LATERAL (
            SELECT FROM dutiful.lease l
            WHERE (l.id, l.attempt, l.nonce) = (g.id, g.attempt, g.nonce) OFFSET 0
        ) l
        WHERE g.id NOT IN (SELECT unnest(renewed))
        ORDER BY g.id
        ON CONFLICT (id) DO UPDATE SET attempt = excluded.attempt, nonce = excluded.nonce,
            until = excluded.until;
    END IF;
    UPDATE dutiful.worker SET beat_at = coalesce(at, clock_timestamp()) WHERE id = of_worker;
    RETURN QUERY
    SELECT g.n, l.id IS NOT NULL, coalesce(l.cancel, false)
    FROM unnest(ids, attempts, nonces) WITH ORDINALITY AS g (id, attempt, nonce, n)
    LEFT JOIN dutiful.lease l ON (l.id, l.attempt, l.nonce) = (g.id, g.attempt, g.nonce);
END $$
