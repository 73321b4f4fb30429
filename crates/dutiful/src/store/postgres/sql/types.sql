-- Returns the settings that workers registered for types. Reads only.

-- :settings $1 names
SELECT t.name, t.queue, t.priority, t.max_attempts, t.timeout_ms, t.delivery
FROM unnest($1::text[]) WITH ORDINALITY AS a (name, n) JOIN dutiful.type t ON t.name = a.name
ORDER BY a.n
