-- Takes jobs whose lease expired back to ready, or to dead. It reads lease alone (which is small:
-- it holds what runs now), pages by key, and compares with the store's clock. Runs inside BEGIN
-- IMMEDIATE after the term was checked; each move names the whole fence (?1 id, attempt, ?3 nonce).

-- :expired ?1 now, ?2 ids above this, ?3 limit, ?4 an end that no lease of today can have
SELECT id, attempt, nonce, until, worker, claimed_at, crashes, queue, type, flags, cancel
FROM dutiful_lease WHERE (until < ?1 OR until > ?4) AND id > ?2 ORDER BY id LIMIT ?3

-- :leases all that seem to go on; ?1 now
SELECT id, attempt, nonce, until, claimed_at FROM dutiful_lease WHERE until >= ?1

-- :silent a lease whose end is still this one; ?1 id, attempt, nonce, ?4 until
SELECT id, attempt, nonce, until, worker, claimed_at, crashes, queue, type, flags, cancel
FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3 AND until = ?4

-- :to_ready ?4 now
INSERT OR IGNORE INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures,
    crashes)
SELECT queue, priority, ?4, id, type, flags, attempt, max(failures, 0), max(crashes, 0) + 1
FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3

-- :to_dead ?4 now, ?5 message
INSERT OR IGNORE INTO dutiful_dead (id, attempt, nonce, worker, reason, started_at, finished_at,
    failures, crashes, queue, priority, type, flags, error_class, error_message)
SELECT id, attempt, nonce, worker, 3, claimed_at, ?4, failures, crashes + 1, queue, priority, type,
    flags, 'stalled', ?5
FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3

-- :attempt ?1 id, attempt, worker, started_at, finished_at, ?6 error_message
INSERT OR REPLACE INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome,
    error_class, error_message)
VALUES (?1, ?2, ?3, ?4, ?5, 6, 'stalled', ?6)

-- :end
DELETE FROM dutiful_lease WHERE id = ?1 AND attempt = ?2 AND nonce = ?3

-- :free_key ?1 id
DELETE FROM dutiful_unique_key WHERE id = ?1

-- :broken a lease that no fence can name; ?1 id as it stands, the id to keep it under, now,
-- ?4 message
INSERT OR IGNORE INTO dutiful_dead (id, attempt, nonce, worker, reason, started_at, finished_at,
    failures, crashes, queue, priority, type, flags, error_class, error_message)
SELECT ?2, max(0, min(attempt, 4294967295)), 0, 0, 3, ?3, ?3, failures, crashes, queue, priority,
    type, flags, 'corrupt', ?4
FROM dutiful_lease WHERE id = ?1

-- :leave_broken ?1 id as it stands
DELETE FROM dutiful_lease WHERE id = ?1
