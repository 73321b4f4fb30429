-- Puts @n jobs into the places of a store, an eighth into each: ready, scheduled, failed, set
-- aside, active, stalled, done and dead. The oldest is alone in a queue that is paused.
CREATE TEMPORARY TABLE given ON COMMIT PRESERVE ROWS AS
SELECT ('0190aaaa-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id, n % 8 AS place,
    CASE WHEN n = 0 THEN 'rare' ELSE 'default' END AS queue
FROM generate_series(0, @n - 1) n;
INSERT INTO dutiful.job (id, type, queue, priority, created_at, max_attempts, timeout_ms, tags,
    delivery, payload)
SELECT id, 'task', queue, 10, now(), 3, 60000, '["a", "b, c"]', 0, '[1.10]' FROM given;
INSERT INTO dutiful.ready (queue, priority, run_at, id, type, flags, attempt, failures, crashes)
SELECT queue, 10, now() - interval '1 hour', id, 'task', 0, 0, 0, 0 FROM given WHERE place = 0;
INSERT INTO dutiful.scheduled (run_at, id, queue, priority, type, flags, attempt, failures, crashes,
    reason)
SELECT now() + interval '1 hour', id, queue, 10, 'task', 0, 1, (place = 2)::int, 0,
    CASE place WHEN 1 THEN 0 WHEN 2 THEN 1 ELSE 3 END
FROM given WHERE place IN (1, 2, 3);
INSERT INTO dutiful.lease (id, attempt, nonce, worker, until, claimed_at, queue, priority, type,
    flags, failures, crashes)
SELECT id, 1, 5, 7, now() + CASE place WHEN 4 THEN 1 ELSE -1 END * interval '1 hour', now(), queue,
    10, 'task', 0, 0, 0
FROM given WHERE place IN (4, 5);
INSERT INTO dutiful.done (id, attempt, nonce, worker, outcome, started_at, finished_at, failures,
    result)
SELECT id, 1, 5, 7, 1, now(), now(), 0, '7' FROM given WHERE place = 6;
INSERT INTO dutiful.dead (id, attempt, nonce, worker, reason, started_at, finished_at, failures,
    crashes, queue, priority, type, flags, error_class, error_message)
SELECT id, 2, 5, 7, 1, now(), now(), 2, 0, queue, 10, 'task', 0, 'Oops', 'it broke'
FROM given WHERE place = 7;
INSERT INTO dutiful.attempt (id, attempt, worker, started_at, finished_at, outcome, error_class,
    error_message)
SELECT id, 1, 7, now(), now(), 2, 'Oops', 'it broke' FROM given WHERE place IN (2, 7);
INSERT INTO dutiful.log (id, attempt, number, logged_at, line)
SELECT id, 1, n, now(), CASE n WHEN 1 THEN 'one' ELSE 'two' END FROM given, generate_series(1, 2) n
WHERE place = 7;
INSERT INTO dutiful.progress (id, attempt, percent, note, noted_at, checkpoint)
SELECT id, 1, 50, 'half', now(), '{}' FROM given WHERE place = 7;
INSERT INTO dutiful.worker (id, name, pid, queues, types, started_at, beat_at, stopped_at)
VALUES (7, 'host:7', 1, '{"default": 5}', '{task}', now(), now(), now());
INSERT INTO dutiful.total (queue, type, event, n) VALUES ('default', 'task', 1, 10),
    ('default', 'task', 7, 5);
INSERT INTO dutiful.tally (queue, type, event, n) VALUES ('default', 'task', 1, 1),
    ('default', 'task', 8, 1);
INSERT INTO dutiful.tally_batch (queue, type, event, n, ran, waited, ran_us, waited_us)
VALUES ('{rare,default,default}', '{task,task,task}', '{4,1,1}', '{1,1,1}', '{NULL,0,1}',
    '{NULL,2,2}', '{NULL,10,2000}', '{NULL,6000,6000}');
INSERT INTO dutiful.queue (name, paused_at) VALUES ('rare', now());
DROP TABLE given;
ANALYZE dutiful.job, dutiful.ready, dutiful.scheduled, dutiful.lease, dutiful.done, dutiful.dead;
