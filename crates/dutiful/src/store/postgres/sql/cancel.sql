-- Stops jobs: waiting ones move to done as cancelled, active ones get a mark that their worker
-- reads. Rows are locked in the order of the ids (change.sql); a lease that a user's transaction
-- holds is waited for, at most as long as lock_timeout says.

-- :all $1 ids, $2 now; n is the place in the request
SELECT n, change, state, holder FROM dutiful.cancel_($1::uuid[], $2::timestamptz)

-- :function
CREATE OR REPLACE FUNCTION dutiful.cancel_(ids uuid[], at_now timestamptz)
RETURNS TABLE (n bigint, change text, state text, holder uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
SET enable_seqscan = off AS $body$
DECLARE
    one uuid;
    again boolean;
    moved uuid[] := '{}';
    lane text;
    kind text;
    moment timestamptz;
    lanes text[];
    kinds text[];
BEGIN
    FOR n, one, again, state, lane, kind IN
        SELECT s.* FROM dutiful.stand_(ids, at_now, true) s ORDER BY s.n
    LOOP
        IF again AND one = ANY (moved) THEN
            state := 'cancelled';
        END IF;
        moment := coalesce(at_now, clock_timestamp());
        change := CASE WHEN state IS NULL THEN 'not_found'
            WHEN state IN ('active', 'stalled') THEN 'requested'
            WHEN state IN ('pending', 'scheduled', 'failed') THEN 'done' ELSE 'refused' END;
        IF change = 'requested' THEN
            UPDATE dutiful.lease l SET cancel = true WHERE l.id = one AND NOT l.cancel;
        ELSIF change = 'done' THEN
            WITH gone AS (
                DELETE FROM dutiful.ready r WHERE r.id = one RETURNING r.attempt, r.failures
            ), late AS (
                DELETE FROM dutiful.scheduled s WHERE s.id = one RETURNING s.attempt, s.failures
            )
            INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
                failures)
            SELECT one, g.attempt, 0, 0, 2, moment, moment, g.failures
            FROM (SELECT * FROM gone UNION ALL SELECT * FROM late) g;
            DELETE FROM dutiful.unique_key k WHERE k.id = one;
            moved := moved || one;
            lanes := lanes || lane;
            kinds := kinds || kind;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF lanes IS NOT NULL THEN
        PERFORM dutiful.count_(lanes, kinds, array_fill(4::smallint, ARRAY[cardinality(lanes)]));
    END IF;
END $body$

-- :function_sql for every other language: SELECT dutiful.cancel(id)
CREATE OR REPLACE FUNCTION dutiful.cancel(id uuid) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN (SELECT dutiful.change_word_(c.change, c.state, c.holder)
            FROM dutiful.cancel_(ARRAY[id], NULL) c);
END $body$
