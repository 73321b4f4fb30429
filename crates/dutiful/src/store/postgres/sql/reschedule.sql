-- Gives waiting jobs another time; a failed one stays failed. Rows are locked in the order of the
-- ids (change.sql).

-- :all $1 ids, $2 now, $3 run_at; n is the place in the request
SELECT n, change, state, holder
FROM dutiful.reschedule_($1::uuid[], $2::timestamptz, $3::timestamptz)

-- :function one that was set aside waits for its time now
CREATE OR REPLACE FUNCTION dutiful.reschedule_(ids uuid[], at_now timestamptz, whenever timestamptz)
RETURNS TABLE (n bigint, change text, state text, holder uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
SET enable_seqscan = off AS $body$
DECLARE
    one uuid;
BEGIN
    FOR n, one, state IN
        SELECT s.n, s.job, s.state FROM dutiful.stand_(ids, at_now, false) s ORDER BY s.n
    LOOP
        change := CASE WHEN state IS NULL THEN 'not_found'
            WHEN state IN ('pending', 'scheduled', 'failed') THEN 'done' ELSE 'refused' END;
        IF change = 'done' THEN
            UPDATE dutiful.scheduled s
            SET run_at = whenever, reason = CASE s.reason WHEN 3 THEN 0 ELSE s.reason END
            WHERE s.id = one;
            WITH gone AS (DELETE FROM dutiful.ready r WHERE r.id = one RETURNING r.*)
            INSERT INTO dutiful.scheduled (run_at, id, queue, priority, type, flags, attempt,
                failures, crashes, reason)
            SELECT whenever, g.id, g.queue, g.priority, g.type, g.flags, g.attempt, g.failures,
                g.crashes, 0 FROM gone g;
        END IF;
        RETURN NEXT;
    END LOOP;
END $body$
