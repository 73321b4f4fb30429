-- Completes an attempt inside the transaction of a user, for the glue of drivers. The lease row is
-- locked by its deletion until that transaction ends; heartbeats and rescues pass it over. Where
-- the fence does not hold it raises DU001, so that the transaction can only roll back.

-- :function one JSON object: id, attempt, nonce, worker, started_us (µs since 1970), ran_us,
-- waited_us, ran and waited (their buckets), result_base64 or null, at_most_once
CREATE OR REPLACE FUNCTION dutiful.complete_json(ended text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    e json := ended::json;
    job uuid := e ->> 'id';
    began timestamptz := timestamptz 'epoch'
        + (e ->> 'started_us')::bigint * interval '1 microsecond';
    stopped timestamptz := began + (e ->> 'ran_us')::bigint * interval '1 microsecond';
    answer bytea := decode(e ->> 'result_base64', 'base64');
    late boolean := coalesce((e ->> 'at_most_once')::boolean, false);
    lane text;
    kind text;
    charged int;
    marks int;
BEGIN
    IF late THEN
        -- It stands in done since its claim, which counted it as completed.
        UPDATE dutiful.done d SET outcome = 1, finished_at = stopped, result = answer
        WHERE d.id = job AND d.attempt = (e ->> 'attempt')::int
            AND d.nonce = (e ->> 'nonce')::bigint AND d.outcome = 3;
        IF FOUND THEN
            SELECT j.queue, j.type INTO lane, kind FROM dutiful.job j WHERE j.id = job;
        END IF;
    ELSE
        DELETE FROM dutiful.lease l WHERE l.id = job AND l.attempt = (e ->> 'attempt')::int
            AND l.nonce = (e ->> 'nonce')::bigint
        RETURNING l.queue, l.type, l.failures, l.flags INTO lane, kind, charged, marks;
    END IF;
    IF lane IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'DU001', CONSTRAINT = 'DU001', MESSAGE = 'lease lost',
            HINT = 'roll the transaction back: another attempt of the job may be running';
    END IF;
    IF NOT late THEN
        INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
            failures, result)
        VALUES (job, (e ->> 'attempt')::int, (e ->> 'nonce')::bigint, (e ->> 'worker')::bigint, 1,
            began, stopped, charged, answer);
        IF marks & 1 = 1 THEN
            DELETE FROM dutiful.unique_key k WHERE k.id = job;
        END IF;
    END IF;
    INSERT INTO dutiful.tally (queue, type, event, n, ran, waited, ran_us, waited_us)
    VALUES (lane, kind, 1, CASE WHEN late THEN 0 ELSE 1 END, ARRAY[(e ->> 'ran')::int2],
        ARRAY[(e ->> 'waited')::int2], (e ->> 'ran_us')::bigint, (e ->> 'waited_us')::bigint);
END $body$
