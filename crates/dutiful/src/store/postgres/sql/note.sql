-- Keeps what handlers say of their attempts. Nothing is written unless the whole fence still holds.
-- Lease rows are locked (FOR KEY SHARE) in the order of their ids, so that no lease ends in
-- between; one that a user's transaction holds is passed over (SKIP LOCKED): as long as it stands
-- there its attempt may speak.

-- :keep $1 ids, attempts, nonces, percents, $5 notes, noted at, checkpoints, $8 of which note each
-- line is, its number, time, text, $12 how many lines stay, of how many attempts, now
SELECT held FROM dutiful.note_($1::uuid[], $2::int[], $3::bigint[], $4::smallint[], $5::text[],
    $6::timestamptz[], $7::bytea[], $8::int[], $9::bigint[], $10::timestamptz[], $11::text[],
    $12::int, $13::int, $14::timestamptz) ORDER BY n

-- :function
CREATE OR REPLACE FUNCTION dutiful.note_(ids uuid[], attempts int[], nonces bigint[],
    percents smallint[], notes text[], noted timestamptz[], checkpoints bytea[], line_of int[],
    numbers bigint[], times timestamptz[], texts text[], lines_max int, attempts_max int,
    at timestamptz)
RETURNS TABLE (n bigint, held boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    speak bigint[];
BEGIN
    PERFORM 1 FROM (
            SELECT * FROM unnest(ids, attempts, nonces) AS g (id, attempt, nonce) ORDER BY id
        ) g CROSS JOIN LATERAL (
            SELECT FROM dutiful.lease l
            WHERE (l.id, l.attempt, l.nonce) = (g.id, g.attempt, g.nonce)
            FOR KEY SHARE SKIP LOCKED
        ) l;
    speak := ARRAY (
        SELECT g.n FROM unnest(ids, attempts, nonces) WITH ORDINALITY AS g (id, attempt, nonce, n)
        WHERE EXISTS (SELECT FROM dutiful.lease l
                      WHERE (l.id, l.attempt, l.nonce) = (g.id, g.attempt, g.nonce))
            OR EXISTS (SELECT FROM dutiful.done d
                       WHERE (d.id, d.attempt, d.nonce) = (g.id, g.attempt, g.nonce)
                           AND d.outcome = 3));
    INSERT INTO dutiful.progress AS p (id, attempt, percent, note, noted_at)
    SELECT DISTINCT ON (g.id) g.id, g.attempt, g.percent, g.note, g.noted
    FROM unnest(ids, attempts, percents, notes, noted) WITH ORDINALITY
        AS g (id, attempt, percent, note, noted, n)
    WHERE g.n = ANY (speak) AND g.percent IS NOT NULL ORDER BY g.id, g.n DESC
    ON CONFLICT (id) DO UPDATE SET attempt = excluded.attempt, percent = excluded.percent,
        note = excluded.note, noted_at = excluded.noted_at;
    INSERT INTO dutiful.progress AS p (id, attempt, checkpoint, noted_at)
    SELECT DISTINCT ON (g.id) g.id, g.attempt, g.checkpoint, coalesce(at, clock_timestamp())
    FROM unnest(ids, attempts, checkpoints) WITH ORDINALITY AS g (id, attempt, checkpoint, n)
    WHERE g.n = ANY (speak) AND g.checkpoint IS NOT NULL ORDER BY g.id, g.n DESC
    ON CONFLICT (id) DO UPDATE SET attempt = excluded.attempt, checkpoint = excluded.checkpoint;
    INSERT INTO dutiful.log (id, attempt, number, logged_at, line)
    SELECT ids[g.of], attempts[g.of], g.number, g.at, g.line
    FROM unnest(line_of, numbers, times, texts) AS g (of, number, at, line)
    WHERE g.of = ANY (speak) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING;
    DELETE FROM dutiful.log l
    USING (SELECT DISTINCT ids[o] AS id, attempts[o] AS attempt FROM unnest(line_of) o
           WHERE o = ANY (speak)) g
    WHERE l.id = g.id AND (l.attempt <= g.attempt - attempts_max OR l.attempt = g.attempt
        AND l.number <= (SELECT max(m.number) FROM dutiful.log m
                         WHERE m.id = g.id AND m.attempt = g.attempt) - lines_max);
    RETURN QUERY
    SELECT o.n, o.n = ANY (speak) FROM generate_series(1, cardinality(ids)::bigint) o (n);
END $$
