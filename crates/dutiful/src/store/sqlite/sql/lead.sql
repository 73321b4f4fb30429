-- Takes or renews the leadership. Runs inside BEGIN IMMEDIATE: of two candidates one is first, and
-- the other reads what the first wrote. The term grows with every change of the leader.

-- :row
SELECT worker, term, until FROM dutiful_leader WHERE role = 'upkeep'

-- :take ?1 worker, term, ?3 until
INSERT INTO dutiful_leader (role, worker, term, until) VALUES ('upkeep', ?1, ?2, ?3)
ON CONFLICT (role) DO UPDATE SET worker = excluded.worker, term = excluded.term,
    until = excluded.until
