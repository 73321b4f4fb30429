//! How long a bare durable commit takes on this disk: the unit in which single enqueues are judged.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use rusqlite::Connection;
use serde::Serialize;

/// Commits that are timed.
const COMMITS: usize = 500;

/// Times in ms.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Commit {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Times commits of one small row each, `synchronous=FULL` in WAL, as the store does.
pub(crate) fn measure(place: &Path) -> Result<Commit> {
    let conn = Connection::open(place.join("commit.db"))?;
    conn.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = full; CREATE TABLE t (x BLOB);",
    )?;
    let mut times = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let start = Instant::now();
        conn.execute("INSERT INTO t VALUES (randomblob(200))", [])?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: usize| (times[(COMMITS - 1) * part / 100] * 1000.0).round() / 1000.0;
    Ok(Commit { p50: at(50), p99: at(99) })
}
