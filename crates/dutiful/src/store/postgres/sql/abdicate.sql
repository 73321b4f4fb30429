-- Gives the leadership back: it ends now, the term stays. Locks the leader's row alone.

-- :end $1 worker, term
UPDATE dutiful.leader SET until = 'epoch'
WHERE role = 'upkeep' AND worker = $1::bigint AND term = $2::bigint
