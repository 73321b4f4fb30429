//! Handlers that dutiful.toml declares: from a command or URL in the file to a worker that runs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dutiful::{
    Client, Context, HandlerError, Name, Observer, Retention, Retry, TypeDefaults, Worker,
};
use dutiful_server::Served;
use dutiful_server::push::{Push, Target};
use serde_json::value::RawValue;

use crate::config::{HandlerConfig, Order, QueueConfig};
use crate::failure::Failure;
use crate::log::Log;
use crate::process::{self, Ended, Keeper, Spec};
use crate::pushing;
use crate::settings::Settings;

/// Jobs of one queue at once, when dutiful.toml says nothing.
const SLOTS_DEFAULT: usize = 10;

/// How long a snoozed job waits when its handler says nothing else.
const SNOOZE_DEFAULT: Duration = Duration::from_secs(60);
/// A line of stderr that begins so says how far the command has come.
const PROGRESS: &str = "dutiful: progress ";

/// What the flags of a command say of its worker; what is `None` stands in dutiful.toml.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) slots: Option<usize>,
    pub(crate) grace: Option<Duration>,
    pub(crate) lease: Option<Duration>,
}

/// A handler, checked and ready to run.
#[derive(Debug)]
pub(crate) struct Handler {
    defaults: TypeDefaults,
    retry: Retry,
    runs: Runs,
}

/// What runs the jobs of a handler.
#[derive(Clone, Debug)]
enum Runs {
    Command(Arc<Program>),
    Push(Target),
}

/// A command, and what its exit codes mean.
#[derive(Debug)]
struct Program {
    spec: Spec,
    discard_exit: Vec<i32>,
    snooze_exit: Vec<i32>,
    snooze_for: Duration,
}

/// Checks all handlers before anything starts.
pub(crate) fn handlers(settings: &Settings, push: &Push) -> Result<Vec<Handler>, Failure> {
    let file = settings.config_file.display();
    let refused = |name: &str, why: String| {
        Failure::usage(format!("start the worker: in {file}, [handlers.{name}]: {why}"))
    };
    let handlers = &settings.config.handlers;
    handlers
        .iter()
        .map(|(name, one)| handler(name, one, push).map_err(|why| refused(name, why)))
        .collect()
}

fn handler(name: &str, config: &HandlerConfig, push: &Push) -> Result<Handler, String> {
    let defaults = config.defaults(name).map_err(|error| error.to_string())?;
    let retry = config.retry_base.map_or(Retry::DEFAULT, Retry::exponential);
    let runs = match &config.url {
        Some(url) => Runs::Push(pushing::target(push, url, config)?),
        None => Runs::Command(Arc::new(program(config)?)),
    };
    Ok(Handler { defaults, retry, runs })
}

fn program(config: &HandlerConfig) -> Result<Program, String> {
    let (program, args) = config.command.split_first().ok_or("it names no program")?;
    let program =
        process::find(program).map_err(|why| format!("{why}; install it or mend the command"))?;
    let spec = Spec { program, args: args.to_vec(), env: process::allowed() };
    Ok(Program {
        spec: spec.with_env(&config.env),
        discard_exit: config.discard_exit.clone(),
        snooze_exit: config.snooze_exit.clone(),
        snooze_for: config.snooze_for.unwrap_or(SNOOZE_DEFAULT),
    })
}

/// Returns the queues to serve: those of dutiful.toml and of its handlers, or those of the flags.
pub(crate) fn queues(
    named: &[String],
    settings: &Settings,
) -> Result<BTreeMap<String, QueueConfig>, Failure> {
    let config = &settings.config;
    let mut queues = config.queues.clone();
    for handler in config.handlers.values() {
        queues.entry(handler.queue.clone()).or_default();
    }
    if !named.is_empty() {
        for name in named {
            queues.entry(name.clone()).or_default();
        }
        queues.retain(|name, _| named.contains(name));
    }
    for name in queues.keys() {
        Name::new("queue", name)?;
    }
    Ok(queues)
}

/// Says what a worker serves, for its probes and metrics.
pub(crate) fn served(
    settings: &Settings,
    queues: &BTreeMap<String, QueueConfig>,
    slots: Option<usize>,
) -> Served {
    let config = &settings.config;
    let slots_of = |queue: &QueueConfig| queue.slots.unwrap_or(SLOTS_DEFAULT);
    Served {
        queues: queues.iter().map(|(name, queue)| (name.clone(), slots_of(queue))).collect(),
        types: config
            .handlers
            .iter()
            .map(|(name, handler)| (handler.queue.clone(), name.clone()))
            .collect(),
        slots: slots.or(config.worker.slots),
    }
}

/// Starts the process that kills the commands of a worker that died.
pub(crate) fn keeper() -> Result<Keeper, Failure> {
    Keeper::start().map_err(|error| {
        Failure::failed(format!("start the worker: its helper process did not start ({error})"))
    })
}

/// Puts the worker together.
pub(crate) fn worker(
    client: &Client,
    wishes: &Wishes,
    settings: &Settings,
    handlers: Vec<Handler>,
    queues: &BTreeMap<String, QueueConfig>,
    keeper: &Keeper,
) -> Worker<()> {
    let log = Arc::new(Log::default());
    let mut worker = bare(client, wishes, settings, &log, "");
    for handler in handlers {
        let Handler { defaults, retry, runs } = handler;
        let (keeper, log) = (keeper.clone(), log.clone());
        worker = worker.raw(defaults, retry, move |payload, cx| {
            log.begun(&cx);
            attempt(runs.clone(), keeper.clone(), payload, cx)
        });
    }
    let mut by_weight: Vec<_> = queues.iter().collect();
    by_weight.sort_by_key(|(_, queue)| std::cmp::Reverse(queue.weight.unwrap_or(1)));
    for (name, queue) in by_weight {
        let slots = queue.slots.unwrap_or(SLOTS_DEFAULT);
        worker = worker.queue_weighted(name, slots, queue.weight.unwrap_or(1));
    }
    worker
}

/// Returns what makes the workers of handlers that are registered over HTTP: they are as the worker
/// of dutiful.toml is, but for queues and handlers.
pub(crate) fn registered(
    client: &Client,
    wishes: &Wishes,
    settings: &Settings,
    observer: Arc<dyn Observer>,
) -> impl Fn() -> Worker<()> + Send + Sync + 'static {
    let (client, wishes, settings) = (client.clone(), wishes.clone(), settings.clone());
    move || {
        let log = Arc::new(Log::default());
        let worker = bare(&client, &wishes, &settings, &log, " (registered)");
        worker.observer(observer.clone()).middleware(move |cx, next| {
            log.begun(&cx);
            next.run()
        })
    }
}

/// Returns a worker without queues and handlers.
fn bare(
    client: &Client,
    wishes: &Wishes,
    settings: &Settings,
    log: &Arc<Log>,
    suffix: &str,
) -> Worker<()> {
    let config = &settings.config.worker;
    let host = rustix::system::uname();
    let name = format!("{}:{}{suffix}", host.nodename().to_string_lossy(), std::process::id());
    let mut worker = Worker::new(client, ()).name(name).observer(log.clone());
    if config.order == Order::Strict {
        worker = worker.strict_order();
    }
    if let Some(slots) = wishes.slots.or(config.slots) {
        worker = worker.slots(slots);
    }
    if let Some(grace) = wishes.grace.or(config.grace) {
        worker = worker.grace(grace);
    }
    if let Some(lease) = wishes.lease.or(config.lease) {
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
    worker
}

/// Runs one attempt of a job and returns its result. When this is dropped (timeout, cancel,
/// shutdown, a lost lease), the command and everything it started is killed.
async fn attempt(
    runs: Runs,
    keeper: Keeper,
    payload: Vec<u8>,
    cx: Context<()>,
) -> dutiful::Result<Option<Box<RawValue>>> {
    let program = match runs {
        Runs::Command(program) => program,
        Runs::Push(target) => return target.attempt(payload, &cx).await,
    };
    let variables = process::job_variables(&cx);
    let tell = |line: &str| note(&cx, line);
    let ended = process::run(&program.spec, variables, payload, &keeper, tell).await;
    let ended = ended.map_err(|error| {
        let program = program.spec.program.display();
        HandlerError::msg(format!("the program {program} did not start: {error}"))
            .with_class("spawn")
    })?;
    verdict(&program, ended)
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
fn verdict(program: &Program, ended: Ended) -> dutiful::Result<Option<Box<RawValue>>> {
    let code = ended.status.code();
    if code == Some(0) {
        return Ok(ended.result);
    }
    let error = HandlerError::msg(message(&ended)).with_class(ended.class());
    Err(match code {
        Some(code) if program.snooze_exit.contains(&code) => {
            HandlerError::snooze(program.snooze_for, error)
        }
        Some(code) if program.discard_exit.contains(&code) => HandlerError::discard(error),
        _ => error,
    })
}

fn message(ended: &Ended) -> String {
    match ended.stderr.as_str() {
        "" => format!("the command ended with {} and wrote nothing to stderr", ended.class()),
        text => text.to_owned(),
    }
}
