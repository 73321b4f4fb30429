//! What is damaged in a file of SQLite, which lets any value stand in any column.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::{Place, Words};

/// How long a statement waits for the lock.
const LOCK_WAIT: Duration = Duration::from_secs(60);

const WORDS: Words = Words {
    damage: [PLACES, RECORDS],
    left: "SELECT (SELECT count(*) FROM dutiful_lease WHERE length(id) <> 16 OR until < 100)
     + (SELECT count(*) FROM dutiful_ready WHERE type = 'task')
     + (SELECT count(*) FROM dutiful_scheduled WHERE reason <> 3)",
    deaths: "SELECT ifnull(sum(n), 0) FROM (SELECT n, event FROM dutiful_tally
     UNION ALL SELECT n, event FROM dutiful_total) WHERE event = 3",
    dead: "SELECT count(*) FROM dutiful_dead",
    leases: "SELECT count(*) FROM dutiful_lease",
};

const PLACES: &str = "BEGIN IMMEDIATE;
         CREATE TEMP TABLE odd (id BLOB, n INTEGER);
         INSERT INTO odd VALUES (x'', 1), (x'00', 2), (x'FF', 3), (zeroblob(15), 4),
             (zeroblob(17), 5), (CAST('text' AS BLOB), 6), (randomblob(1000), 7),
             (x'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF', 8),
             (randomblob(16), 9), (randomblob(16), 10), (zeroblob(16), 11);
         INSERT INTO dutiful_ready SELECT 'default', -5 + n % 3, n * 1000000000000, id, 'task', n, n,
             -n, -n FROM odd;
         UPDATE odd SET id = randomblob(16) WHERE length(id) = 16;
         INSERT INTO dutiful_scheduled SELECT -n, randomblob(iif(n < 8, n, 16)), 'default', n, 'task', n, -n, -n, n, n
             FROM odd;
         UPDATE odd SET id = randomblob(16) WHERE length(id) = 16;
         INSERT INTO dutiful_lease SELECT id, iif(n < 9, n, -n), n, 77, n, -n, 'default', n, 'task',
             0, -n, 0, n % 3 FROM odd;
         INSERT INTO dutiful_done SELECT id, -n, n, n, n, -n, n, -n, x'FF' FROM odd WHERE n < 4;
         INSERT INTO dutiful_attempt SELECT id, -n, n, n, n, n, CAST(x'FF' AS TEXT),
             CAST(x'00FF' AS TEXT) FROM odd;
         COMMIT;";

const RECORDS: &str = "BEGIN IMMEDIATE;
         CREATE TEMP TABLE bad (id BLOB, payload BLOB, type TEXT, text TEXT);
         INSERT INTO bad VALUES (randomblob(16), x'', 'task', NULL),
             (randomblob(16), x'FF00FE', 'task', ''), (randomblob(16), '{', 'task', 'NULL'),
             (randomblob(16), zeroblob(2000000), 'task', char(0)),
             (randomblob(16), '[]', 'task', CAST(x'C328FF' AS TEXT)),
             (randomblob(16), '{}', 'nobody_knows_it', 'x'), (randomblob(16), '{}', '', 'x'),
             (randomblob(16), '{}', CAST(x'FFFE' AS TEXT), CAST(x'FFFE' AS TEXT));
         INSERT INTO dutiful_job (id, type, queue, priority, created_at, max_attempts, timeout_ms,
             correlation_id, trace_parent, group_key, unique_key, tags, delivery, payload)
         SELECT id, type, 'default', 10, -1, 1, 1000, text, text, text, text, text, 9,
             CAST(payload AS BLOB) FROM bad;
         INSERT INTO dutiful_ready SELECT 'default', 10, -1, id, type, 0, 0, -2, -1 FROM bad;
         INSERT INTO dutiful_worker SELECT 5, CAST(x'FF' AS TEXT), -1, '{', 'no json', -1, 1 << 60,
             NULL, 7;
         INSERT INTO dutiful_queue VALUES (CAST(x'FF' AS TEXT), 1);
         COMMIT;";

pub(crate) fn place(dir: &Path) -> Place {
    let path = dir.join("jobs.db");
    let url = format!("sqlite:{}", path.display());
    Place { url, words: &WORDS, sql: Box::new(move |sql| run(&path, sql)) }
}

/// Runs statements; what a query answers is one number.
fn run(path: &Path, sql: &str) -> String {
    let conn = Connection::open(path).expect("the file opens");
    conn.busy_timeout(LOCK_WAIT).expect("a wait can be set");
    if sql.starts_with("SELECT") {
        let number: i64 = conn.query_row(sql, [], |row| row.get(0)).expect("it is counted");
        return number.to_string();
    }
    conn.execute_batch(sql).expect("the rows are damaged");
    String::new()
}
