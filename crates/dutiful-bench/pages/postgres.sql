-- Fills an empty store of schema `dutiful` with ten million jobs in all their places, to measure
-- the pages of a server on it: `dutiful migrate --store URL`, then `psql URL -f
-- postgres.sql`. Of each thousand 789 are completed, 100 due, 100 scheduled or failed, 10 dead and
-- one is active.
SET synchronous_commit = off;
SET maintenance_work_mem = '512MB';
CREATE UNLOGGED TABLE given AS
SELECT n, n % 1000 AS place, 'q' || (n % 10) AS queue, 'type' || (n % 20) AS type,
    (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - (10000000 - n) / 1000), 12, '0')
        || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid AS id
FROM generate_series(0, 9999999) n;
INSERT INTO dutiful.job (id, type, queue, priority, created_at, max_attempts, timeout_ms, tags,
    delivery, payload)
SELECT id, type, queue, 10, now() - (10000000 - n) * interval '1 ms', 3, 60000, '["a", "b"]', 0,
    convert_to('{"to":"ann@example.com","n":' || n || '}', 'UTF8')
FROM given;
INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT queue, 10, now() - interval '1 hour', id, type, 0, 0, 0, 0
FROM given WHERE place BETWEEN 780 AND 879;
INSERT INTO dutiful.scheduled (run_at, id, queue, priority, type, flags, attempt, failures, crashes,
    reason)
SELECT now() + interval '10 hours', id, queue, 10, type, 0, 1, 0, 0, n % 3
FROM given WHERE place BETWEEN 880 AND 979;
INSERT INTO dutiful.lease (id, attempt, nonce, worker, until, claimed_at, queue, priority, type,
    flags, failures, crashes)
SELECT id, 1, 5, 7, now() + interval '10 hours', now(), queue, 10, type, 0, 0, 0
FROM given WHERE place = 999;
INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at, failures,
    result)
SELECT id, 1, 5, 7, 1, now(), now(), 0, '7'
FROM given WHERE place < 780 OR place BETWEEN 990 AND 998;
INSERT INTO dutiful.dead (id, attempt, nonce, worker, reason, started_at, finished_at, failures,
    crashes, queue, priority, type, flags, error_class, error_message)
SELECT id, 2, 5, 7, 1, now(), now(), 2, 0, queue, 10, type, 0,
    (ARRAY['Timeout', 'SmtpError', 'Oops', 'HttpError', 'Panic'])[n % 5 + 1],
    'it broke at step ' || n || ' of ' || type
FROM given WHERE place BETWEEN 980 AND 989;
INSERT INTO dutiful.attempt (id, attempt, worker, started_at, finished_at, outcome, error_class,
    error_message)
SELECT id, 1, 7, now(), now(), 2, 'Oops', 'it broke' FROM given
WHERE place BETWEEN 980 AND 989 OR (place BETWEEN 880 AND 979 AND n % 3 = 1);
INSERT INTO dutiful.total (queue, type, event, n)
SELECT 'q' || (t % 10), 'type' || t, event, CASE event WHEN 0 THEN 500000 ELSE 394500 END
FROM generate_series(0, 19) t, generate_series(0, 1) event;
DROP TABLE given;
VACUUM ANALYZE;
