-- Stores jobs inside a transaction of the user's own, through whichever driver: one text goes in.
-- No locks but those of enqueue.sql, held until that transaction ends: the new rows, and the unique
-- keys, taken in the order of the keys. Whoever wants one of those keys waits for the commit.

-- :instance what tells this schema of this database from all others
SELECT dutiful.instance_()

-- :within $1 {"instance", "now_us", "jobs": [{"id", "type", "queue", "payload_base64", …}]}
SELECT coalesce(json_agg(json_build_array(n, id, outcome) ORDER BY n), '[]')::text
FROM dutiful.enqueue_json($1::text)

-- :function_instance a copy of the database has another name, a new schema another number
CREATE OR REPLACE FUNCTION dutiful.instance_() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT i.id::text || ' ' || current_database() FROM dutiful.instance i
$$

-- :function_here refuses a transaction that is not in this schema of this database
CREATE OR REPLACE FUNCTION dutiful.here_(expected text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF expected IS DISTINCT FROM dutiful.instance_() THEN
        RAISE EXCEPTION 'the database "%"', current_database() USING ERRCODE = 'DU002';
    END IF;
END $$

-- :function_time µs since 1970 as a time
CREATE OR REPLACE FUNCTION dutiful.time_(us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT '1970-01-01T00:00:00Z'::timestamptz + us * interval '1 microsecond'
$$

-- :function_enqueue the payload comes in base64, so that its bytes pass any encoding unchanged
CREATE OR REPLACE FUNCTION dutiful.enqueue_json(given text)
RETURNS TABLE (n bigint, id uuid, outcome smallint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    asked json := given::json;
BEGIN
    PERFORM dutiful.here_(asked ->> 'instance');
    RETURN QUERY
    SELECT k.n, k.id, k.outcome
    FROM (
        SELECT array_agg(j.id ORDER BY o) AS ids, array_agg(j.type ORDER BY o) AS types,
            array_agg(j.queue ORDER BY o) AS queues,
            array_agg(decode(j.payload_base64, 'base64') ORDER BY o) AS payloads,
            array_agg(j.priority ORDER BY o) AS priorities,
            array_agg(coalesce(j.delay_us, -1) ORDER BY o) AS delays,
            array_agg(dutiful.time_(j.at_us) ORDER BY o) AS times,
            array_agg(j.max_attempts ORDER BY o) AS attempts,
            array_agg(j.timeout_ms ORDER BY o) AS timeouts,
            array_agg(j.delivery ORDER BY o) AS deliveries,
            array_agg(j.correlation_id ORDER BY o) AS correlations,
            array_agg(j.trace_parent ORDER BY o) AS traces,
            array_agg(j.group_key ORDER BY o) AS groups, array_agg(j.tags ORDER BY o) AS tags,
            array_agg(j.unique_key ORDER BY o) AS keys
        FROM ROWS FROM (json_to_recordset(asked -> 'jobs') AS (id uuid, type text, queue text,
            payload_base64 text, priority smallint, delay_us bigint, at_us bigint, max_attempts int,
            timeout_ms bigint, delivery smallint, correlation_id text, trace_parent text,
            group_key text, tags text, unique_key text)) WITH ORDINALITY
            AS j (id, type, queue, payload_base64, priority, delay_us, at_us, max_attempts,
            timeout_ms, delivery, correlation_id, trace_parent, group_key, tags, unique_key, o)
    ) a, dutiful.enqueue_keyed_(a.ids, a.types, a.queues, a.payloads, a.priorities, a.delays,
        a.times, a.attempts, a.timeouts, a.deliveries, a.correlations, a.traces, a.groups, a.tags,
        dutiful.time_((asked ->> 'now_us')::bigint), a.keys) k;
END $$
