-- Enqueue and completion inside a transaction of the user's own, through whichever driver: one text
-- goes in, one comes out. No locks but those of enqueue_sql.sql, finish_sql.sql and note.sql, held
-- until that transaction ends. Our own codes stand in CONSTRAINT too, for drivers that drop them.

-- :instance what tells this schema of this database from all others
SELECT dutiful.instance_()

-- :enqueue $1 {"instance", "jobs": [as enqueue_json takes them]}; answers [[place, id, outcome], …]
SELECT coalesce(json_agg(json_build_array(n, id, outcome) ORDER BY n), '[]')::text
FROM dutiful.enqueue_within_($1::text)

-- :complete $1 {"instance", "given_up", "ended": as complete_json takes it, "said": null or {…}}
SELECT dutiful.complete_within_($1::text)

-- :function_instance a copy of the database has another name, a new schema another number
CREATE OR REPLACE FUNCTION dutiful.instance_() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT i.id::text || ' ' || current_database() FROM dutiful.instance i
$body$

-- :function_here refuses a transaction that is not in this schema of this database
CREATE OR REPLACE FUNCTION dutiful.here_(expected text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF expected IS DISTINCT FROM dutiful.instance_() THEN
        RAISE EXCEPTION USING ERRCODE = 'DU002', CONSTRAINT = 'DU002',
            MESSAGE = format('the database "%s" with other jobs in it', current_database());
    END IF;
END $body$

-- :function_enqueue
CREATE OR REPLACE FUNCTION dutiful.enqueue_within_(given text)
RETURNS TABLE (n bigint, id uuid, outcome text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    asked json := given::json;
BEGIN
    PERFORM dutiful.here_(asked ->> 'instance');
    RETURN QUERY SELECT k.n, k.id, k.outcome FROM dutiful.enqueue_json((asked -> 'jobs')::text) k;
END $body$

-- :function_complete
CREATE OR REPLACE FUNCTION dutiful.complete_within_(given text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    asked json := given::json;
    e json := asked -> 'ended';
    said json := asked -> 'said';
    epoch CONSTANT timestamptz := '1970-01-01T00:00:00Z';
    us CONSTANT interval := '1 microsecond';
BEGIN
    PERFORM dutiful.here_(asked ->> 'instance');
    IF (asked ->> 'given_up')::boolean THEN
        -- Its worker has told so; the lease may well be there still.
        RAISE EXCEPTION USING ERRCODE = 'DU001', CONSTRAINT = 'DU001',
            MESSAGE = 'the attempt was given up';
    END IF;
    IF json_typeof(said) = 'object' THEN
        PERFORM dutiful.note_(ARRAY[(e ->> 'id')::uuid], ARRAY[(e ->> 'attempt')::int],
            ARRAY[(e ->> 'nonce')::bigint], ARRAY[(said ->> 'percent')::int2],
            ARRAY[said ->> 'note'], ARRAY[epoch + (said ->> 'noted_us')::bigint * us],
            ARRAY[NULL::bytea], coalesce(array_agg(1) FILTER (WHERE l.number > 0), '{}'),
            coalesce(array_agg(l.number), '{}'), coalesce(array_agg(epoch + l.at_us * us), '{}'),
            coalesce(array_agg(l.line), '{}'), (said ->> 'lines_max')::int,
            (said ->> 'attempts_max')::int, NULL)
        FROM json_to_recordset(said -> 'log') AS l (number bigint, at_us bigint, line text);
    END IF;
    PERFORM dutiful.complete_json(e::text);
    RETURN 'completed';
END $body$
