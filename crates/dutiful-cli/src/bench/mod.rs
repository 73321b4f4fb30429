//! `dutiful bench`: how fast a store enqueues, drains and picks up jobs, on a queue of its own.

mod drain;
mod enqueue;
mod pickup;
mod report;
mod steady;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use dutiful::{Client, JobId, Outcome};

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
With --rate it enqueues and works at the same time instead and prints what each second saw.

Examples:
  dutiful bench
  dutiful bench --jobs 1000000 --json
  dutiful bench --store sqlite:jobs.db --scheduled 100000 --finished 100000
  dutiful bench --store sqlite:jobs.db --rate 5000 --seconds 60")]
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
    /// Dead jobs that lie in the store beside
    #[arg(long, default_value_t = 0)]
    dead: u64,
    /// Queues among which the jobs of the drain are spread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    queues: u64,
    /// What each run of the drain takes, in ms
    #[arg(long, default_value_t = 0)]
    run_ms: u64,
    /// Instead of all this: enqueue and work so many jobs a second at the same time
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// For so many seconds
    #[arg(long, default_value_t = 60, requires = "rate",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
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
    Bulk,
    Drain,
    Kill,
    Pickup,
    Steady,
}

/// The type of the jobs that do nothing.
const NOOP: &str = "bench_noop";

/// Runs the load test.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    if let (Some(role), Some(queue)) = (args.role, &args.queue) {
        let (store, queues) = (&settings.store, args.queues_of(queue));
        return match role {
            Role::Bulk => enqueue::work(store, &queues, &args).await,
            Role::Drain => drain::work(store, &queues, &args, Outcome::Done).await,
            Role::Kill => {
                drain::work(store, &queues, &args, Outcome::Discard("on purpose".into())).await
            }
            Role::Pickup => pickup::work(store, queue).await,
            Role::Steady => steady::work(store, &queues, &args).await,
        };
    }
    if !settings.store_is_default {
        return measure_or_hold(&args, &settings, &settings.store).await;
    }
    let file = format!("dutiful-bench-{}.db", std::process::id());
    let answer = measure_or_hold(&args, &settings, &format!("sqlite:{file}")).await;
    remove(&file);
    answer
}

impl Args {
    /// Returns the queues of a part: the one of this name, or several that begin with it.
    fn queues_of(&self, name: &str) -> Vec<String> {
        match self.queues {
            1 => vec![name.to_owned()],
            many => (0..many).map(|n| format!("{name}-{n}")).collect(),
        }
    }

    /// Returns the slots of each of so many queues: what there are, shared.
    fn slots_each(&self, queues: usize) -> usize {
        (self.concurrency as usize).div_ceil(queues.max(1))
    }
}

/// Returns the name of a queue that no other run has, as short as people's queues are: it stands
/// in every row.
fn own_queue() -> String {
    let random = JobId::new().to_string();
    format!("bench-{}", &random[random.len() - 6..])
}

async fn measure_or_hold(args: &Args, settings: &Settings, store: &str) -> Answer {
    match args.rate {
        Some(rate) => steady::measure(args, settings, store, rate).await,
        None => measure(args, settings, store).await,
    }
}

fn remove(file: &str) {
    for end in ["", "-wal", "-shm"] {
        // What is not there need not be removed; what cannot be removed is seen by its name.
        let _ = std::fs::remove_file(Path::new(&format!("{file}{end}")));
    }
}

async fn measure(args: &Args, settings: &Settings, store: &str) -> Answer {
    let client = Client::builder().migrate(true).connect(store).await?;
    let queue = own_queue();
    let queues = args.queues_of(&queue);
    let steps = Steps::new(settings.json);
    let mut report = Report::new(&client.facts(), args);
    if args.scheduled > 0 {
        steps.say("putting future jobs beside");
        enqueue::scheduled(&client, args.scheduled, args.payload_bytes).await?;
    }
    if args.finished > 0 {
        steps.say("putting finished jobs beside");
        let beside = format!("{queue}-finished");
        let beside = std::slice::from_ref(&beside);
        enqueue::bulk(&client, beside, args.finished, args.payload_bytes).await?;
        drain::measure(store, "drain", &beside[0], 1, args).await?;
    }
    if args.dead > 0 {
        steps.say("putting dead jobs beside");
        let beside = format!("{queue}-dead");
        let beside = std::slice::from_ref(&beside);
        enqueue::bulk(&client, beside, args.dead, args.payload_bytes).await?;
        drain::measure(store, "kill", &beside[0], 1, args).await?;
    }
    steps.say("enqueueing one by one");
    let single = format!("{queue}-single");
    report.enqueue_single_per_s = enqueue::single(&client, &single, args.payload_bytes).await?;
    steps.say("enqueueing one by one from 50 tasks");
    report.enqueue_concurrent_per_s =
        enqueue::concurrent(&client, &single, args.payload_bytes).await?;
    drain::measure(store, "drain", &single, 1, args).await?;
    steps.say("enqueueing in bulk");
    report.enqueue_bulk_per_s =
        enqueue::bulk(&client, &queues, args.jobs, args.payload_bytes).await?;
    steps.say("draining");
    let drained = drain::measure(store, "drain", &queue, args.queues, args).await?;
    report.take_drain(drained, args.jobs);
    steps.say("picking up on an idle system");
    let elsewhere = pickup::measure(&client, store, &format!("{queue}-pickup")).await?;
    let here = pickup::measure_here(&client, &format!("{queue}-here")).await?;
    report.take_pickup(&elsewhere, &here);
    steps.say("reading back");
    report.verified = verify::read_back(store, &queues, args.jobs).await?;
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
