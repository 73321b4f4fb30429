-- Takes dead jobs out of the dead letter queue: they stay on record as cancelled, their last
-- attempt and its error in the log. Rows are locked in the order of the ids (change.sql).

-- :all $1 ids, $2 now; n is the place in the request
SELECT n, change, state, holder FROM dutiful.discard_($1::uuid[], $2::timestamptz)

-- :function
CREATE OR REPLACE FUNCTION dutiful.discard_(ids uuid[], at_now timestamptz)
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
        SELECT s.* FROM dutiful.stand_(ids, at_now, false) s ORDER BY s.n
    LOOP
        IF again AND one = ANY (moved) THEN
            state := 'cancelled';
        END IF;
        change := CASE WHEN state IS NULL THEN 'not_found'
            WHEN state = 'dead' THEN 'done' ELSE 'refused' END;
        IF change = 'done' THEN
            moment := coalesce(at_now, clock_timestamp());
            PERFORM dutiful.log_dead_(one);
            WITH gone AS (DELETE FROM dutiful.dead d WHERE d.id = one RETURNING d.*)
            INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at,
                failures)
            SELECT g.id, g.attempt, 0, 0, 2, moment, moment, g.failures FROM gone g;
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
