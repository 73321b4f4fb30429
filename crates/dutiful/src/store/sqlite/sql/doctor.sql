-- Looks for what is wrong with a store. Reads only; each statement but the last two looks at few
-- rows.

-- :newest the latest times that were written lately
SELECT max(at) FROM (
    SELECT max(created_at) AS at FROM (SELECT created_at FROM dutiful_job ORDER BY seq DESC
        LIMIT 1000)
    UNION ALL SELECT max(claimed_at) FROM dutiful_lease
    UNION ALL SELECT max(beat_at) FROM dutiful_worker)

-- :stalled ?1 leases that ended before this, and when the oldest did
SELECT count(*), ifnull(min(until), 0) FROM dutiful_lease WHERE until < ?1

-- :unserved queues in which jobs wait and that no worker alive since ?1 serves; steps from queue to
-- queue, so that a long one costs no more than a short one
WITH RECURSIVE waiting(queue) AS (
    SELECT min(queue) FROM dutiful_ready
    UNION ALL
    SELECT (SELECT min(r.queue) FROM dutiful_ready r WHERE r.queue > w.queue)
    FROM waiting w WHERE w.queue IS NOT NULL)
SELECT queue FROM waiting WHERE queue IS NOT NULL AND queue NOT IN (
    SELECT key FROM dutiful_worker, json_each(iif(json_valid(queues), queues, '{}'))
    WHERE stopped_at IS NULL AND beat_at >= ?1)
LIMIT 10

-- :homeless records that stand in no place or in several, which must not be; reads everything
SELECT count(*) FROM dutiful_job j WHERE 1 <>
    (SELECT count(*) FROM dutiful_ready r WHERE r.id = j.id)
    + (SELECT count(*) FROM dutiful_scheduled s WHERE s.id = j.id)
    + (SELECT count(*) FROM dutiful_lease l WHERE l.id = j.id)
    + (SELECT count(*) FROM dutiful_done d WHERE d.id = j.id)
    + (SELECT count(*) FROM dutiful_dead x WHERE x.id = j.id)

-- :strays places without a record, which must not be; reads everything
SELECT count(*) FROM (SELECT id FROM dutiful_ready UNION ALL SELECT id FROM dutiful_scheduled
    UNION ALL SELECT id FROM dutiful_lease UNION ALL SELECT id FROM dutiful_done
    UNION ALL SELECT id FROM dutiful_dead) p
WHERE NOT EXISTS (SELECT 1 FROM dutiful_job j WHERE j.id = p.id)
