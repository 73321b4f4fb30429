-- Lists ids, newest first, a slice at a time, from the places that the asked state stands in, so
-- that a page of dead jobs never walks the live ones; the second column says whether the row is in
-- the state. Rows of other states come too, so that whoever walks can count and stop. Each branch
-- walks one index from the end and stops. Reads only, takes no lock that anybody waits for.
-- $1 ids below this, $2 at most so many, $3 now (null: the server's).

-- :any
SELECT id, true FROM dutiful.job WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint

-- :live in one statement, so in one snapshot: a job that moves is in one of the three
(SELECT id, true FROM dutiful.ready WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint)
UNION ALL
(SELECT id, true FROM dutiful.scheduled WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint)
UNION ALL
(SELECT id, true FROM dutiful.lease WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint)
ORDER BY 1 DESC LIMIT $2::bigint

-- :pending
(SELECT id, true FROM dutiful.ready WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint)
UNION ALL
(SELECT id, reason = 3 FROM dutiful.scheduled WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint)
ORDER BY 1 DESC LIMIT $2::bigint

-- :scheduled
SELECT id, reason IN (0, 2) FROM dutiful.scheduled WHERE id < $1::uuid
ORDER BY id DESC LIMIT $2::bigint

-- :failed
SELECT id, reason = 1 FROM dutiful.scheduled WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint

-- :active
SELECT id, until >= coalesce($3::timestamptz, statement_timestamp()) FROM dutiful.lease
WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint

-- :stalled
SELECT id, until < coalesce($3::timestamptz, statement_timestamp()) FROM dutiful.lease
WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint

-- :completed
SELECT id, outcome <> 2 FROM dutiful.done WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint

-- :cancelled
SELECT id, outcome = 2 FROM dutiful.done WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint

-- :dead
SELECT id, true FROM dutiful.dead WHERE id < $1::uuid ORDER BY id DESC LIMIT $2::bigint

-- :record $1 ids
SELECT id, type, queue, group_key, tags, correlation_id, created_at FROM dutiful.job
WHERE id = ANY ($1::uuid[])
