-- Counts the live places by queue. Reads only, in one snapshot; finished jobs are counted by the
-- tally, so a long history costs nothing here.

-- :pending
SELECT queue, count(*), min(run_at) FROM dutiful_ready GROUP BY queue

-- :scheduled
SELECT queue, reason, count(*), min(run_at) FROM dutiful_scheduled GROUP BY queue, reason

-- :active
SELECT queue, count(*) FROM dutiful_lease GROUP BY queue

-- :dead
SELECT queue, count(*) FROM dutiful_dead GROUP BY queue

-- :tally
SELECT queue, event, sum(n) FROM (
    SELECT queue, event, n FROM dutiful_total UNION ALL SELECT queue, event, n FROM dutiful_tally)
GROUP BY queue, event

-- :paused
SELECT name FROM dutiful_queue WHERE paused_at IS NOT NULL
