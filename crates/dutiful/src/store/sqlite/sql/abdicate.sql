-- Gives the leadership back: it ends now, the term stays. Runs inside BEGIN IMMEDIATE.

-- :end ?1 worker, ?2 term
UPDATE dutiful_leader SET until = 0 WHERE role = 'upkeep' AND worker = ?1 AND term = ?2
