-- Begins a remembered effect under the fence of an attempt. The key's row is locked while it is
-- decided who has it, so of two attempts one takes it and the other sees that.

-- :begin $1 key, id, attempt, nonce, $5 ttl in µs, now
SELECT said, result FROM dutiful.once_($1::text, $2::uuid, $3::int, $4::bigint, $5::bigint,
    $6::timestamptz)

-- :function said: 0 lost, 1 run it, 2 known, 3 taken
CREATE OR REPLACE FUNCTION dutiful.once_(of_key text, of_id uuid, of_attempt int, of_nonce bigint,
    ttl_us bigint, at timestamptz)
RETURNS TABLE (said int, result bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    seen dutiful.once%ROWTYPE;
    now timestamptz;
    ends timestamptz;
BEGIN
    IF NOT dutiful.alive_(of_id, of_attempt, of_nonce) THEN
        RETURN QUERY SELECT 0, NULL::bytea;
        RETURN;
    END IF;
    LOOP
        now := coalesce(at, clock_timestamp());
        ends := least(now + ttl_us * interval '1 microsecond', '9999-12-31 23:59:59.999999+00');
        INSERT INTO dutiful.once AS o (key, id, attempt, nonce, expires_at)
        VALUES (of_key, of_id, of_attempt, of_nonce, ends) ON CONFLICT (key) DO NOTHING;
        IF FOUND THEN
            RETURN QUERY SELECT 1, NULL::bytea;
            RETURN;
        END IF;
        SELECT * INTO seen FROM dutiful.once o WHERE o.key = of_key FOR UPDATE;
        -- Forgotten in between: the key is free.
        CONTINUE WHEN NOT FOUND;
        EXIT;
    END LOOP;
    IF seen.expires_at >= now AND seen.result IS NOT NULL THEN
        RETURN QUERY SELECT 2, seen.result;
    ELSIF seen.expires_at >= now
        AND (seen.id, seen.attempt, seen.nonce) <> (of_id, of_attempt, of_nonce)
        AND dutiful.alive_(seen.id, seen.attempt, seen.nonce) THEN
        RETURN QUERY SELECT 3, NULL::bytea;
    ELSE
        UPDATE dutiful.once o SET id = of_id, attempt = of_attempt, nonce = of_nonce, result = NULL,
            expires_at = ends WHERE o.key = of_key;
        RETURN QUERY SELECT 1, NULL::bytea;
    END IF;
END $$

-- :function_alive whether an attempt may still speak: it holds its lease, or is at-most-once and
-- nothing was heard of it yet
CREATE OR REPLACE FUNCTION dutiful.alive_(of_id uuid, of_attempt int, of_nonce bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN EXISTS (SELECT FROM dutiful.lease l
                   WHERE (l.id, l.attempt, l.nonce) = (of_id, of_attempt, of_nonce))
        OR EXISTS (SELECT FROM dutiful.done d
                   WHERE (d.id, d.attempt, d.nonce) = (of_id, of_attempt, of_nonce)
                       AND d.outcome = 3);
END $$
