//! `dutiful workers list`: who works on this store, on what, and whether it is heard of.

use std::process::ExitCode;

use comfy_table::Cell;
use dutiful::{Client, WorkerInfo, WorkerState};
use serde::Serialize;

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// Most characters of a list of names in the table.
const NAMES_MAX: usize = 40;

/// The subcommands of `dutiful workers`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show each worker with its queues, types and running jobs
    #[command(after_help = "\
A worker is silent when it was not heard of for a minute, nor for as long as the leases it holds
last. Its jobs are rescued when their leases end and another worker runs.

Examples:
  dutiful workers list
  dutiful workers list --all --json")]
    List {
        /// Those that stopped, too
        #[arg(long)]
        all: bool,
    },
}

#[derive(Serialize)]
struct Listing {
    workers: Vec<WorkerInfo>,
}

/// Runs one of them.
pub(crate) async fn run(command: Command, settings: Settings) -> Answer {
    let client = settings.existing().await?;
    let Command::List { all } = command;
    list(&client, all, settings.json).await?;
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, all: bool, json: bool) -> Result<(), Failure> {
    let mut workers = client.workers().await?;
    workers.retain(|one| all || one.state != WorkerState::Stopped);
    if json {
        return output::json(&Listing { workers });
    }
    if workers.is_empty() {
        return output::line(if all { "no worker is on record" } else { "no worker runs" });
    }
    let heads = ["worker", "state", "running", "queues", "types", "started", "last heard of"];
    let mut table = output::table(heads);
    for one in &workers {
        let queues = one.queues.iter().map(|(queue, slots)| format!("{queue}:{slots}"));
        let types = one.types.iter().map(ToString::to_string);
        table.add_row([
            Cell::new(output::plain(&one.name)),
            Cell::new(state(one)),
            output::count(one.running),
            Cell::new(names(queues)),
            Cell::new(names(types)),
            Cell::new(second(&one.started_at.to_string())),
            Cell::new(second(&one.beat_at.to_string())),
        ]);
    }
    output::line(table)
}

fn state(worker: &WorkerInfo) -> &'static str {
    match worker.state {
        WorkerState::Alive if worker.quiet => "quiet",
        state => state.as_str(),
    }
}

fn names(all: impl Iterator<Item = String>) -> String {
    output::short(&all.collect::<Vec<_>>().join(" "), NAMES_MAX)
}

/// Returns a time without the fraction of its second.
fn second(time: &str) -> String {
    time.split('.').next().unwrap_or(time).replace('T', " ")
}
