-- Reads the tables of the store as they stand at the end, past the library: what the judge compares
-- with the ledgers. Reads only.

-- :jobs
SELECT id FROM dutiful_job

-- :places place 1 ready, 2 scheduled, 3 lease, 4 done, 5 dead; detail: outcome or reason
SELECT 1, id, attempt, 0, 0, 0, 0, 0, failures FROM dutiful_ready
UNION ALL SELECT 2, id, attempt, 0, 0, reason, 0, 0, failures FROM dutiful_scheduled
UNION ALL SELECT 3, id, attempt, nonce, worker, 0, claimed_at, until, failures FROM dutiful_lease
UNION ALL SELECT 4, id, attempt, nonce, worker, outcome, started_at, finished_at, failures
    FROM dutiful_done
UNION ALL SELECT 5, id, attempt, nonce, worker, reason, started_at, finished_at, failures
    FROM dutiful_dead

-- :attempts
SELECT id, attempt, worker, started_at, finished_at, outcome FROM dutiful_attempt
ORDER BY id, attempt

-- :workers
SELECT id, pid FROM dutiful_worker

-- :tally
SELECT event, sum(n) FROM (
    SELECT event, n FROM dutiful_total UNION ALL SELECT event, n FROM dutiful_tally)
GROUP BY event

-- :integrity
PRAGMA quick_check(1)

-- :waiting jobs that have not come to their end
SELECT (SELECT count(*) FROM dutiful_ready) + (SELECT count(*) FROM dutiful_scheduled)
    + (SELECT count(*) FROM dutiful_lease)

-- :active
SELECT count(*) FROM dutiful_lease

-- :leases_of ?1 pid of a worker
SELECT count(*) FROM dutiful_lease l JOIN dutiful_worker w ON w.id = l.worker WHERE w.pid = ?1

-- :counter
SELECT n FROM trust_counter
