-- Renews leases that are still ours, and the worker's presence. Only the whole fence renews, so an
-- answer to a claim that never arrived is not kept alive. Runs inside BEGIN IMMEDIATE.

-- :renew ?1 id, attempt, nonce, ?4 until
UPDATE dutiful_lease SET until = ?4 WHERE id = ?1 AND attempt = ?2 AND nonce = ?3
RETURNING cancel

-- :present ?1 worker, ?2 now
UPDATE dutiful_worker SET beat_at = ?2 WHERE id = ?1
