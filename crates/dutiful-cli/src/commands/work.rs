//! `dutiful work`: runs the handlers that dutiful.toml declares, as commands.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dutiful::{
    Client, Context, HandlerError, Name, Report, Retention, Retry, TypeDefaults, Worker,
};
use dutiful_server::Served;
use serde_json::value::RawValue;

use crate::config::{HandlerConfig, Order, QueueConfig};
use crate::failure::{Answer, Failure};
use crate::log::Log;
use crate::probes::{Answering, Probes};
use crate::process::{self, Ended, Keeper, Spec};
use crate::settings::Settings;
use crate::{input, output};

/// Jobs of one queue at once, when dutiful.toml says nothing.
const SLOTS_DEFAULT: usize = 10;

/// A line of stderr that begins so says how far the command has come.
const PROGRESS: &str = "dutiful: progress ";

/// The arguments of `dutiful work`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful work
  dutiful work --queue mail --slots 4
  dutiful work --until-empty --json
  dutiful work --listen 127.0.0.1:9394

dutiful.toml declares what runs:
  [handlers.send_email]       # the type
  queue = \"mail\"
  command = [\"python3\", \"send_email.py\"]
  timeout = \"30s\"             # also: max_attempts, priority, delivery, retry_base, discard_exit,
                              # snooze_exit, snooze_for, env = { KEY = \"value\" }
  [queues.mail]               # also: weight
  slots = 20
  [worker]                    # also: slots, lease, poll, crashes_max, order = \"strict\", listen,
  grace = \"25s\"             # keep_completed (7d), keep_dead (90d)

`dutiful enqueue` gives a job what stands here for its type; jobs that are stored keep what they have.

The payload comes on standard input; the environment has PATH, HOME, LANG, LC_ALL, TZ, TMPDIR, USER,
what `env` adds, and DUTIFUL_JOB_ID, _JOB_TYPE, _QUEUE, _ATTEMPT, _MAX_ATTEMPTS, _IDEMPOTENCY_KEY,
_CORRELATION_ID and TRACEPARENT. Exit code 0 is success and the last line of stdout, if JSON, the
result; codes in discard_exit give the job up; codes in snooze_exit run it again after snooze_for
(1m); any other fails the attempt with the end of stderr as the error. Lines of stderr are kept in
the job's log; \"dutiful: progress 40 resizing\" is shown as its progress. At the timeout the command
and everything it started is killed. SIGTERM or Ctrl-C stops gracefully, a second one at once.
SIGTSTP (Ctrl-Z) makes it quiet: it claims nothing more and ends what runs; SIGCONT lets it go on.

With --listen the worker answers GET /healthz (503 when it is stuck), /readyz (503 when the store does
not answer, and from the first signal on) and /metrics (OpenMetrics, for Prometheus). Nobody is asked
for credentials, so only loopback addresses are listened on and asked for.")]
pub(crate) struct Args {
    /// End when no job of its types is left in its queues
    #[arg(long)]
    until_empty: bool,
    /// Serve only this queue; may be given again [default: all of dutiful.toml]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// Most jobs at once in this process
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// How long running jobs may go on after a stop was asked (25s)
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    grace: Option<Duration>,
    /// How long a lease lasts without renewal (30s)
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    lease: Option<Duration>,
    /// Answer /healthz, /readyz and /metrics on this loopback address, such as 127.0.0.1:9394
    #[arg(long, env = "DUTIFUL_LISTEN", value_name = "ADDRESS", hide_env_values = true)]
    listen: Option<String>,
    /// Refuse a Postgres schema that is missing or older, instead of migrating it
    #[arg(long)]
    no_migrate: bool,
}

/// Works until a signal comes, or until there is nothing left.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let handlers = handlers(&settings)?;
    let queues = queues(&args, &settings)?;
    let probes = probes(&args, &settings, &queues).await?;
    let observer = probes.as_ref().map(Probes::observer);
    let client = settings.worker_client(!args.no_migrate, observer.clone()).await?;
    let keeper = Keeper::start().map_err(|error| {
        Failure::failed(format!("start the worker: its helper process did not start ({error})"))
    })?;
    let mut worker = worker(&client, &args, &settings, handlers, &queues, &keeper);
    if let Some(observer) = observer {
        worker = worker.observer(observer);
    }
    let quiet = tokio::spawn(dutiful::quiet_signals(worker.handle()));
    let report = match probes.map(|probes| probes.answer(&client)) {
        Some(answering) => run_answering(worker, answering, &client, &queues, settings.json).await,
        None => worker.run_until(until_signal(&client, &queues, settings.json)).await,
    };
    quiet.abort();
    keeper.stop();
    let report = report?;
    client.close().await?;
    if settings.json {
        output::json(&report)?;
    } else {
        output::line(format!(
            "{} completed, {} failed attempts, {} dead, {} released",
            report.completed, report.failed, report.dead, report.released
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Works with probes beside, which go on through the graceful stop and end with the worker.
async fn run_answering(
    worker: Worker<()>,
    answering: Answering,
    client: &Client,
    queues: &BTreeMap<String, QueueConfig>,
    json: bool,
) -> Result<Report, dutiful::Error> {
    answering.monitor.watch(worker.handle());
    let told = async {
        let address = answering.address;
        output::note(format!("/healthz, /readyz and /metrics are on http://{address}"));
        until_signal(client, queues, json).await;
    };
    let report = worker.run_until(answering.monitor.working_until(told)).await;
    answering.end().await;
    report
}

/// Says what is served (nobody asks before the worker's settings were found good), then waits.
async fn until_signal(client: &Client, queues: &BTreeMap<String, QueueConfig>, json: bool) {
    if !json {
        let names: Vec<_> = queues.keys().map(String::as_str).collect();
        let place = output::plain(&client.facts().place);
        output::note(format!("working on {} of {place}; Ctrl-C stops", names.join(", ")));
    }
    dutiful::shutdown_signal().await;
    if !json {
        output::note("stopping: running jobs may end within the grace; a second signal kills them");
    }
}

/// A handler, checked and ready to run.
#[derive(Debug)]
struct Handler {
    defaults: TypeDefaults,
    retry: Retry,
    spec: Spec,
    discard_exit: Vec<i32>,
    snooze_exit: Vec<i32>,
    snooze_for: Duration,
}

/// Checks all handlers before anything starts.
fn handlers(settings: &Settings) -> Result<Vec<Handler>, Failure> {
    let file = settings.config_file.display();
    if settings.config.handlers.is_empty() {
        return Err(Failure::usage(format!(
            "start the worker: {file} declares no handler; add [handlers.TYPE] with command = [\"program\"]"
        )));
    }
    let refused = |name: &str, why: String| {
        Failure::usage(format!("start the worker: in {file}, [handlers.{name}]: {why}"))
    };
    let handlers = &settings.config.handlers;
    handlers
        .iter()
        .map(|(name, one)| handler(name, one).map_err(|why| refused(name, why)))
        .collect()
}

fn handler(name: &str, config: &HandlerConfig) -> Result<Handler, String> {
    let defaults = config.defaults(name).map_err(|error| error.to_string())?;
    let (program, args) = config.command.split_first().ok_or("it names no program")?;
    let program =
        process::find(program).map_err(|why| format!("{why}; install it or mend the command"))?;
    let spec = Spec { program, args: args.to_vec(), env: process::allowed() };
    Ok(Handler {
        defaults,
        retry: config.retry_base.map_or(Retry::DEFAULT, Retry::exponential),
        spec: spec.with_env(&config.env),
        discard_exit: config.discard_exit.clone(),
        snooze_exit: config.snooze_exit.clone(),
        snooze_for: config.snooze_for,
    })
}

/// Returns the queues to serve: those of dutiful.toml and of its handlers, or those of the flags.
fn queues(args: &Args, settings: &Settings) -> Result<BTreeMap<String, QueueConfig>, Failure> {
    let config = &settings.config;
    let mut queues = config.queues.clone();
    for handler in config.handlers.values() {
        queues.entry(handler.queue.clone()).or_default();
    }
    if !args.queues.is_empty() {
        for name in &args.queues {
            queues.entry(name.clone()).or_default();
        }
        queues.retain(|name, _| args.queues.contains(name));
    }
    for name in queues.keys() {
        Name::new("queue", name)?;
    }
    Ok(queues)
}

/// Takes the address for the probes, if one was asked for.
async fn probes(
    args: &Args,
    settings: &Settings,
    queues: &BTreeMap<String, QueueConfig>,
) -> Result<Option<Probes>, Failure> {
    let config = &settings.config;
    let asked = args.listen.as_ref().filter(|address| !address.is_empty());
    let Some(address) = asked.or(config.worker.listen.as_ref()) else { return Ok(None) };
    let slots = |queue: &QueueConfig| queue.slots.unwrap_or(SLOTS_DEFAULT);
    let served = Served {
        queues: queues.iter().map(|(name, queue)| (name.clone(), slots(queue))).collect(),
        types: config
            .handlers
            .iter()
            .map(|(name, handler)| (handler.queue.clone(), name.clone()))
            .collect(),
        slots: args.slots.or(config.worker.slots),
    };
    Probes::on(address, served, config.worker.poll).await.map(Some)
}

fn worker(
    client: &Client,
    args: &Args,
    settings: &Settings,
    handlers: Vec<Handler>,
    queues: &BTreeMap<String, QueueConfig>,
    keeper: &Keeper,
) -> Worker<()> {
    let config = &settings.config.worker;
    let host = rustix::system::uname();
    let name = format!("{}:{}", host.nodename().to_string_lossy(), std::process::id());
    let mut worker = Worker::new(client, ()).name(name).observer(Arc::new(Log));
    for handler in handlers {
        let (defaults, retry) = (handler.defaults.clone(), handler.retry);
        let (handler, keeper) = (Arc::new(handler), keeper.clone());
        worker = worker.raw(defaults, retry, move |payload, cx| {
            attempt(handler.clone(), keeper.clone(), payload, cx)
        });
    }
    let mut by_weight: Vec<_> = queues.iter().collect();
    by_weight.sort_by_key(|(_, queue)| std::cmp::Reverse(queue.weight.unwrap_or(1)));
    for (name, queue) in by_weight {
        let slots = queue.slots.unwrap_or(SLOTS_DEFAULT);
        worker = worker.queue_weighted(name, slots, queue.weight.unwrap_or(1));
    }
    if config.order == Order::Strict {
        worker = worker.strict_order();
    }
    if let Some(slots) = args.slots.or(config.slots) {
        worker = worker.slots(slots);
    }
    if let Some(grace) = args.grace.or(config.grace) {
        worker = worker.grace(grace);
    }
    if let Some(lease) = args.lease.or(config.lease) {
        worker = worker.lease(lease);
    }
    if let Some(poll) = config.poll {
        worker = worker.poll(poll);
    }
    let kept = Retention::default();
    worker = worker.retention(Retention {
        completed: config.keep_completed.unwrap_or(kept.completed),
        dead: config.keep_dead.unwrap_or(kept.dead),
    });
    if let Some(crashes_max) = config.crashes_max {
        worker = worker.crashes_max(crashes_max);
    }
    worker.until_empty(args.until_empty)
}

/// Runs one attempt of a job and returns its result. When this is dropped (timeout, cancel,
/// shutdown, a lost lease), the command and everything it started is killed.
async fn attempt(
    handler: Arc<Handler>,
    keeper: Keeper,
    payload: Vec<u8>,
    cx: Context<()>,
) -> dutiful::Result<Option<Box<RawValue>>> {
    let variables = process::job_variables(&cx);
    let tell = |line: &str| note(&cx, line);
    let ended = process::run(&handler.spec, variables, payload, &keeper, tell).await;
    let ended = ended.map_err(|error| {
        let program = handler.spec.program.display();
        HandlerError::msg(format!("the program {program} did not start: {error}"))
            .with_class("spawn")
    })?;
    verdict(&handler, ended)
}

/// Keeps a line of a command's stderr in the job's log, or hears from it how far it has come.
fn note(cx: &Context<()>, line: &str) {
    let said = line.strip_prefix(PROGRESS).map(str::trim_start);
    let percent = said.map(|said| said.split_once(' ').unwrap_or((said, "")));
    match percent.and_then(|(percent, text)| Some((percent.parse().ok()?, text))) {
        Some((percent @ 0..=100, text)) => cx.progress(percent, text),
        _ => cx.log(line),
    }
}

/// Turns an exit code into what becomes of the job.
fn verdict(handler: &Handler, ended: Ended) -> dutiful::Result<Option<Box<RawValue>>> {
    let code = ended.status.code();
    if code == Some(0) {
        return Ok(ended.result);
    }
    let error = HandlerError::msg(message(&ended)).with_class(ended.class());
    Err(match code {
        Some(code) if handler.snooze_exit.contains(&code) => {
            HandlerError::snooze(handler.snooze_for, error)
        }
        Some(code) if handler.discard_exit.contains(&code) => HandlerError::discard(error),
        _ => error,
    })
}

fn message(ended: &Ended) -> String {
    match ended.stderr.as_str() {
        "" => format!("the command ended with {} and wrote nothing to stderr", ended.class()),
        text => text.to_owned(),
    }
}
