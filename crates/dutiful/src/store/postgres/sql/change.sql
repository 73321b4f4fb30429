-- What all changes by id share: to find where a job stands. The row there is locked until the end
-- of the transaction, so the answer holds. A caller locks the jobs of a batch in the order of their
-- ids, then changes them in the order of the request, and never looks a second time: what was found
-- nowhere or active may have moved since, and to lock it then would be out of order. A lease is
-- locked only to ask for a cancel: a transaction of a user may hold it for long. enable_seqscan is
-- off: a plan that was made while a table was empty would read all of it later.

-- :function_place looks in one place after the other, each with a snapshot of its own; a job on its
-- way from one to another may be missed, so whoever is found nowhere is looked for three times.
CREATE OR REPLACE FUNCTION dutiful.place_(job uuid, at_now timestamptz, lock_lease boolean,
    OUT state text, OUT lane text, OUT kind text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $body$
BEGIN
    FOR tries IN 1 .. 3 LOOP
        SELECT 'pending', r.queue, r.type INTO state, lane, kind
        FROM dutiful.ready r WHERE r.id = job FOR UPDATE;
        IF FOUND THEN RETURN; END IF;
        SELECT CASE s.reason WHEN 1 THEN 'failed' WHEN 3 THEN 'pending' ELSE 'scheduled' END,
            s.queue, s.type INTO state, lane, kind
        FROM dutiful.scheduled s WHERE s.id = job FOR UPDATE;
        IF FOUND THEN RETURN; END IF;
        -- Locked by the same look that finds it: one that is claimed just now is locked here, too.
        IF lock_lease THEN
            SELECT CASE WHEN l.until < coalesce(at_now, clock_timestamp()) THEN 'stalled'
                ELSE 'active' END, l.queue, l.type INTO state, lane, kind
            FROM dutiful.lease l WHERE l.id = job FOR UPDATE;
        ELSE
            SELECT CASE WHEN l.until < coalesce(at_now, clock_timestamp()) THEN 'stalled'
                ELSE 'active' END, l.queue, l.type INTO state, lane, kind
            FROM dutiful.lease l WHERE l.id = job;
        END IF;
        IF FOUND THEN RETURN; END IF;
        SELECT 'dead', d.queue, d.type INTO state, lane, kind
        FROM dutiful.dead d WHERE d.id = job FOR UPDATE;
        IF FOUND THEN RETURN; END IF;
        SELECT CASE d.outcome WHEN 2 THEN 'cancelled' ELSE 'completed' END INTO state
        FROM dutiful.done d WHERE d.id = job FOR UPDATE;
        IF FOUND THEN
            SELECT j.queue, j.type INTO lane, kind FROM dutiful.job j WHERE j.id = job;
            lane := coalesce(lane, 'unknown');
            kind := coalesce(kind, 'unknown');
            RETURN;
        END IF;
    END LOOP;
    state := NULL;
END $body$

-- :function_stand looks for a batch and locks it, each job once; "again" tells later mentions
CREATE OR REPLACE FUNCTION dutiful.stand_(ids uuid[], at_now timestamptz, lock_leases boolean)
RETURNS TABLE (n bigint, job uuid, again boolean, state text, lane text, kind text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    last uuid;
BEGIN
    FOR n, job IN
        SELECT o.n, o.id FROM unnest(ids) WITH ORDINALITY AS o (id, n) ORDER BY o.id, o.n
    LOOP
        again := coalesce(job = last, false);
        IF NOT again THEN
            SELECT p.state, p.lane, p.kind INTO state, lane, kind
            FROM dutiful.place_(job, at_now, lock_leases) p;
        END IF;
        last := job;
        RETURN NEXT;
    END LOOP;
END $body$

-- :function_count appends one row for each (queue, type) to the tally
CREATE OR REPLACE FUNCTION dutiful.count_(lanes text[], kinds text[], events smallint[])
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    INSERT INTO dutiful.tally (queue, type, event, n)
    SELECT q, t, e, count(*) FROM unnest(lanes, kinds, events) AS u (q, t, e) GROUP BY q, t, e
$body$

-- :function_log_dead keeps the last attempt of a dead job that leaves this place
CREATE OR REPLACE FUNCTION dutiful.log_dead_(job uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    INSERT INTO dutiful.attempt (id, attempt, worker, started_at, finished_at, outcome, error_class,
        error_message)
    SELECT d.id, d.attempt, d.worker, d.started_at, d.finished_at,
        CASE d.reason WHEN 3 THEN 6 ELSE 3 END, d.error_class, d.error_message
    FROM dutiful.dead d WHERE d.id = job AND d.worker <> 0
    ON CONFLICT (id, attempt) DO UPDATE SET worker = excluded.worker,
        started_at = excluded.started_at, finished_at = excluded.finished_at,
        outcome = excluded.outcome, error_class = excluded.error_class,
        error_message = excluded.error_message;
END $body$

-- :function_word an answer for people: done, requested, not_found, refused: STATE, conflict: ID
CREATE OR REPLACE FUNCTION dutiful.change_word_(change text, state text, holder uuid) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT CASE change WHEN 'refused' THEN 'refused: ' || state
        WHEN 'conflict' THEN 'conflict: ' || holder::text ELSE change END
$body$
