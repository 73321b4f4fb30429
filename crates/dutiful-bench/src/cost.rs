//! What a job costs a Postgres server: bytes of log, commits, pages read in memory, and how long
//! each statement takes, for the bulk enqueue and for the drain apart.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use dutiful_fixture::Postgres;

use crate::server;

/// The queue of the run.
const QUEUE: &str = "bench-cost";

/// Runs both and returns the report.
pub(crate) fn measure(dutiful: &Path, jobs: u64, queues: u64) -> Result<String> {
    let part = |url: &str, role, jobs| part(dutiful, url, role, [jobs, queues]);
    let server = server::start_watched()?;
    let url = server.fresh_database()?;
    server.psql(&url, include_str!("sql/cost_watch_server.sql"))?;
    let mut text = String::new();
    // The schema, and the first partitions, are not counted.
    part(&url, "bulk", 1000)?;
    part(&url, "drain", 1000)?;
    for role in ["bulk", "drain"] {
        let before = counters(&server, &url)?;
        server.psql(&url, include_str!("sql/cost_reset_server.sql"))?;
        part(&url, role, jobs)?;
        let after = counters(&server, &url)?;
        let each = |at: usize| (after[at] - before[at]) / jobs as f64;
        writeln!(
            text,
            "**{role}**, each job: {:.0} bytes of WAL, {:.4} commits, {:.1} pages found in memory \
             and {:.3} read.\n",
            each(0),
            each(1),
            each(2),
            each(3)
        )?;
        writeln!(text, "| statement | calls | ms | ms each | rows each | share |")?;
        writeln!(text, "|---|---|---|---|---|---|")?;
        for line in server.psql(&url, include_str!("sql/cost_statements_server.sql"))?.lines() {
            writeln!(text, "| {} |", line.replace('|', " | "))?;
        }
        writeln!(text)?;
    }
    Ok(text)
}

fn part(dutiful: &Path, url: &str, role: &str, [jobs, queues]: [u64; 2]) -> Result<()> {
    let mut command = Command::new(dutiful);
    command.args(["bench", "--json", "--store", url, "--role", role, "--queue", QUEUE]);
    command.args(["--jobs", &jobs.to_string(), "--queues", &queues.to_string()]);
    crate::one_line(&mut command).map(drop)
}

/// Returns bytes of WAL, commits, pages found and pages read, so far.
fn counters(server: &Postgres, url: &str) -> Result<Vec<f64>> {
    let row = server.psql(url, include_str!("sql/cost_server.sql"))?;
    let numbers = row.trim().split('|').map(str::parse);
    numbers.collect::<Result<_, _>>().with_context(|| format!("read the counters: {row}"))
}
