//! How long a bare durable commit takes on this disk: the unit in which single enqueues (commits in
//! a row) and pickups (on an idle system, where disk and processor take longer) are judged.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::Connection;
use serde::Serialize;

/// Commits in a row that are timed.
const IN_A_ROW: usize = 500;
/// Commits on an idle system that are timed: as many, and as far apart, as the pickups of a bench.
const IDLE: usize = 300;
const IDLE_GAP: Duration = Duration::from_millis(20);

/// Times in ms.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// A commit right behind another, and one after a pause.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Commit {
    pub(crate) in_a_row: Times,
    pub(crate) idle: Times,
}

/// Times commits of one small row each in a file, `synchronous=FULL` in WAL, as the store does.
pub(crate) fn measure(place: &Path) -> Result<Commit> {
    let conn = Connection::open(place.join("commit.db"))?;
    conn.execute_batch(include_str!("sql/commit_table.sql"))?;
    both(|| Ok(conn.execute(include_str!("sql/commit.sql"), []).map(drop)?))
}

/// Times a commit in a row and on an idle system.
pub(crate) fn both(mut commit: impl FnMut() -> Result<()>) -> Result<Commit> {
    Ok(Commit {
        in_a_row: time(&mut commit, IN_A_ROW, Duration::ZERO)?,
        idle: time(&mut commit, IDLE, IDLE_GAP)?,
    })
}

fn time(commit: &mut impl FnMut() -> Result<()>, commits: usize, gap: Duration) -> Result<Times> {
    let mut times = Vec::with_capacity(commits);
    for _ in 0..commits {
        std::thread::sleep(gap);
        let start = Instant::now();
        commit()?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: usize| (times[(commits - 1) * part / 100] * 1000.0).round() / 1000.0;
    Ok(Times { p50: at(50), p99: at(99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_takes_time_and_the_slowest_take_longer() {
        let place = tempfile::tempdir().expect("a folder for the file");
        let commit = measure(place.path()).expect("the disk can be written");
        for Times { p50, p99 } in [commit.in_a_row, commit.idle] {
            assert!(p50 > 0.0 && p99 >= p50, "{commit:?}");
        }
    }
}
