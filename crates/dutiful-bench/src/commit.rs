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
    conn.execute_batch(include_str!("sql/commit_table.sql"))?;
    let mut times = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let start = Instant::now();
        conn.execute(include_str!("sql/commit.sql"), [])?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: usize| (times[(COMMITS - 1) * part / 100] * 1000.0).round() / 1000.0;
    Ok(Commit { p50: at(50), p99: at(99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_takes_time_and_the_slowest_take_longer() {
        let place = tempfile::tempdir().expect("a folder for the file");
        let commit = measure(place.path()).expect("the disk can be written");
        assert!(commit.p50 > 0.0 && commit.p99 >= commit.p50, "{commit:?}");
    }
}
