-- Removes every trace of a job that is not active. Runs inside BEGIN IMMEDIATE. ?1 is the id.

-- :ready
DELETE FROM dutiful_ready WHERE id = ?1

-- :scheduled
DELETE FROM dutiful_scheduled WHERE id = ?1

-- :done
DELETE FROM dutiful_done WHERE id = ?1

-- :dead
DELETE FROM dutiful_dead WHERE id = ?1

-- :attempts
DELETE FROM dutiful_attempt WHERE id = ?1

-- :key
DELETE FROM dutiful_unique_key WHERE id = ?1

-- :record
DELETE FROM dutiful_job WHERE id = ?1

-- :progress
DELETE FROM dutiful_progress WHERE id = ?1

-- :log
DELETE FROM dutiful_log WHERE id = ?1
