-- Writes a copy of the store to a file. Reads only what the store has, in one snapshot: it takes no
-- lock that keeps writers out, but while it runs the log cannot be cut back.

-- :copy ?1 path of the new file
VACUUM INTO ?1

-- :jobs
SELECT count(*) FROM dutiful_job
