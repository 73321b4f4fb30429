-- Moves scheduled jobs that are due into ready: the front of the primary key, in its order. A row
-- that somebody has locked (a change by id) is passed over (SKIP LOCKED) and tried again soon. One
-- that was given another time since this statement looked is locked and not deleted, for it is
-- newer than the look: only what is gone from here is placed there, or it would stand in both. To
-- learn that nothing is due nobody has to lead, and nothing is locked.

-- :due $1 term, at most so many, now
SELECT moved, next_us FROM dutiful.promote_($1::bigint, $2::int, $3::timestamptz)

-- :function
CREATE OR REPLACE FUNCTION dutiful.promote_(of_term bigint, at_most int, at timestamptz)
RETURNS TABLE (moved bigint, next_us bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz := coalesce(at, clock_timestamp());
    next timestamptz;
    -- What somebody holds is tried again after this while.
    held CONSTANT interval := '50 milliseconds';
BEGIN
    moved := 0;
    SELECT min(s.run_at) INTO next FROM dutiful.scheduled s;
    IF next <= now THEN
        PERFORM dutiful.check_term_(of_term);
        now := dutiful.moment_(at);
        WITH due AS MATERIALIZED (
            SELECT s.ctid AS place, s.* FROM dutiful.scheduled s
            WHERE s.run_at <= now ORDER BY s.run_at, s.id LIMIT at_most FOR UPDATE SKIP LOCKED
        ),
        gone AS (
            DELETE FROM dutiful.scheduled WHERE ctid = ANY (ARRAY (SELECT place FROM due))
            RETURNING *
        ),
        placed AS (
            INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures,
                crashes)
            SELECT queue, priority, now, id, type, flags, attempt, failures, crashes FROM gone
            ON CONFLICT DO NOTHING
        )
        SELECT count(*) INTO moved FROM gone;
        SELECT min(s.run_at) INTO next FROM dutiful.scheduled s;
        IF next <= now AND moved < at_most THEN
            next := now + held;
        END IF;
    END IF;
    -- A time without end is none, and nothing can be subtracted from it.
    next_us := CASE WHEN next <= now THEN 0
        WHEN isfinite(next) THEN extract(epoch FROM next - now) * 1000000 END;
    RETURN NEXT;
END $$
