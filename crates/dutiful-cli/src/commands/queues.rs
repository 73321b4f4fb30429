//! `dutiful queues list|pause|resume|clear`: the lanes, and what becomes of what waits in them.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use comfy_table::Cell;
use dutiful::{Client, QueueInfo};
use serde::Serialize;

use crate::deed;
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
    /// Delete every job that waits in a queue, for good; running ones go on
    #[command(after_help = "\
Jobs that are pending, scheduled or failed go with all traces. Active, completed, dead and
cancelled ones stay. Pause the queue first if workers should not take from it meanwhile.

Examples:
  dutiful queues clear mail          says how many, and asks
  dutiful queues clear mail --yes    for scripts")]
    Clear {
        /// The queue
        queue: String,
        /// Delete them without asking
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct Cleared<'a> {
    queue: &'a str,
    cleared: usize,
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
    let client = settings.existing().await?;
    match command {
        Command::List => list(&client, &settings).await?,
        Command::Pause { queue } => {
            let pausing = client.pause(&queue);
            let changed = deed::done(&client, "queues.pause", &queue, pausing).await?;
            tell(&Paused { queue: &queue, paused: true, changed }, &settings)?;
        }
        Command::Resume { queue } => {
            let resuming = client.resume(&queue);
            let changed = deed::done(&client, "queues.resume", &queue, resuming).await?;
            tell(&Paused { queue: &queue, paused: false, changed }, &settings)?;
        }
        Command::Clear { queue, yes } => clear(&client, &queue, yes, &settings).await?,
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn clear(
    client: &Client,
    queue: &str,
    yes: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    if !yes {
        let queues = client.queues().await?;
        let counts = queues.iter().find(|one| one.queue.as_str() == queue).map(|one| one.counts);
        let n = counts.map_or(0, |n| n.pending + n.scheduled + n.failed);
        if n > 0 {
            confirm(queue, n)?;
        }
    }
    let cleared = deed::done(client, "queues.clear", queue, client.clear(queue)).await?;
    if settings.json {
        return output::json(&Cleared { queue, cleared });
    }
    output::line(format!("deleted {cleared} jobs that waited in queue {queue}"))
}

/// Asks a person; where there is none, says which flag answers for one.
fn confirm(queue: &str, n: u64) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !(stdin.is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::usage(format!(
            "clear queue {queue}: nobody can be asked here whether {n} jobs shall be deleted for \
             good; add --yes if so"
        )));
    }
    output::note(format!(
        "{n} jobs wait in queue {queue}. Delete them for good? Type yes to do so:"
    ));
    let mut answer = String::new();
    // An end of input is no yes.
    let read = stdin.read_line(&mut answer).unwrap_or(0);
    if read > 0 && answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::failed(format!("clear queue {queue}: it was not confirmed, nothing is deleted")))
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
