-- Takes or renews the leadership. The row's lock lets one candidate at a time decide, by the clock
-- at the moment it has the lock. Chores lock the row FOR SHARE until they end, so that nobody else
-- leads before a chore of the old term is done or rolled back.

-- :take $1 worker, ttl in µs, an end this far ahead in µs is of a clock that went back, $4 now
SELECT leader, term FROM dutiful.lead_($1::bigint, $2::bigint, $3::bigint, $4::timestamptz)

-- :function
CREATE OR REPLACE FUNCTION dutiful.lead_(candidate bigint, ttl_us bigint, beyond_us bigint,
    at timestamptz)
RETURNS TABLE (leader bigint, term bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    us CONSTANT interval := '1 microsecond';
BEGIN
    -- Most candidates find somebody else there, and need no lock to learn it.
    RETURN QUERY SELECT l.worker, l.term FROM dutiful.leader l
        WHERE l.role = 'upkeep' AND l.worker <> candidate AND l.until BETWEEN
            coalesce(at, clock_timestamp()) AND coalesce(at, clock_timestamp()) + beyond_us * us;
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    INSERT INTO dutiful.leader AS l (role, worker, term, until)
    VALUES ('upkeep', candidate, 1, coalesce(at, clock_timestamp()) + ttl_us * us)
    ON CONFLICT (role) DO UPDATE SET
        term = l.term + (l.worker <> candidate OR l.until < coalesce(at, clock_timestamp()))::int,
        worker = candidate, until = coalesce(at, clock_timestamp()) + ttl_us * us
    WHERE l.until < coalesce(at, clock_timestamp()) OR l.worker = candidate
        OR l.until > coalesce(at, clock_timestamp()) + beyond_us * us
    RETURNING l.worker, l.term;
    IF NOT FOUND THEN
        RETURN QUERY SELECT l.worker, l.term FROM dutiful.leader l WHERE l.role = 'upkeep';
    END IF;
END $$

-- :function_term refuses a chore of another term than the last, and keeps that term until its end
CREATE OR REPLACE FUNCTION dutiful.check_term_(asked bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
BEGIN
    SELECT l.term INTO last FROM dutiful.leader l WHERE l.role = 'upkeep' FOR SHARE;
    IF coalesce(last, 0) <> asked THEN
        RAISE EXCEPTION USING ERRCODE = 'DUT01', MESSAGE = coalesce(last, 0)::text;
    END IF;
END $$
