-- Puts dead, failed or cancelled jobs back into ready, due now. The last attempt of a dead or
-- cancelled one moves to the attempt log first. Rows are locked in the order of the ids
-- (change.sql), then unique keys are taken in the order of the keys, as an enqueue does; whoever
-- holds one meanwhile is waited for, and of two jobs with one key the first of the request gets it.

-- :all $1 ids, $2 now; n is the place in the request
SELECT n, change, state, holder FROM dutiful.retry_($1::uuid[], $2::timestamptz) ORDER BY n

-- :function_key takes the unique key of a job that becomes live again; says who holds it if not
CREATE OR REPLACE FUNCTION dutiful.take_key_again_(job uuid) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    mine text;
    holder uuid;
BEGIN
    SELECT j.unique_key INTO mine FROM dutiful.job j WHERE j.id = job;
    IF mine IS NULL THEN RETURN NULL; END IF;
    LOOP
        INSERT INTO dutiful.unique_key (key, id) VALUES (mine, job) ON CONFLICT DO NOTHING;
        IF FOUND THEN RETURN NULL; END IF;
        SELECT k.id INTO holder FROM dutiful.unique_key k WHERE k.key = mine OR k.id = job;
        -- None: it was freed between the two looks.
        IF FOUND THEN RETURN nullif(holder, job); END IF;
    END LOOP;
END $body$

-- :function
CREATE OR REPLACE FUNCTION dutiful.retry_(ids uuid[], at_now timestamptz)
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
        SELECT s.* FROM dutiful.stand_(ids, at_now, false) s
        ORDER BY (SELECT j.unique_key FROM dutiful.job j WHERE j.id = s.job) COLLATE "C", s.n
    LOOP
        holder := NULL;
        IF again AND one = ANY (moved) THEN
            state := 'pending';
        END IF;
        change := CASE WHEN state IS NULL THEN 'not_found'
            WHEN state IN ('failed', 'dead', 'cancelled') THEN 'done' ELSE 'refused' END;
        IF state IN ('dead', 'cancelled') THEN
            holder := dutiful.take_key_again_(one);
            change := CASE WHEN holder IS NULL THEN change ELSE 'conflict' END;
        END IF;
        moment := dutiful.moment_(at_now);
        IF change = 'done' AND state = 'failed' THEN
            WITH gone AS (DELETE FROM dutiful.scheduled s WHERE s.id = one RETURNING s.*)
            INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures,
                crashes)
            SELECT g.queue, g.priority, moment, g.id, g.type, g.flags, g.attempt, g.failures,
                g.crashes FROM gone g;
        ELSIF change = 'done' AND state = 'dead' THEN
            PERFORM dutiful.log_dead_(one);
            WITH gone AS (DELETE FROM dutiful.dead d WHERE d.id = one RETURNING d.*)
            INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures,
                crashes)
            SELECT g.queue, g.priority, moment, g.id, g.type, g.flags, g.attempt, 0, 0 FROM gone g;
        ELSIF change = 'done' THEN
            WITH gone AS (DELETE FROM dutiful.done d WHERE d.id = one RETURNING d.*), logged AS (
                INSERT INTO dutiful.attempt (id, attempt, worker, started_at, finished_at, outcome)
                SELECT g.id, g.attempt, g.worker, g.started_at, g.finished_at, 7 FROM gone g
                WHERE g.worker <> 0
                ON CONFLICT (id, attempt) DO UPDATE SET worker = excluded.worker,
                    started_at = excluded.started_at, finished_at = excluded.finished_at,
                    outcome = excluded.outcome, error_class = NULL, error_message = NULL
            )
            INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures,
                crashes)
            SELECT j.queue, j.priority, moment, j.id, j.type,
                (j.unique_key IS NOT NULL)::int + j.delivery * 2, g.attempt, 0, 0
            FROM gone g CROSS JOIN LATERAL (
                SELECT * FROM dutiful.job WHERE id = g.id OFFSET 0) j;
            lanes := lanes || lane;
            kinds := kinds || kind;
        END IF;
        IF change = 'done' THEN
            moved := moved || one;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF lanes IS NOT NULL THEN
        PERFORM dutiful.count_(lanes, kinds, array_fill(9::smallint, ARRAY[cardinality(lanes)]));
    END IF;
END $body$

-- :function_sql for every other language: SELECT dutiful.retry(id)
CREATE OR REPLACE FUNCTION dutiful.retry(id uuid) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN (SELECT dutiful.change_word_(c.change, c.state, c.holder)
            FROM dutiful.retry_(ARRAY[id], NULL) c);
END $body$
