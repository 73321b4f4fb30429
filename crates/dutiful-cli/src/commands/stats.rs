//! `dutiful stats`: how many jobs stand where, and what a person should look at.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use dutiful::{Client, Counts, Stats};

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful stats
  dutiful stats --json | jq .totals.dead
  dutiful stats --watch            looks again every 2 seconds until Ctrl-C
  dutiful stats --watch=10 --json  one line for each look")]
pub(crate) struct Args {
    /// Look again every so many seconds [default: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

/// Puts a terminal's cursor home, and clears what is below what was written.
const HOME: &str = "\u{1b}[H";
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Prints the numbers of the store.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let client = settings.existing().await?;
    match args.watch {
        Some(seconds) => watch(&client, Duration::from_secs(seconds), settings.json).await?,
        None => {
            output::piece(shown(&client.stats().await?, settings.json)?)?;
        }
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Looks again and again, until a signal says to stop or nobody reads any more.
async fn watch(client: &Client, every: Duration, json: bool) -> Result<(), Failure> {
    let screen = !json && std::io::stdout().is_terminal();
    let mut stop = std::pin::pin!(dutiful::shutdown_signal());
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            _ = tick.tick() => {}
        }
        let text = shown(&client.stats().await?, json)?;
        let text = if screen { drawn(&text) } else { text };
        if !output::piece(text)? {
            return Ok(());
        }
    }
}

/// Returns the text so that a terminal shows it in the place of the one before, without a flicker.
fn drawn(text: &str) -> String {
    format!("{HOME}{}{CLEAR_BELOW}", text.replace('\n', &format!("{CLEAR_LINE}\n")))
}

fn shown(stats: &Stats, json: bool) -> Result<String, Failure> {
    Ok(if json { output::as_json(stats)? + "\n" } else { written(stats) })
}

fn written(stats: &Stats) -> String {
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
    let mut text = format!("{table}\n");
    for warning in &stats.warnings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "warning: {}", output::plain(warning));
    }
    text
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
