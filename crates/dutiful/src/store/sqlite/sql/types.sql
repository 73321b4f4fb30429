-- Returns the settings that workers registered for a type. Reads only.

-- :settings ?1 name
SELECT queue, priority, max_attempts, timeout_ms, delivery FROM dutiful_type WHERE name = ?1
