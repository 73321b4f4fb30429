-- Finds jobs: where each stands, its record, what its handlers said, its attempts. Reads only. Each
-- statement sees one moment, so that a job on the move stands in exactly one place.
-- place: 1 ready, 2 scheduled, 3 lease, 4 done, 5 dead; detail: its reason or outcome; run_at: of a
-- lease its end.

-- :jobs $1 ids, $2 now (null: the server's), $3 with payload, attempts and log lines
SELECT j.id, coalesce($2::timestamptz, statement_timestamp()) AS now,
    s.place, s.detail, s.attempt, s.failures, s.crashes, s.worker, s.started_at, s.finished_at,
    s.run_at, s.error_class, s.error_message, s.result,
    j.type, j.queue, j.priority, CASE WHEN $3::boolean THEN j.payload END AS payload,
    octet_length(j.payload) AS payload_bytes, j.created_at, j.scheduled_for, j.max_attempts,
    j.timeout_ms, j.correlation_id, j.trace_parent, j.group_key, j.unique_key, j.tags, j.delivery,
    p.percent, p.note, p.noted_at, CASE WHEN $3::boolean THEN p.checkpoint END AS checkpoint,
    l.attempt AS last_attempt, l.started_at AS last_started_at, l.error_class AS last_class,
    l.error_message AS last_message,
    CASE WHEN $3::boolean THEN (SELECT name FROM dutiful.worker WHERE id = s.worker) END AS name,
    t.attempts, t.workers, t.names, t.starts, t.ends, t.outcomes, t.classes, t.messages,
    g.log_attempts, g.numbers, g.logged, g.lines
FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, n)
CROSS JOIN LATERAL (SELECT * FROM dutiful.job WHERE id = a.id OFFSET 0) j
CROSS JOIN LATERAL (
    SELECT 1 AS place, 0 AS detail, attempt, failures, crashes, 0::bigint AS worker,
        NULL::timestamptz AS started_at, NULL::timestamptz AS finished_at, run_at,
        NULL::text AS error_class, NULL::text AS error_message, NULL::bytea AS result
    FROM dutiful.ready WHERE id = a.id
    UNION ALL SELECT 2, reason::int, attempt, failures, crashes, 0, NULL, NULL, run_at, NULL, NULL,
        NULL
    FROM dutiful.scheduled WHERE id = a.id
    UNION ALL SELECT 3, 0, attempt, failures, crashes, worker, claimed_at, NULL, until, NULL, NULL,
        NULL
    FROM dutiful.lease WHERE id = a.id
    UNION ALL SELECT 4, outcome::int, attempt, failures, 0, worker, started_at, finished_at, NULL,
        NULL, NULL, result
    FROM dutiful.done WHERE id = a.id
    UNION ALL SELECT 5, reason::int, attempt, failures, crashes, worker, started_at, finished_at,
        NULL, error_class, error_message, NULL
    FROM dutiful.dead WHERE id = a.id
) s
LEFT JOIN LATERAL (
    SELECT attempt, started_at, error_class, error_message
    FROM dutiful.attempt WHERE id = a.id ORDER BY attempt DESC LIMIT 1
) l ON true
LEFT JOIN LATERAL (SELECT * FROM dutiful.progress WHERE id = a.id OFFSET 0) p ON true
LEFT JOIN LATERAL (
    SELECT array_agg(e.attempt ORDER BY e.attempt) AS attempts,
        array_agg(e.worker ORDER BY e.attempt) AS workers,
        array_agg(w.name ORDER BY e.attempt) AS names,
        array_agg(e.started_at ORDER BY e.attempt) AS starts,
        array_agg(e.finished_at ORDER BY e.attempt) AS ends,
        array_agg(e.outcome ORDER BY e.attempt) AS outcomes,
        array_agg(e.error_class ORDER BY e.attempt) AS classes,
        array_agg(e.error_message ORDER BY e.attempt) AS messages
    FROM dutiful.attempt e LEFT JOIN dutiful.worker w ON w.id = e.worker
    WHERE $3::boolean AND e.id = a.id
) t ON true
LEFT JOIN LATERAL (
    SELECT array_agg(attempt ORDER BY attempt, number) AS log_attempts,
        array_agg(number ORDER BY attempt, number) AS numbers,
        array_agg(logged_at ORDER BY attempt, number) AS logged,
        array_agg(line ORDER BY attempt, number) AS lines
    FROM dutiful.log WHERE $3::boolean AND id = a.id
) g ON true
ORDER BY a.n

-- :results $1 ids, $2 now (null: the server's); the same order, no row for an unknown job
SELECT a.n, a.id, coalesce($2::timestamptz, statement_timestamp()) AS now,
    s.place, s.detail, s.attempt, s.failures, s.crashes, s.worker, s.started_at, s.finished_at,
    s.run_at, s.error_class, s.error_message, s.result,
    l.attempt AS last_attempt, l.started_at AS last_started_at, l.error_class AS last_class,
    l.error_message AS last_message
FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, n)
CROSS JOIN LATERAL (
    SELECT 1 AS place, 0 AS detail, attempt, failures, crashes, 0::bigint AS worker,
        NULL::timestamptz AS started_at, NULL::timestamptz AS finished_at, run_at,
        NULL::text AS error_class, NULL::text AS error_message, NULL::bytea AS result
    FROM dutiful.ready WHERE id = a.id
    UNION ALL SELECT 2, reason::int, attempt, failures, crashes, 0, NULL, NULL, run_at, NULL, NULL,
        NULL
    FROM dutiful.scheduled WHERE id = a.id
    UNION ALL SELECT 3, 0, attempt, failures, crashes, worker, claimed_at, NULL, until, NULL, NULL,
        NULL
    FROM dutiful.lease WHERE id = a.id
    UNION ALL SELECT 4, outcome::int, attempt, failures, 0, worker, started_at, finished_at, NULL,
        NULL, NULL, result
    FROM dutiful.done WHERE id = a.id
    UNION ALL SELECT 5, reason::int, attempt, failures, crashes, worker, started_at, finished_at,
        NULL, error_class, error_message, NULL
    FROM dutiful.dead WHERE id = a.id
) s
LEFT JOIN LATERAL (
    SELECT attempt, started_at, error_class, error_message
    FROM dutiful.attempt WHERE id = a.id ORDER BY attempt DESC LIMIT 1
) l ON true
ORDER BY a.n
