-- What people look at in psql, one row a job, an attempt. Reads only. (That of the queues names a
-- table that came later: it is in migrations/0004_up.sql.) Each place is a part of its own with a
-- constant state, so that a condition on the state leaves the other places out, and one on the id
-- is an index scan in each.

-- :function_jobs
CREATE OR REPLACE VIEW dutiful.jobs AS
SELECT j.id, j.type, p.state, j.queue, j.priority, convert_from(j.payload, 'UTF8') AS payload,
    length(j.payload) AS payload_bytes, j.created_at,
    coalesce(p.run_at, j.scheduled_for, j.created_at) AS scheduled_for, p.attempt, p.failures,
    p.crashes, j.max_attempts, j.timeout_ms, coalesce(j.correlation_id, j.id::text) AS
    correlation_id, j.trace_parent, j.group_key, j.unique_key,
    ARRAY (SELECT json_array_elements_text(j.tags::json)) AS tags,
    CASE j.delivery WHEN 1 THEN 'at_most_once' ELSE 'at_least_once' END AS delivery,
    coalesce(p.began, (SELECT a.started_at FROM dutiful.attempt a WHERE a.id = p.id
        ORDER BY a.attempt DESC LIMIT 1)) AS last_attempt_at, p.finished_at,
    coalesce(p.error_class, (SELECT a.error_class FROM dutiful.attempt a WHERE a.id = p.id
        ORDER BY a.attempt DESC LIMIT 1)) AS last_error_class,
    coalesce(p.error_message, (SELECT a.error_message FROM dutiful.attempt a WHERE a.id = p.id
        ORDER BY a.attempt DESC LIMIT 1)) AS last_error_message,
    p.dead_reason, convert_from(p.result, 'UTF8') AS result
FROM dutiful.job j JOIN (
    SELECT id, 'pending'::text AS state, run_at, attempt, failures, crashes,
        NULL::timestamptz AS began, NULL::timestamptz AS finished_at, NULL::text AS error_class,
        NULL::text AS error_message, NULL::text AS dead_reason, NULL::bytea AS result
    FROM dutiful.ready
    UNION ALL SELECT id, 'pending'::text, run_at, attempt, failures, crashes, NULL::timestamptz,
        NULL::timestamptz, NULL::text, NULL::text, NULL::text, NULL::bytea
    FROM dutiful.scheduled WHERE reason = 3
    UNION ALL SELECT id, 'failed'::text, run_at, attempt, failures, crashes, NULL::timestamptz,
        NULL::timestamptz, NULL::text, NULL::text, NULL::text, NULL::bytea
    FROM dutiful.scheduled WHERE reason = 1
    UNION ALL SELECT id, 'scheduled'::text, run_at, attempt, failures, crashes, NULL::timestamptz,
        NULL::timestamptz, NULL::text, NULL::text, NULL::text, NULL::bytea
    FROM dutiful.scheduled WHERE reason IN (0, 2)
    UNION ALL SELECT id, 'active'::text, NULL::timestamptz, attempt, failures, crashes, claimed_at,
        NULL::timestamptz, NULL::text, NULL::text, NULL::text, NULL::bytea
    FROM dutiful.lease WHERE until >= statement_timestamp()
    UNION ALL SELECT id, 'stalled'::text, NULL::timestamptz, attempt, failures, crashes, claimed_at,
        NULL::timestamptz, NULL::text, NULL::text, NULL::text, NULL::bytea
    FROM dutiful.lease WHERE until < statement_timestamp()
    UNION ALL SELECT id, 'completed'::text, NULL::timestamptz, attempt, failures, 0,
        CASE WHEN worker <> 0 THEN started_at END, finished_at, NULL::text, NULL::text, NULL::text,
        result
    FROM dutiful.done WHERE outcome <> 2
    UNION ALL SELECT id, 'cancelled'::text, NULL::timestamptz, attempt, failures, 0,
        CASE WHEN worker <> 0 THEN started_at END, finished_at, NULL::text, NULL::text, NULL::text,
        result
    FROM dutiful.done WHERE outcome = 2
    UNION ALL SELECT id, 'dead'::text, NULL::timestamptz, attempt, failures, crashes,
        CASE WHEN worker <> 0 THEN started_at END, finished_at, error_class, error_message,
        CASE reason WHEN 1 THEN 'exhausted' WHEN 2 THEN 'discarded' ELSE 'quarantined' END,
        NULL::bytea
    FROM dutiful.dead
) p ON p.id = j.id

-- :function_view_attempts the last one stands where the job does, the others in the log
CREATE OR REPLACE VIEW dutiful.attempts AS
SELECT a.id, a.attempt AS number, a.worker,
    (SELECT w.name FROM dutiful.worker w WHERE w.id = a.worker) AS worker_name, a.started_at,
    a.finished_at, a.outcome, a.error_class, a.error_message
FROM (
    SELECT l.id, l.attempt, l.worker, l.started_at, l.finished_at, CASE l.outcome WHEN 3 THEN 'dead'
        WHEN 4 THEN 'snoozed' WHEN 5 THEN 'released' WHEN 6 THEN 'stalled' WHEN 7 THEN 'cancelled'
        ELSE 'failed' END AS outcome, l.error_class, l.error_message
    FROM dutiful.attempt l
    WHERE NOT EXISTS (SELECT FROM dutiful.done d
        WHERE d.id = l.id AND d.attempt = l.attempt AND d.worker <> 0)
    UNION ALL SELECT id, attempt, worker, claimed_at, NULL::timestamptz, 'running'::text,
        NULL::text, NULL::text
    FROM dutiful.lease
    UNION ALL SELECT d.id, d.attempt, d.worker, d.started_at, d.finished_at, CASE d.outcome
        WHEN 2 THEN 'cancelled' WHEN 3 THEN 'unknown' WHEN 4 THEN 'failed' ELSE 'completed' END,
        (SELECT l.error_class FROM dutiful.attempt l WHERE l.id = d.id AND l.attempt = d.attempt),
        (SELECT l.error_message FROM dutiful.attempt l WHERE l.id = d.id AND l.attempt = d.attempt)
    FROM dutiful.done d WHERE d.worker <> 0
    UNION ALL SELECT id, attempt, worker, started_at, finished_at,
        CASE reason WHEN 3 THEN 'stalled' ELSE 'dead' END, error_class, error_message
    FROM dutiful.dead WHERE worker <> 0
) a
