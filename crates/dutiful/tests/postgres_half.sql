-- What nobody may find in a queue ($1; null: in any): a job in no place or in two, a place without
-- a record, a key that does not follow its job.
SELECT format('%s stands in %s places', j.id, p.n) FROM dutiful.job j, LATERAL (
    SELECT (SELECT count(*) FROM dutiful.ready t WHERE t.id = j.id)
        + (SELECT count(*) FROM dutiful.scheduled t WHERE t.id = j.id)
        + (SELECT count(*) FROM dutiful.lease t WHERE t.id = j.id)
        + (SELECT count(*) FROM dutiful.done t WHERE t.id = j.id)
        + (SELECT count(*) FROM dutiful.dead t WHERE t.id = j.id) AS n) p
WHERE ($1::text IS NULL OR j.queue = $1) AND p.n <> 1
UNION ALL
SELECT format('%s has no record', t.id) FROM (
    SELECT id, queue FROM dutiful.ready
    UNION ALL SELECT id, queue FROM dutiful.scheduled
    UNION ALL SELECT id, queue FROM dutiful.lease
    UNION ALL SELECT id, queue FROM dutiful.dead) t
WHERE ($1 IS NULL OR t.queue = $1) AND NOT EXISTS (SELECT FROM dutiful.job j WHERE j.id = t.id)
UNION ALL
SELECT format('%s and its key: live %s', j.id, l.live) FROM dutiful.job j, LATERAL (
    SELECT EXISTS (SELECT FROM dutiful.ready t WHERE t.id = j.id)
        OR EXISTS (SELECT FROM dutiful.scheduled t WHERE t.id = j.id)
        OR EXISTS (SELECT FROM dutiful.lease t WHERE t.id = j.id) AS live) l
WHERE ($1::text IS NULL OR j.queue = $1) AND j.unique_key IS NOT NULL AND l.live
    <> EXISTS (SELECT FROM dutiful.unique_key k WHERE k.id = j.id AND k.key = j.unique_key)
UNION ALL
SELECT format('the key %s is nobody''s', k.key) FROM dutiful.unique_key k
WHERE NOT EXISTS (SELECT FROM dutiful.job j WHERE j.id = k.id)
