//! `dutiful bench`: how fast a store enqueues, drains and picks up jobs, on a queue of its own.

mod drain;
mod enqueue;
mod pickup;
mod report;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use dutiful::{Client, JobId};

use self::report::Report;
use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful bench`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Without --store it measures a fresh SQLite file in the current directory and removes it afterwards.
Enqueue: one by one from 1 and from 50 tasks, then in bulk. Drain: a worker process with a handler
that does nothing, from the first claim to the last durable completion. Pickup: 300 jobs, one each
20 ms, from the call of enqueue to the first line of the handler, in another process and in the
one that enqueues. What is verified is read back from the store by a fresh connection.

Examples:
  dutiful bench
  dutiful bench --jobs 1000000 --json
  dutiful bench --store sqlite:jobs.db --scheduled 100000 --finished 100000")]
pub(crate) struct Args {
    /// Jobs to enqueue in bulk and to drain
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// Worker processes that drain
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: u64,
    /// Slots of each worker
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    concurrency: u64,
    /// Bytes of each payload
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(32..=262_144))]
    payload_bytes: u64,
    /// Jobs scheduled for the future that lie in the store beside
    #[arg(long, default_value_t = 0)]
    scheduled: u64,
    /// Finished jobs that lie in the store beside
    #[arg(long, default_value_t = 0)]
    finished: u64,
    /// Run only this part
    #[arg(long, hide = true, value_enum)]
    role: Option<Role>,
    /// The queue of this run
    #[arg(long, hide = true)]
    queue: Option<String>,
}

/// A part of the bench that runs in a process of its own.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Role {
    Drain,
    Pickup,
}

/// The type of the jobs that do nothing.
const NOOP: &str = "bench_noop";

/// Runs the load test.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    if let (Some(role), Some(queue)) = (args.role, &args.queue) {
        return match role {
            Role::Drain => drain::work(&settings.store, queue, args.concurrency as usize).await,
            Role::Pickup => pickup::work(&settings.store, queue).await,
        };
    }
    if !settings.store_is_default {
        return measure(&args, &settings, &settings.store).await;
    }
    let file = format!("dutiful-bench-{}.db", std::process::id());
    let answer = measure(&args, &settings, &format!("sqlite:{file}")).await;
    remove(&file);
    answer
}

fn remove(file: &str) {
    for end in ["", "-wal", "-shm"] {
        // What is not there need not be removed; what cannot be removed is seen by its name.
        let _ = std::fs::remove_file(Path::new(&format!("{file}{end}")));
    }
}

async fn measure(args: &Args, settings: &Settings, store: &str) -> Answer {
    let client = Client::builder().migrate(true).connect(store).await?;
    // A name of its own, and as short as people's queues are: it stands in every row.
    let random = JobId::new().to_string();
    let queue = format!("bench-{}", &random[random.len() - 6..]);
    let steps = Steps::new(settings.json);
    let mut report = Report::new(&client.facts(), args);
    if args.scheduled > 0 {
        steps.say("putting future jobs beside");
        enqueue::scheduled(&client, args.scheduled, args.payload_bytes).await?;
    }
    if args.finished > 0 {
        steps.say("putting finished jobs beside");
        let beside = format!("{queue}-finished");
        enqueue::bulk(&client, &beside, args.finished, args.payload_bytes).await?;
        drain::measure(store, &beside, args).await?;
    }
    steps.say("enqueueing one by one");
    let single = format!("{queue}-single");
    report.enqueue_single_per_s = enqueue::single(&client, &single, args.payload_bytes).await?;
    steps.say("enqueueing one by one from 50 tasks");
    report.enqueue_concurrent_per_s =
        enqueue::concurrent(&client, &single, args.payload_bytes).await?;
    drain::measure(store, &single, args).await?;
    steps.say("enqueueing in bulk");
    report.enqueue_bulk_per_s =
        enqueue::bulk(&client, &queue, args.jobs, args.payload_bytes).await?;
    steps.say("draining");
    report.take_drain(drain::measure(store, &queue, args).await?, args.jobs);
    steps.say("picking up on an idle system");
    let elsewhere = pickup::measure(&client, store, &format!("{queue}-pickup")).await?;
    let here = pickup::measure_here(&client, &format!("{queue}-here")).await?;
    report.take_pickup(&elsewhere, &here);
    steps.say("reading back");
    report.verified = verify::read_back(store, &queue, args.jobs).await?;
    client.close().await?;
    steps.done();
    if settings.json {
        output::json(&report)?
    } else {
        report.print()?
    }
    let sound = report.verified.lost == 0 && report.verified.duplicated == 0;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts a part of the bench in a process of its own.
fn spawn(
    store: &str,
    role: &str,
    queue: &str,
    args: &[String],
) -> Result<tokio::process::Child, Failure> {
    let fail = |error: std::io::Error| Failure::failed(format!("start a bench process: {error}"));
    let program = std::env::current_exe().map_err(fail)?;
    tokio::process::Command::new(program)
        .args(["bench", "--store", store, "--role", role, "--queue", queue])
        .args(args)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(fail)
}

/// Returns the one JSON line of a part that ended well.
async fn answer<T: serde::de::DeserializeOwned>(
    child: tokio::process::Child,
) -> Result<T, Failure> {
    let fail = |text: String| Failure::failed(format!("hear from a bench process: {text}"));
    let out = child.wait_with_output().await.map_err(|error| fail(error.to_string()))?;
    if !out.status.success() {
        return Err(fail(format!("it ended with {}", out.status)));
    }
    serde_json::from_slice(&out.stdout).map_err(|error| fail(error.to_string()))
}

/// What is going on, for people who wait.
struct Steps(indicatif::ProgressBar);

impl Steps {
    fn new(json: bool) -> Self {
        // indicatif hides itself when stderr is no terminal.
        let bar = match json {
            true => indicatif::ProgressBar::hidden(),
            false => indicatif::ProgressBar::new_spinner(),
        };
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    fn say(&self, what: &'static str) {
        self.0.set_message(what);
    }

    fn done(&self) {
        self.0.finish_and_clear();
    }
}
