-- Writes a worker's presence and its types' settings, in one statement; types only when they
-- changed. Its locks are safe: it takes its own row in worker first, then types in the order of
-- their names, as every other registration does.

-- :worker $1 id, name, pid, queues (json), types, quiet, $7 now (null: the server's), $8 names of
-- types, queues, priorities, failures at most, timeouts in ms, deliveries
WITH seen AS (
    INSERT INTO dutiful.worker (id, name, pid, queues, types, started_at, beat_at, quiet)
    SELECT $1::bigint, $2::text, $3::int, $4::text::json, $5::text[], now, now, $6::boolean
    FROM (SELECT coalesce($7::timestamptz, clock_timestamp()) AS now) c
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, queues = excluded.queues,
        types = excluded.types, beat_at = excluded.beat_at, stopped_at = NULL,
        quiet = excluded.quiet
    RETURNING beat_at
)
INSERT INTO dutiful.type (name, queue, priority, max_attempts, timeout_ms, delivery, updated_at)
SELECT DISTINCT ON (t.name) t.name, t.queue, t.priority, t.max_attempts, t.timeout_ms, t.delivery,
    seen.beat_at
FROM seen, unnest($8::text[], $9::text[], $10::smallint[], $11::int[], $12::bigint[],
    $13::smallint[]) WITH ORDINALITY
    AS t (name, queue, priority, max_attempts, timeout_ms, delivery, n)
ORDER BY t.name, t.n DESC
ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, priority = excluded.priority,
    max_attempts = excluded.max_attempts, timeout_ms = excluded.timeout_ms,
    delivery = excluded.delivery, updated_at = excluded.updated_at
WHERE (type.queue, type.priority, type.max_attempts, type.timeout_ms, type.delivery)
    IS DISTINCT FROM (excluded.queue, excluded.priority, excluded.max_attempts,
                      excluded.timeout_ms, excluded.delivery)
