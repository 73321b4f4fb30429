//! `dutiful stats`: how many jobs stand where, and what a person should look at.

use std::process::ExitCode;

use comfy_table::Cell;
use dutiful::{Counts, Stats};

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful stats
  dutiful stats --json | jq .totals.dead")]
pub(crate) struct Args {}

/// Prints the numbers of the store.
pub(crate) async fn run(_args: Args, settings: Settings) -> Answer {
    let client = settings.client().await?;
    let stats = client.stats().await?;
    if settings.json {
        output::json(&stats)?;
    } else {
        print(&stats)?;
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

fn print(stats: &Stats) -> Result<(), Failure> {
    let mut table = output::table([
        "queue",
        "pending",
        "scheduled",
        "active",
        "failed",
        "completed",
        "dead",
        "cancelled",
        "stalled",
        "oldest",
    ]);
    for queue in &stats.queues {
        let paused = if queue.paused { " (paused)" } else { "" };
        let oldest = format!("{:.1} s", queue.oldest_pending_s);
        let oldest = if queue.counts.pending == 0 { String::new() } else { oldest };
        table.add_row(row(format!("{}{paused}", queue.queue), &queue.counts, oldest));
    }
    table.add_row(row("all".to_owned(), &stats.totals, String::new()));
    output::line(table)?;
    for warning in &stats.warnings {
        output::line(format!("warning: {}", output::plain(warning)))?;
    }
    Ok(())
}

fn row(name: String, n: &Counts, oldest: String) -> Vec<Cell> {
    let counts = [
        n.pending,
        n.scheduled,
        n.active,
        n.failed,
        n.completed,
        n.dead,
        n.cancelled,
        n.stalled_total,
    ];
    let mut cells = vec![Cell::new(name)];
    cells.extend(counts.map(output::count));
    cells.push(Cell::new(oldest));
    cells
}
