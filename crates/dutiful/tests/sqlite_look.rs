//! Looks at an embedded store with many jobs in it: whatever a page shows is found by an index, so
//! that a long history costs a page nothing.
#![cfg(feature = "sqlite")]

use dutiful::{Client, Filter, NewJob, State};
use rusqlite::Connection;

const JOBS: usize = 200_000;
const LIST: &str = include_str!("../src/store/sqlite/sql/list.sql");
const SHOW: &str = include_str!("../src/store/sqlite/sql/show.sql");
const KEPT: &str = include_str!("../src/store/sqlite/sql/kept.sql");
const STATS: &str = include_str!("../src/store/sqlite/sql/stats.sql");
const QUEUES: &str = include_str!("../src/store/sqlite/sql/queues.sql");
const TOTALS: &str = include_str!("../src/store/sqlite/sql/totals.sql");
const WORKERS: &str = include_str!("../src/store/sqlite/sql/workers.sql");

/// The places that grow with the history.
const HISTORY: [&str; 6] = [
    "dutiful_job",
    "dutiful_done",
    "dutiful_attempt",
    "dutiful_log",
    "dutiful_progress",
    "dutiful_kept",
];
/// The places of jobs that have not ended, and of those that wait for a person.
const LIVE: [&str; 4] = ["dutiful_ready", "dutiful_scheduled", "dutiful_lease", "dutiful_dead"];

/// Puts the jobs into the places: most are done, the others stand in each place alike.
const SPREAD: &str = "
    CREATE TEMP TABLE given AS SELECT id, row_number() OVER (ORDER BY id) % 20 AS place
    FROM dutiful_ready;
    INSERT INTO dutiful_scheduled (run_at, id, queue, priority, type, flags, attempt, failures,
        crashes, reason)
    SELECT run_at + 3600000000, id, queue, priority, type, flags, 0, 0, 0, 0 FROM dutiful_ready
    WHERE id IN (SELECT id FROM given WHERE place = 1);
    INSERT INTO dutiful_lease (id, attempt, nonce, worker, until, claimed_at, queue, priority, type,
        flags, failures, crashes, cancel)
    SELECT id, 1, 1, 7, run_at + 3600000000, run_at, queue, priority, type, flags, 0, 0, 0
    FROM dutiful_ready WHERE id IN (SELECT id FROM given WHERE place = 2);
    INSERT INTO dutiful_dead (id, attempt, nonce, worker, reason, started_at, finished_at, failures,
        crashes, queue, priority, type, flags, error_class, error_message)
    SELECT id, 1, 1, 7, 1, run_at, run_at, 1, 0, queue, priority, type, flags, 'Oops', 'it broke'
    FROM dutiful_ready WHERE id IN (SELECT id FROM given WHERE place = 3);
    INSERT INTO dutiful_done (id, attempt, nonce, worker, outcome, started_at, finished_at,
        failures)
    SELECT id, 1, 1, 7, 1, run_at, run_at, 0 FROM dutiful_ready
    WHERE id IN (SELECT id FROM given WHERE place > 3);
    INSERT INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome)
    SELECT id, 1, 7, finished_at, finished_at, 2 FROM dutiful_done;
    DELETE FROM dutiful_ready WHERE id IN (SELECT id FROM given WHERE place > 0);
    DROP TABLE given;";

/// Returns the name and the SQL of each section.
fn sections(file: &str) -> Vec<(&str, &str)> {
    file.split("-- :").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

/// Returns the steps of a plan.
fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("it is planned");
    // A value that is not given is null, and the plan the same.
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().expect("a plan") {
        steps.push(row.get(3).expect("a step"));
    }
    steps
}

fn reads_all_of(step: &str, places: &[&str]) -> bool {
    step.starts_with("SCAN") && places.iter().any(|place| step.split(' ').nth(1) == Some(place))
}

fn check(conn: &Connection) {
    let places: Vec<_> = HISTORY.iter().chain(&LIVE).copied().collect();
    let mut plans = 0;
    for file in [LIST, SHOW, KEPT] {
        for (name, sql) in sections(file) {
            let plan = plan(conn, sql);
            let all = plan.join("\n");
            let whole = plan.iter().any(|step| reads_all_of(step, &places));
            assert!(!whole, "{name} reads all of a place:\n{all}");
            assert!(!all.contains("TEMP B-TREE"), "{name} sorts:\n{all}");
            plans += 1;
        }
    }
    for file in [STATS, QUEUES, TOTALS, WORKERS] {
        for (name, sql) in sections(file) {
            let plan = plan(conn, sql);
            let history = |step: &String| HISTORY.iter().any(|place| step.contains(place));
            assert!(!plan.iter().any(history), "{name} reads history:\n{}", plan.join("\n"));
            plans += 1;
        }
    }
    assert_eq!(plans, 11 + 9 + 2 + 3 + 6 + 1 + 1, "a statement came or went");
}

#[tokio::test]
async fn pages_walk_the_indexes_of_their_own_places() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("jobs.db");
    let url = format!("sqlite:{}", path.display());
    let client = Client::connect(&url).await.expect("the store opens");
    let one = || NewJob { job_type: "task".into(), payload: b"{}".to_vec(), ..NewJob::default() };
    for _ in 0..JOBS / 10_000 {
        client.enqueue_many((0..10_000).map(|_| one()).collect()).await.expect("they are stored");
    }
    let conn = Connection::open(&path).expect("the file opens");
    conn.execute_batch(SPREAD).expect("they stand in their places");
    check(&conn);
    // Statistics must not talk the planner out of an index.
    conn.execute_batch("ANALYZE").expect("the file is analysed");
    check(&conn);
    for (state, n) in [(State::Pending, 10_000), (State::Dead, 10_000), (State::Active, 10_000)] {
        let filter = Filter { state: Some(state), limit: Some(50), ..Filter::default() };
        assert_eq!(client.jobs(filter).await.expect("a page").jobs.len(), 50, "{state}");
        let totals = client.stats().await.expect("the numbers").totals;
        let counted = match state {
            State::Pending => totals.pending,
            State::Dead => totals.dead,
            _ => totals.active,
        };
        assert_eq!(counted, n, "{state}");
    }
    client.close().await.expect("closed");
}
