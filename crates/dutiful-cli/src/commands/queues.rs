//! `dutiful queues list|pause|resume`: the lanes and whether jobs may be claimed from them.

use std::process::ExitCode;

use comfy_table::Cell;
use dutiful::{Client, QueueInfo};
use serde::Serialize;

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The subcommands of `dutiful queues`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show each queue and how many jobs stand in it
    #[command(after_help = "\
Examples:
  dutiful queues list
  dutiful queues list --json")]
    List,
    /// Let no job of a queue start; running ones go on, new ones are kept
    #[command(after_help = "\
Example:
  dutiful queues pause mail")]
    Pause {
        /// The queue
        queue: String,
    },
    /// Let jobs of a queue start again
    #[command(after_help = "\
Example:
  dutiful queues resume mail")]
    Resume {
        /// The queue
        queue: String,
    },
}

#[derive(Serialize)]
struct Listing<'a> {
    queues: &'a [QueueInfo],
}

#[derive(Serialize)]
struct Paused<'a> {
    queue: &'a str,
    paused: bool,
    changed: bool,
}

/// Runs one of them.
pub(crate) async fn run(command: Command, settings: Settings) -> Answer {
    let client = settings.client().await?;
    match command {
        Command::List => list(&client, &settings).await?,
        Command::Pause { queue } => {
            let changed = client.pause(&queue).await?;
            tell(&Paused { queue: &queue, paused: true, changed }, &settings)?;
        }
        Command::Resume { queue } => {
            let changed = client.resume(&queue).await?;
            tell(&Paused { queue: &queue, paused: false, changed }, &settings)?;
        }
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, settings: &Settings) -> Result<(), Failure> {
    let queues = client.queues().await?;
    if settings.json {
        return output::json(&Listing { queues: &queues });
    }
    let mut table =
        output::table(["queue", "pending", "scheduled", "active", "failed", "dead", "paused"]);
    for queue in &queues {
        let n = &queue.counts;
        let mut cells = vec![Cell::new(&queue.queue)];
        cells.extend([n.pending, n.scheduled, n.active, n.failed, n.dead].map(output::count));
        cells.push(Cell::new(if queue.paused { "paused" } else { "" }));
        table.add_row(cells);
    }
    output::line(table)
}

fn tell(paused: &Paused<'_>, settings: &Settings) -> Result<(), Failure> {
    if settings.json {
        return output::json(paused);
    }
    let word = if paused.paused { "paused" } else { "running" };
    let already = if paused.changed { "" } else { " already" };
    output::line(format!("queue {} is {word}{already}", paused.queue))
}
