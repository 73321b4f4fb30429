-- What a person should look at. Reads only; each statement looks at a bounded number of rows.

-- :foreign types that wait and that no worker alive since ?1 serves
SELECT DISTINCT type FROM (SELECT type FROM dutiful_ready LIMIT 2000)
WHERE type NOT IN (SELECT value FROM dutiful_worker, json_each(iif(json_valid(types), types, '[]'))
                   WHERE stopped_at IS NULL AND beat_at >= ?1)
LIMIT 10

-- :stalled ?1 now
SELECT count(*) FROM dutiful_lease WHERE until < ?1

-- :leader ?1 now
SELECT count(*) FROM dutiful_leader WHERE until >= ?1
