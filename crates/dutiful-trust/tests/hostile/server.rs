//! What is damaged in a schema of Postgres: its types let less stand there, and no CHECK holds
//! whoever may drop it.

use dutiful_fixture::{Postgres, Version};

use crate::{Place, Words};

const WORDS: Words = Words {
    damage: [PLACES, RECORDS],
    left: "SELECT (SELECT count(*) FROM dutiful.lease WHERE queue <> 'long')
     + (SELECT count(*) FROM dutiful.ready
        WHERE type = 'task' AND priority BETWEEN 0 AND 1000 AND run_at >= 'epoch')
     + (SELECT count(*) FROM dutiful.scheduled WHERE reason <> 3 AND run_at < now())",
    deaths: "SELECT coalesce(sum(n), 0) FROM (SELECT n, event FROM dutiful.tally
     UNION ALL SELECT n, event FROM dutiful.total) AS counts WHERE event = 3",
    dead: "SELECT count(*) FROM dutiful.dead WHERE error_class <> 'planted'",
    leases: "SELECT count(*) FROM dutiful.lease",
};

/// Rows without a record, and with numbers and times that nobody counts to. `rows` gives each of
/// them another id, so that each stands in one place.
const PLACES: &str = "BEGIN;
ALTER TABLE dutiful.ready DROP CONSTRAINT ready_attempt_check,
    DROP CONSTRAINT ready_failures_check, DROP CONSTRAINT ready_crashes_check;
ALTER TABLE dutiful.scheduled DROP CONSTRAINT scheduled_attempt_check,
    DROP CONSTRAINT scheduled_failures_check, DROP CONSTRAINT scheduled_crashes_check,
    DROP CONSTRAINT scheduled_reason_check;
CREATE TEMP TABLE odd (n int, big int, at timestamptz);
INSERT INTO odd VALUES (1, 2147483647, 'infinity'), (2, -2147483648, '-infinity'),
    (3, 2147483646, 'epoch'), (4, -1, '4714-11-24 00:00:00+00 BC'), (5, 0, '294276-12-31'),
    (6, 1, '9999-12-31'), (7, 2147483647, '2000-01-01'), (8, -7, '1969-12-31');
CREATE TEMP TABLE odd_id (id uuid);
INSERT INTO odd_id VALUES ('00000000-0000-0000-0000-000000000000'),
    ('ffffffff-ffff-ffff-ffff-ffffffffffff'), ('00000000-0000-7000-8000-000000000000');
CREATE FUNCTION pg_temp.ids(n int) RETURNS uuid LANGUAGE sql AS
    'SELECT coalesce((SELECT id FROM odd_id OFFSET n - 1 LIMIT 1), gen_random_uuid())';
INSERT INTO dutiful.ready SELECT 'default', n % 3, at, gen_random_uuid(), 'task', n, big, -n, -big
    FROM odd WHERE n <> 2;
INSERT INTO dutiful.ready SELECT 'default', -n, at, gen_random_uuid(), 'task', 0, n, 0, 0 FROM odd;
INSERT INTO dutiful.ready SELECT 'default', 32767, at, gen_random_uuid(), 'task', -32768, n, n, n
    FROM odd;
INSERT INTO dutiful.scheduled SELECT at, gen_random_uuid(), 'default', n, 'task', -n, big, -n, n, n
    FROM odd WHERE at < now() OR at = 'infinity';
INSERT INTO dutiful.scheduled SELECT at, gen_random_uuid(), '', -n, '', n, n, n, n, -n FROM odd
    WHERE at < now() OR at = 'infinity';
INSERT INTO dutiful.lease
    SELECT pg_temp.ids(k), big, n, 77, until, began, 'default', n, 'task', -n, -n, big, n % 2 = 0
    FROM (SELECT a.at AS until, b.at AS began, b.big, b.n, row_number() OVER ()::int AS k
        FROM odd a, odd b WHERE a.at < now() OR a.at > now() + interval '10 years') AS l;
COMMIT;";

/// Whole jobs whose record, numbers and words are nothing that a handler or a reader expects, and
/// all the other tables.
const RECORDS: &str = "BEGIN;
ALTER TABLE dutiful.job DROP CONSTRAINT job_priority_check,
    DROP CONSTRAINT job_max_attempts_check, DROP CONSTRAINT job_timeout_ms_check,
    DROP CONSTRAINT job_delivery_check;
ALTER TABLE dutiful.progress DROP CONSTRAINT progress_percent_check;
CREATE TEMP TABLE bad (n serial, id uuid DEFAULT gen_random_uuid(), payload bytea, type text,
    text text, number int);
INSERT INTO bad (payload, type, text, number) VALUES ('', 'task', NULL, 0),
    ('\\xFF00FE', 'task', '', -1), ('{', 'task', 'NULL', 2147483647),
    (decode(repeat('00', 2000000), 'hex'), 'task', '{', -2147483648),
    ('[]', 'task', E'\\x01\\x7f', 1), ('{}', 'nobody_knows_it', '[1, null]', 1),
    ('{}', '', 'x', 1), ('{}', E'\\n', repeat('x', 100000), 1),
    ('{}', 'task', '[\"a\"]', 2147483647), ('{}', 'task', 'null', -5);
INSERT INTO dutiful.job (id, type, queue, priority, created_at, max_attempts, timeout_ms,
    correlation_id, trace_parent, group_key, unique_key, tags, delivery, payload)
SELECT id, type, 'default', CASE WHEN n % 2 = 0 THEN -1 ELSE 32767 END,
    CASE WHEN n % 2 = 0 THEN '-infinity' ELSE 'infinity' END::timestamptz, number,
    CASE WHEN n % 2 = 0 THEN 9223372036854775807 ELSE -1 END, text, text, text, left(text, 9), text,
    9, payload FROM bad;
INSERT INTO dutiful.ready
    SELECT 'default', 10, 'epoch', id, type, 0, number, -2, -1 FROM bad WHERE n < 9;
INSERT INTO dutiful.ready
    SELECT 'default', 10, 'epoch', id, type, 0, number, 0, 0 FROM bad WHERE n >= 9;
CREATE TEMP TABLE ended (n serial, id uuid DEFAULT gen_random_uuid(), at timestamptz);
INSERT INTO ended (at) VALUES ('infinity'), ('-infinity'), ('epoch'), ('294276-12-31');
INSERT INTO dutiful.job (id, type, queue, priority, created_at, max_attempts, timeout_ms, delivery,
    payload) SELECT id, 'task', 'default', -n, at, -n, -n, -n, '\\xFF' FROM ended;
INSERT INTO dutiful.done SELECT id, -n, n, n, 99, at, '-infinity', -n, '\\xFF' FROM ended
    WHERE n < 3;
INSERT INTO dutiful.dead SELECT id, -n, n, n, 99, 'infinity', at, -n, -n, '', -n, '', -n,
    'planted', '' FROM ended WHERE n >= 3;
INSERT INTO dutiful.attempt SELECT b.id, k.n, 5, 'infinity', '-infinity', 99, '', NULL
    FROM bad b, (VALUES (-1), (0), (2147483647), (1)) AS k (n);
INSERT INTO dutiful.progress SELECT id, -n, 999, text, 'infinity', payload FROM bad;
INSERT INTO dutiful.log SELECT id, -n, -n, '-infinity', '' FROM bad;
INSERT INTO dutiful.once SELECT 'k' || n, id, -n, n, '\\xFF', 'infinity' FROM bad;
INSERT INTO dutiful.unique_key SELECT 'k' || n, gen_random_uuid() FROM bad;
INSERT INTO dutiful.worker VALUES (5, '', -1, '5', '{NULL}', false, 'infinity', '-infinity', NULL),
    (6, E'\\n', -1, '{\"default\": {}}', '{}', true, '-infinity', 'infinity', 'infinity'),
    (7, 'x', 2147483647, '[null, 1]', '{a,NULL,b}', true, 'epoch', 'epoch', '-infinity');
INSERT INTO dutiful.queue VALUES ('', 'infinity'), (E'\\n', '-infinity'), ('none', NULL);
INSERT INTO dutiful.type VALUES ('', '', -1, -1, -1, 9, 'infinity');
INSERT INTO dutiful.tally (queue, type, event, n, ran, waited, ran_us, waited_us) VALUES
    ('', '', 99, -5, '{NULL,-1,32767}', '{}', -1, -1), ('default', 'task', -9, 0, NULL, NULL, 0, 0),
    ('default', 'task', 1, 0, '{1000,NULL}', '{-3}', NULL, -9);
INSERT INTO dutiful.tally_batch (queue, type, event, n, ran, waited, ran_us, waited_us) VALUES
    ('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
    ('{\"\",default,NULL,default}', '{\"\",task}', '{99,-9,1,NULL}', '{-5,2147483647,NULL}',
        '{NULL,-1,32767}', '{-3}', '{9223372036854775807,9223372036854775807,-1}', '{NULL,-9}'),
    ('{default,default}', '{task,task}', '{1,1}', '{0,NULL}', '{0,0}', '{0,NULL}', '{-1,0}', '{0}');
INSERT INTO dutiful.total VALUES ('', '', 99, 1, '{1,2}', '{NULL}', -1, NULL);
COMMIT;";

pub(crate) fn place() -> anyhow::Result<Place> {
    let server = Postgres::shared(Version::System)?;
    let url = server.fresh_database()?;
    let database = url.rsplit('/').next().unwrap_or_default().to_owned();
    let sql = move |sql: &str| server.psql(&database, sql).expect("the SQL runs");
    Ok(Place { url, words: &WORDS, sql: Box::new(sql) })
}
