-- Removes every trace of jobs that are not active. Rows are locked in the order of the ids
-- (change.sql): whoever holds a job's place owns its other rows too.

-- :all $1 ids, $2 now; n is the place in the request
SELECT n, change, state, holder FROM dutiful.delete_($1::uuid[], $2::timestamptz)

-- :function_jobs removes jobs from every table but lease
CREATE OR REPLACE FUNCTION dutiful.delete_jobs_(ids uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $body$
BEGIN
    DELETE FROM dutiful.ready t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.scheduled t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.done t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.dead t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.attempt t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.unique_key t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.progress t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.log t WHERE t.id = ANY (ids);
    DELETE FROM dutiful.job t WHERE t.id = ANY (ids);
END $body$

-- :function
CREATE OR REPLACE FUNCTION dutiful.delete_(ids uuid[], at_now timestamptz)
RETURNS TABLE (n bigint, change text, state text, holder uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
SET enable_seqscan = off AS $body$
DECLARE
    one uuid;
    again boolean;
    lane text;
    kind text;
    lanes text[];
    kinds text[];
    events smallint[];
    gone uuid[] := '{}';
BEGIN
    FOR n, one, again, state, lane, kind IN
        SELECT s.* FROM dutiful.stand_(ids, at_now, false) s ORDER BY s.n
    LOOP
        IF again AND one = ANY (gone) THEN
            state := NULL;
        END IF;
        change := CASE WHEN state IS NULL THEN 'not_found'
            WHEN state IN ('active', 'stalled') THEN 'refused' ELSE 'done' END;
        IF change = 'done' THEN
            gone := gone || one;
            IF state IN ('completed', 'cancelled') THEN
                lanes := lanes || lane;
                kinds := kinds || kind;
                events := events || CASE state WHEN 'completed' THEN 8 ELSE 9 END::smallint;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
    PERFORM dutiful.delete_jobs_(gone);
    IF lanes IS NOT NULL THEN
        PERFORM dutiful.count_(lanes, kinds, events);
    END IF;
END $body$
