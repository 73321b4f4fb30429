-- Deletes jobs that wait in a queue, a piece at a time. Rows that somebody claims or changes are
-- passed over (SKIP LOCKED); only when no other row is left are they waited for, in the order of
-- their ids.

-- :piece $1 queue, $2 at most; answers how many are gone, 0 when none waits
SELECT dutiful.clear_($1::text, $2::int)

-- :function there is no index on scheduled by queue, so its part walks what is scheduled
CREATE OR REPLACE FUNCTION dutiful.clear_(lane text, most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $body$
DECLARE
    gone uuid[];
    more uuid[];
BEGIN
    FOR looks IN 1 .. 3 LOOP
        WITH ours AS MATERIALIZED (
            SELECT r.ctid AS place FROM dutiful.ready r WHERE r.queue = lane
            LIMIT most FOR UPDATE SKIP LOCKED
        ), left_ AS (
            DELETE FROM dutiful.ready r WHERE r.ctid = ANY (ARRAY (SELECT place FROM ours))
            RETURNING r.id
        )
        SELECT coalesce(array_agg(id), '{}') INTO gone FROM left_;
        IF cardinality(gone) < most THEN
            WITH ours AS MATERIALIZED (
                SELECT s.ctid AS place FROM dutiful.scheduled s WHERE s.queue = lane
                LIMIT most - cardinality(gone) FOR UPDATE SKIP LOCKED
            ), left_ AS (
                DELETE FROM dutiful.scheduled s WHERE s.ctid = ANY (ARRAY (SELECT place FROM ours))
                RETURNING s.id
            )
            SELECT coalesce(array_agg(id), '{}') INTO more FROM left_;
            gone := gone || more;
        END IF;
        IF cardinality(gone) > 0 THEN
            PERFORM dutiful.delete_jobs_(gone);
            RETURN cardinality(gone);
        END IF;
        -- What is left, if anything, somebody holds: see what becomes of it.
        PERFORM FROM (SELECT r.id FROM dutiful.ready r WHERE r.queue = lane ORDER BY r.id LIMIT most
            FOR UPDATE) held;
        EXIT WHEN NOT FOUND AND NOT EXISTS (SELECT FROM dutiful.scheduled s WHERE s.queue = lane);
    END LOOP;
    RETURN 0;
END $body$
