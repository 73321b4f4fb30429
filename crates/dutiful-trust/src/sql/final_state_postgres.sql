-- Reads the tables of the store as they stand at the end, past the library: what the judge compares
-- with the ledgers. `dutiful.` stands for the schema. Times are in µs. Reads only.

-- :begin
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY

-- :end
ROLLBACK

-- :jobs
SELECT uuid_send(id) FROM dutiful.job

-- :places place 1 ready, 2 scheduled, 3 lease, 4 done, 5 dead; detail: outcome or reason
SELECT place::bigint, uuid_send(id), attempt::bigint, nonce, worker, detail::bigint,
    coalesce((extract(epoch FROM began) * 1000000)::bigint, 0),
    coalesce((extract(epoch FROM ended) * 1000000)::bigint, 0), failures::bigint
FROM (
    SELECT 1 AS place, id, attempt, 0::bigint AS nonce, 0::bigint AS worker, 0 AS detail,
        NULL::timestamptz AS began, NULL::timestamptz AS ended, failures FROM dutiful.ready
    UNION ALL SELECT 2, id, attempt, 0, 0, reason, NULL, NULL, failures FROM dutiful.scheduled
    UNION ALL SELECT 3, id, attempt, nonce, worker, 0, claimed_at, until, failures
        FROM dutiful.lease
    UNION ALL SELECT 4, id, attempt, nonce, worker, outcome, started_at, finished_at, failures
        FROM dutiful.done
    UNION ALL SELECT 5, id, attempt, nonce, worker, reason, started_at, finished_at, failures
        FROM dutiful.dead) AS places

-- :attempts
SELECT uuid_send(id), attempt::bigint, worker, (extract(epoch FROM started_at) * 1000000)::bigint,
    (extract(epoch FROM finished_at) * 1000000)::bigint, outcome::bigint
FROM dutiful.attempt ORDER BY id, attempt

-- :workers
SELECT id, pid::bigint FROM dutiful.worker

-- :tally
SELECT event::bigint, sum(n)::bigint FROM (
    SELECT event, n FROM dutiful.total UNION ALL SELECT event, n FROM dutiful.tally
    UNION ALL SELECT unnest(event), unnest(n) FROM dutiful.tally_batch) AS counts
GROUP BY event

-- :integrity jobs that stand nowhere or in several places, and rows without a job; each table is
-- read without its indexes, so that a damaged index shows as a difference
SELECT count(*) FROM (
    SELECT id FROM (
        SELECT id, 0 AS stands FROM dutiful.job
        UNION ALL SELECT id, 1 FROM dutiful.ready
        UNION ALL SELECT id, 1 FROM dutiful.scheduled
        UNION ALL SELECT id, 1 FROM dutiful.lease
        UNION ALL SELECT id, 1 FROM dutiful.done
        UNION ALL SELECT id, 1 FROM dutiful.dead) AS rows
    GROUP BY id HAVING count(*) <> 2 OR sum(stands) <> 1) AS wrong

-- :waiting jobs that have not come to their end
SELECT (SELECT count(*) FROM dutiful.ready) + (SELECT count(*) FROM dutiful.scheduled)
    + (SELECT count(*) FROM dutiful.lease)

-- :active
SELECT count(*) FROM dutiful.lease

-- :leases_of $1 pid of a worker
SELECT count(*) FROM dutiful.lease l JOIN dutiful.worker w ON w.id = l.worker
WHERE w.pid = $1::bigint

-- :counter_there
SELECT count(*) FROM pg_class WHERE oid = to_regclass('dutiful.trust_counter')

-- :counter
SELECT coalesce(sum(n), 0)::bigint FROM dutiful.trust_counter
