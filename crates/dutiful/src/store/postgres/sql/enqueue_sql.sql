-- What every other language calls, in its own transaction: enqueue, enqueue_many; enqueue_json is
-- for the glue of drivers. They check what Rust checks, with the same sentences (SQLSTATE 22023),
-- and store by enqueue_keyed_ (enqueue.sql), whose locks are theirs: unique keys in the order of
-- the keys, held until the caller's transaction ends. None rings a bell: NOTIFY would make all
-- commits queue up. Names are safe from the caller's search_path.

-- :function_id a UUIDv7 of a time in µs: the ids of a batch sort in its order
CREATE OR REPLACE FUNCTION dutiful.id_(us bigint) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    bytes bytea := uuid_send(gen_random_uuid());
BEGIN
    bytes := overlay(bytes PLACING substring(int8send(us / 1000) FROM 3) FROM 1 FOR 6);
    bytes := overlay(bytes PLACING int2send((28672 + us % 1000 * 4096 / 1000)::int2) FROM 7 FOR 2);
    RETURN encode(bytes, 'hex')::uuid;
END $body$

-- :function_refuse
CREATE OR REPLACE FUNCTION dutiful.refuse_(reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = reason;
END $body$

-- :function_check_payload what one reader or another could not read again
CREATE OR REPLACE FUNCTION dutiful.check_payload_(given text, what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    deepest CONSTANT int := 64;
    bare text;
    number text[];
BEGIN
    IF strpos(given, E'\\u') > 0 THEN
        -- Escaped backslashes out of the way, every other one begins an escape.
        bare := replace(given, E'\\\\', '__');
        IF strpos(bare, E'\\u0000') > 0 THEN
            PERFORM dutiful.refuse_(what
                || ' contains a NUL character, which not every store can keep;'
                || ' remove it or encode it');
        END IF;
        bare := regexp_replace(bare, E'\\\\u[dD][89abAB][0-9a-fA-F]{2}'
            || E'\\\\u[dD][c-fC-F][0-9a-fA-F]{2}', '', 'g');
        IF bare ~ E'\\\\u[dD][89a-fA-F]' THEN
            PERFORM dutiful.refuse_(what
                || ' is not JSON (half a character in an escape); send one JSON value');
        END IF;
    END IF;
    IF length(given) - length(translate(given, '[{', '')) <= deepest
        AND given !~ '[0-9][eE]|[0-9]{200}' THEN
        RETURN;
    END IF;
    bare := regexp_replace(given, E'"(?:[^"\\\\]|\\\\.)*"', '""', 'g');
    FOR number IN
        SELECT m FROM regexp_matches(bare, '[0-9]+[.]?[0-9]*(?:[eE][-+]?[0-9]+)?', 'g') m
        WHERE m[1] ~ '[eE][-+]?[0-9]{3}' OR length(m[1]) > 200
    LOOP
        BEGIN
            PERFORM number[1]::float8;
        EXCEPTION WHEN numeric_value_out_of_range THEN
            IF number[1] !~ '[eE]-' THEN
                PERFORM dutiful.refuse_(what
                    || ' is not JSON (number out of range); send one JSON value');
            END IF;
        END;
    END LOOP;
    -- Each round takes away the innermost pairs.
    bare := translate(regexp_replace(bare, '[^][{}]', '', 'g'), '{}', '[]');
    FOR level IN 1 .. deepest LOOP
        EXIT WHEN bare = '';
        bare := replace(bare, '[]', '');
    END LOOP;
    IF bare <> '' THEN
        PERFORM dutiful.refuse_(format('%s is nested deeper than %s levels; flatten it', what,
            deepest));
    END IF;
END $body$

-- :function_check_size
CREATE OR REPLACE FUNCTION dutiful.check_size_(bytes int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF bytes > 262144 THEN
        PERFORM dutiful.refuse_(format('the payload has %s bytes and the limit is 262144; '
            'store the data elsewhere and send its address', bytes));
    END IF;
END $body$

-- :function_check_name
CREATE OR REPLACE FUNCTION dutiful.check_name_(what text, given text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF given IS NULL OR length(given) > 128 OR given !~ '^[A-Za-z0-9_.:-]+$' THEN
        PERFORM dutiful.refuse_(format('the %s name "%s" is not 1 to 128 characters of '
            'A-Z a-z 0-9 _ . : -', what, left(given, 60)));
    END IF;
    RETURN given;
END $body$

-- :function_check_text
CREATE OR REPLACE FUNCTION dutiful.check_text_(what text, given text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF given IS NOT NULL AND octet_length(convert_to(given, 'UTF8')) NOT BETWEEN 1 AND 255 THEN
        PERFORM dutiful.refuse_(format('the %s must have 1 to 255 bytes', what));
    END IF;
    RETURN given;
END $body$

-- :function_check_number a whole number within a range, or the sentence
CREATE OR REPLACE FUNCTION dutiful.check_number_(given text, low bigint, high bigint,
    sentence text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF given IS NOT NULL AND (given !~ '^-?[0-9]{1,18}$'
        OR given::bigint NOT BETWEEN low AND high) THEN
        PERFORM dutiful.refuse_(format(sentence, left(given, 60)));
    END IF;
    RETURN given::bigint;
END $body$

-- :function_check_time
CREATE OR REPLACE FUNCTION dutiful.check_time_(given text) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $body$
DECLARE
    at timestamptz;
BEGIN
    IF given IS NULL THEN RETURN NULL; END IF;
    BEGIN
        at := CASE WHEN given ~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}'
            || '([.][0-9]+)?([Zz]|[-+][0-9]{2}(:?[0-9]{2})?)$') THEN given::timestamptz END;
    EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
        at := NULL;
    END;
    IF at IS NULL OR at < '1970-01-01Z' OR at >= '10000-01-01Z' THEN
        PERFORM dutiful.refuse_(format('"%s" is not a time between 1970 and 9999 in RFC 3339 '
            '(2026-12-31T23:59:59Z)', left(given, 60)));
    END IF;
    RETURN at;
END $body$

-- :function_check_trace
CREATE OR REPLACE FUNCTION dutiful.check_trace_(given text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF given !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        PERFORM dutiful.refuse_(format('"%s" is not a W3C traceparent '
            '(00-<32 hex>-<16 hex>-<2 hex>)', left(given, 60)));
    END IF;
    RETURN given;
END $body$

-- :function_check_tags tags as a JSON array, or null
CREATE OR REPLACE FUNCTION dutiful.check_tags_(given json) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    tag json;
    kept text[] := '{}';
BEGIN
    IF json_typeof(given) IS NULL OR json_typeof(given) = 'null' THEN RETURN NULL; END IF;
    IF json_typeof(given) <> 'array' THEN
        PERFORM dutiful.refuse_('the tags are not an array of texts (["a", "b"])');
    ELSIF json_array_length(given) > 20 THEN
        PERFORM dutiful.refuse_(format('it has %s tags and the limit is 20',
            json_array_length(given)));
    END IF;
    FOR tag IN SELECT value FROM json_array_elements(given) LOOP
        IF json_typeof(tag) <> 'string' THEN
            PERFORM dutiful.refuse_('the tags are not an array of texts (["a", "b"])');
        END IF;
        kept := kept || dutiful.check_text_('tag', tag #>> '{}');
    END LOOP;
    RETURN CASE WHEN kept <> '{}' THEN array_to_json(kept)::text END;
END $body$

-- :function_check_fields names are known and have the kind of value that they need
CREATE OR REPLACE FUNCTION dutiful.check_fields_(job json, trusted boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    field record;
BEGIN
    IF json_typeof(job) <> 'object' THEN
        PERFORM dutiful.refuse_('it is not a JSON object ({"type": "…", "payload": …})');
    END IF;
    FOR field IN SELECT key, json_typeof(value) AS kind FROM json_each(job) LOOP
        IF field.key IN ('priority', 'max_attempts', 'timeout_ms', 'delay_ms') THEN
            IF field.kind NOT IN ('number', 'null') THEN
                PERFORM dutiful.refuse_(format('its %s is not a number', field.key));
            END IF;
        ELSIF field.key IN ('id', 'type', 'queue', 'scheduled_for', 'correlation_id',
            'trace_parent', 'group', 'unique_key', 'delivery') THEN
            IF field.kind NOT IN ('string', 'null') THEN
                PERFORM dutiful.refuse_(format('its %s is not a text', field.key));
            END IF;
        ELSIF field.key NOT IN ('payload', 'tags')
            AND NOT (trusted AND field.key IN ('payload_base64', 'delay_us')) THEN
            PERFORM dutiful.refuse_(format('it has an unknown field "%s"; the fields are type, '
                'payload, id, queue, priority, scheduled_for, delay_ms, max_attempts, timeout_ms, '
                'correlation_id, trace_parent, group, unique_key, tags and delivery',
                left(field.key, 60)));
        END IF;
    END LOOP;
END $body$

-- :function_store checks jobs and stores them; payloads that are null are read from the jobs. A
-- trusted caller has checked its payloads and may give them in base64.
CREATE OR REPLACE FUNCTION dutiful.store_(jobs json, payloads bytea[], trusted boolean)
RETURNS TABLE (n bigint, id uuid, outcome text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    job json;
    prefix text := '';
    began bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    known record;
    ids uuid[]; types text[]; queues text[]; bytes bytea[]; priorities int2[]; delays bigint[];
    ats timestamptz[]; attempts int[]; timeouts bigint[]; deliveries int2[]; correlations text[];
    traces text[]; groups_ text[]; tags text[]; keys text[];
    payload bytea;
BEGIN
    IF json_typeof(jobs) <> 'array' THEN
        PERFORM dutiful.refuse_(
            'the jobs are not a JSON array ([{"type": "…", "payload": …}])');
    END IF;
    n := 0;
    FOR job IN SELECT value FROM json_array_elements(jobs) LOOP
        n := n + 1;
        prefix := CASE WHEN payloads IS NULL AND NOT trusted THEN format('job %s: ', n) ELSE '' END;
        IF payloads IS NULL AND NOT trusted THEN
            -- Before anything is read from it: the server itself stumbles over NUL.
            PERFORM dutiful.check_payload_(job::text, 'the payload');
        END IF;
        PERFORM dutiful.check_fields_(job, trusted);
        payload := payloads[n];
        IF payload IS NULL AND trusted THEN
            payload := decode(job ->> 'payload_base64', 'base64');
        END IF;
        IF payload IS NULL THEN
            IF (job -> 'payload') IS NULL THEN
                PERFORM dutiful.refuse_('it has no payload; send null if it needs none');
            END IF;
            payload := convert_to((job -> 'payload')::text, 'UTF8');
            IF NOT trusted THEN
                PERFORM dutiful.check_size_(octet_length(payload));
            END IF;
        END IF;
        types := types || dutiful.check_name_('type', job ->> 'type');
        SELECT t.queue, t.priority, t.max_attempts, t.timeout_ms, t.delivery INTO known
        FROM dutiful.type t WHERE t.name = job ->> 'type';
        IF (job ->> 'id') !~* '^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$' THEN
            PERFORM dutiful.refuse_(format('"%s" is not a job id (a UUID such as '
                '01890a5d-ac96-774b-bcce-b302099a8057)', left(job ->> 'id', 60)));
        END IF;
        ids := ids || coalesce((job ->> 'id')::uuid, dutiful.id_(began + n));
        bytes := bytes || payload;
        queues := queues || CASE WHEN (job ->> 'queue') IS NULL
            THEN coalesce(known.queue, 'default') ELSE dutiful.check_name_('queue', job ->> 'queue')
            END;
        priorities := priorities || coalesce(dutiful.check_number_(job ->> 'priority', 0, 1000,
            'the priority %s is not within 0 to 1000 (lower runs first)'), known.priority,
            10)::int2;
        attempts := attempts || coalesce(dutiful.check_number_(job ->> 'max_attempts', 1, 1000,
            'max_attempts %s is not within 1 to 1000'), known.max_attempts, 3)::int;
        timeouts := timeouts || coalesce(dutiful.check_number_(job ->> 'timeout_ms', 1, 2592000000,
            'the timeout %sms is not within 1 ms and 30 days'), known.timeout_ms, 900000);
        delays := delays || CASE coalesce(dutiful.check_number_(job ->> 'delay_us', 0,
            253402300799999999, 'the delay %sµs is not within 0 and 9999 years'),
            dutiful.check_number_(job ->> 'delay_ms', 0, 253402300799999,
            'the delay %sms is negative or ends after the year 9999') * 1000, 0)
            WHEN 0 THEN -1 ELSE coalesce((job ->> 'delay_us')::bigint,
            (job ->> 'delay_ms')::bigint * 1000) END;
        ats := ats || dutiful.check_time_(job ->> 'scheduled_for');
        correlations := correlations
            || dutiful.check_text_('correlation id', job ->> 'correlation_id');
        traces := traces || dutiful.check_trace_(job ->> 'trace_parent');
        groups_ := groups_ || dutiful.check_text_('group', job ->> 'group');
        keys := keys || dutiful.check_text_('unique key', job ->> 'unique_key');
        tags := tags || dutiful.check_tags_(job -> 'tags');
        IF (job ->> 'delivery') NOT IN ('at_least_once', 'at_most_once') THEN
            PERFORM dutiful.refuse_(format('the delivery "%s" is neither at_least_once nor '
                'at_most_once', left(job ->> 'delivery', 60)));
        END IF;
        deliveries := deliveries || coalesce((job ->> 'delivery' = 'at_most_once')::int,
            known.delivery, 0)::int2;
    END LOOP;
    prefix := '';
    IF n = 0 THEN RETURN; END IF;
    RETURN QUERY SELECT k.n, k.id, CASE k.outcome WHEN 0 THEN 'new' WHEN 1 THEN 'exists'
        ELSE 'duplicate' END
    FROM dutiful.enqueue_keyed_(ids, types, queues, bytes, priorities, delays, ats, attempts,
        timeouts, deliveries, correlations, traces, groups_, tags, NULL, keys) k
    ORDER BY k.n;
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = prefix || SQLERRM;
END $body$

-- :function_enqueue one job; returns the id of the job that is stored: another one than was given
-- when a live job holds the unique key. The outcome in words: enqueue_many.
CREATE OR REPLACE FUNCTION dutiful.enqueue(type text, payload json, queue text DEFAULT NULL,
    priority int DEFAULT NULL, delay interval DEFAULT NULL, scheduled_for timestamptz DEFAULT NULL,
    max_attempts int DEFAULT NULL, timeout interval DEFAULT NULL, correlation_id text DEFAULT NULL,
    trace_parent text DEFAULT NULL, group_key text DEFAULT NULL, unique_key text DEFAULT NULL,
    tags text[] DEFAULT NULL, delivery text DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $body$
DECLARE
    at text := to_json(scheduled_for) #>> '{}';
    bytes bytea := convert_to(payload::text, 'UTF8');
BEGIN
    IF payload IS NULL THEN
        PERFORM dutiful.refuse_('it has no payload; send ''null'' if it needs none');
    END IF;
    PERFORM dutiful.check_size_(octet_length(bytes));
    PERFORM dutiful.check_payload_(payload::text, 'the payload');
    IF delay < interval '0' THEN
        PERFORM dutiful.refuse_(format('the delay %s is negative', delay));
    ELSIF at IS NULL AND delay > interval '0' THEN
        at := to_json(least(clock_timestamp() + least(delay, interval '8000 years'),
            '9999-12-31T23:59:59.999999Z')) #>> '{}';
    END IF;
    IF timeout < interval '1 millisecond' OR timeout > interval '30 days' THEN
        PERFORM dutiful.refuse_(format('the timeout %s is not within 1 ms and 30 days', timeout));
    END IF;
    RETURN (SELECT s.id FROM dutiful.store_(json_build_array(json_build_object('type', type,
        'queue', queue, 'priority', priority, 'scheduled_for', at, 'max_attempts', max_attempts,
        'timeout_ms', floor(extract(epoch FROM timeout) * 1000)::bigint,
        'correlation_id', correlation_id, 'trace_parent', trace_parent, 'group', group_key,
        'unique_key', unique_key, 'tags', array_remove(tags, NULL), 'delivery', delivery,
        'id', id)), ARRAY[bytes], false) s);
END $body$

-- :function_many an array of objects with the names that a job has in JSON
CREATE OR REPLACE FUNCTION dutiful.enqueue_many(jobs json)
RETURNS TABLE (id uuid, outcome text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN QUERY SELECT s.id, s.outcome FROM dutiful.store_(jobs, NULL, false) s ORDER BY s.n;
END $body$

-- :function_json for the glue of drivers: whole records, payloads checked there and in base64
CREATE OR REPLACE FUNCTION dutiful.enqueue_json(jobs text)
RETURNS TABLE (n bigint, id uuid, outcome text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN QUERY SELECT s.n, s.id, s.outcome FROM dutiful.store_(jobs::json, NULL, true) s
    ORDER BY s.n;
END $body$
