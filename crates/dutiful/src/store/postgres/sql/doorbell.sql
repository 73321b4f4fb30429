-- Who sleeps, and the ring that wakes them. A NOTIFY takes a lock of the whole cluster while it
-- commits, so it is sent only when another process sleeps, in a transaction of its own that holds
-- nothing else. The mark is a row of its sleeper's own; old ones are removed with SKIP LOCKED.

-- :listen to the channel, which has the schema's name
LISTEN "dutiful"

-- :mark $1 the process that sleeps, $2 for how many ms, $3 the channel; says whether this
-- connection listens to it. A mark need not survive a crash: everybody looks after one.
WITH fast AS (SELECT set_config('synchronous_commit', 'off', true)),
old AS (
    SELECT process FROM dutiful.sleeper
    WHERE until < clock_timestamp() - interval '1 minute' AND process <> $1::bigint
    FOR UPDATE SKIP LOCKED
),
gone AS (DELETE FROM dutiful.sleeper USING old WHERE sleeper.process = old.process),
marked AS (
    INSERT INTO dutiful.sleeper (process, until)
    SELECT $1::bigint, clock_timestamp() + $2::bigint * interval '1 millisecond' FROM fast
    ON CONFLICT (process) DO UPDATE SET until = excluded.until
)
SELECT $3::text IN (SELECT pg_listening_channels())

-- :listens $1 the channel
SELECT $1::text IN (SELECT pg_listening_channels())

-- :ring $1 the process that rings, $2 the channel; nothing is sent, and no row answered, while no
-- other sleeps
SELECT pg_notify($2::text, $1::bigint::text)
WHERE EXISTS (
    SELECT FROM dutiful.sleeper WHERE until > clock_timestamp() AND process <> $1::bigint
)
