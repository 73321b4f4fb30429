-- Completes an attempt inside a transaction of the user's own, through whichever driver: one text
-- goes in. Locks the lease's row until that transaction ends; whoever renews, rescues or ends leases
-- passes over it (SKIP LOCKED), so the lease counts as renewed. Where the whole fence does not hold
-- it raises DU001, so that the transaction can only be rolled back.

-- :within $1 {"instance", "given_up", "attempt": {the fence, "started_us", …}, "percent", "log", …}
SELECT dutiful.complete_json($1::text)

-- :function
CREATE OR REPLACE FUNCTION dutiful.complete_json(given text) RETURNS text LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    asked json := given::json;
    g record;
    held boolean;
BEGIN
    PERFORM dutiful.here_(asked ->> 'instance');
    SELECT * INTO g FROM json_to_record(asked -> 'attempt') AS r (id uuid, attempt int,
        nonce bigint, worker bigint, queue text, type text, failures int, uniq boolean,
        at_most_once boolean, started_us bigint, ran_us bigint, waited_us bigint, ran smallint,
        waited smallint);
    IF (asked ->> 'given_up')::boolean THEN
        held := false;
    ELSIF g.at_most_once THEN
        UPDATE dutiful.done SET outcome = 1, finished_at = dutiful.time_(g.started_us + g.ran_us)
        WHERE (id, attempt, nonce) = (g.id, g.attempt, g.nonce) AND outcome = 3;
        held := FOUND;
    ELSE
        DELETE FROM dutiful.lease WHERE (id, attempt, nonce) = (g.id, g.attempt, g.nonce);
        held := FOUND;
    END IF;
    IF NOT held THEN
        RAISE EXCEPTION 'the lease of job % was lost: roll back', g.id USING ERRCODE = 'DU001';
    END IF;
    IF NOT g.at_most_once THEN
        INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
            failures)
        VALUES (g.id, g.attempt, g.nonce, g.worker, 1, dutiful.time_(g.started_us),
            dutiful.time_(g.started_us + g.ran_us), g.failures);
        IF g.uniq THEN
            DELETE FROM dutiful.unique_key WHERE id = g.id;
        END IF;
    END IF;
    -- An at-most-once job was counted as completed by its claim; its times are news.
    INSERT INTO dutiful.tally (queue, type, event, n, ran, waited, ran_us, waited_us)
    VALUES (g.queue, g.type, 1, (NOT g.at_most_once)::int, ARRAY[g.ran], ARRAY[g.waited], g.ran_us,
        g.waited_us);
    PERFORM dutiful.said_(g.id, g.attempt, asked);
    RETURN 'completed';
END $$

-- :function_said keeps the last words of an attempt, as note.sql does those before
CREATE OR REPLACE FUNCTION dutiful.said_(of_id uuid, of_attempt int, said json) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF said ->> 'percent' IS NOT NULL THEN
        INSERT INTO dutiful.progress (id, attempt, percent, note, noted_at)
        VALUES (of_id, of_attempt, (said ->> 'percent')::smallint, said ->> 'note',
            dutiful.time_((said ->> 'noted_us')::bigint))
        ON CONFLICT (id) DO UPDATE SET attempt = excluded.attempt, percent = excluded.percent,
            note = excluded.note, noted_at = excluded.noted_at;
    END IF;
    IF json_array_length(said -> 'log') = 0 THEN
        RETURN;
    END IF;
    INSERT INTO dutiful.log (id, attempt, number, logged_at, line)
    SELECT of_id, of_attempt, l.number, dutiful.time_(l.at_us), l.line
    FROM json_to_recordset(said -> 'log') AS l (number bigint, at_us bigint, line text)
    ORDER BY l.number ON CONFLICT DO NOTHING;
    DELETE FROM dutiful.log WHERE id = of_id
        AND (attempt <= of_attempt - (said ->> 'log_attempts_max')::int OR attempt = of_attempt
            AND number <= (SELECT max(m.number) FROM dutiful.log m
                           WHERE m.id = of_id AND m.attempt = of_attempt)
                - (said ->> 'log_lines_max')::int);
END $$
