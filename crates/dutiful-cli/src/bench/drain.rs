//! The drain: worker processes with a handler that does nothing, until their queue is empty.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use dutiful::{
    Client, Clock, Context, Event, Name, Observer, Outcome, Retry, TypeDefaults, Worker,
};
use serde::{Deserialize, Serialize};

use super::{Args, NOOP};
use crate::failure::{Answer, Failure};
use crate::output;

/// What one worker process measured.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Drained {
    completed: u64,
    /// µs since 1970 of its first claim and its last durable completion.
    first_us: i64,
    last_us: i64,
    /// CPU time of the process in seconds, user and system.
    pub(super) cpu_s: f64,
    /// The most memory it had, in MiB.
    pub(super) rss_mib: f64,
}

impl Drained {
    /// Returns jobs per second from the first claim to the last completion.
    pub(super) fn per_second(&self) -> f64 {
        let seconds = (self.last_us - self.first_us) as f64 / 1e6;
        if seconds > 0.0 { (self.completed as f64 / seconds).round() } else { 0.0 }
    }

    fn join(self, other: Self) -> Self {
        Self {
            completed: self.completed + other.completed,
            first_us: self.first_us.min(other.first_us),
            last_us: self.last_us.max(other.last_us),
            cpu_s: self.cpu_s + other.cpu_s,
            rss_mib: self.rss_mib.max(other.rss_mib),
        }
    }
}

/// Starts the worker processes and joins what they measured.
pub(super) async fn measure(
    store: &str,
    role: &str,
    queue: &str,
    queues: u64,
    args: &Args,
) -> Result<Drained, Failure> {
    let numbers =
        [("--concurrency", args.concurrency), ("--queues", queues), ("--run-ms", args.run_ms)];
    let flags: Vec<_> =
        numbers.iter().flat_map(|(flag, n)| [(*flag).to_owned(), n.to_string()]).collect();
    let children: Result<Vec<_>, _> =
        (0..args.workers).map(|_| super::spawn(store, role, queue, &flags)).collect();
    let mut all: Option<Drained> = None;
    for child in children? {
        let one: Drained = super::answer(child).await?;
        // A worker that came too late for any job says nothing about time.
        if one.completed > 0 {
            all = Some(all.map_or(one, |all| all.join(one)));
        }
    }
    Ok(all.unwrap_or_default())
}

/// Notes the first claim and the last durable completion.
#[derive(Default)]
struct Watch {
    clock: Clock,
    first: AtomicI64,
    last: AtomicI64,
    completed: AtomicU64,
}

impl Watch {
    /// The ends of a flush are told in one go, so looking at the clock for some of them is enough;
    /// for each of 100,000 a second it would be measured too.
    fn complete(&self) {
        let before = self.completed.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(16) {
            self.last.store(self.clock.now().us(), Ordering::Relaxed);
        }
    }
}

impl Observer for Watch {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Claimed { .. } if self.first.load(Ordering::Relaxed) == 0 => {
                self.first.store(self.clock.now().us(), Ordering::Relaxed);
            }
            Event::Completed { .. } | Event::Dead { .. } => self.complete(),
            _ => {}
        }
    }
}

/// Returns a worker whose handler takes so long, or no time at all, and ends as it is told.
pub(super) fn worker(
    client: &Client,
    queues: &[String],
    args: &Args,
    outcome: Outcome,
) -> Result<Worker<()>, Failure> {
    let defaults = TypeDefaults::unknown(Name::new("type", NOOP)?);
    let run = Duration::from_millis(args.run_ms);
    let handler = move |_: Vec<u8>, _: Context<()>| {
        let outcome = outcome.clone();
        async move {
            if !run.is_zero() {
                tokio::time::sleep(run).await;
            }
            Ok(outcome)
        }
    };
    let worker = Worker::new(client, ()).raw(defaults, Retry::DEFAULT, handler);
    let slots = args.slots_each(queues.len());
    Ok(queues.iter().fold(worker, |worker, queue| worker.queue(queue.as_str(), slots)))
}

/// The worker process: drains its queues and prints what it measured.
pub(super) async fn work(store: &str, queues: &[String], args: &Args, outcome: Outcome) -> Answer {
    let client = Client::connect(store).await?;
    let watch = Arc::new(Watch::default());
    let worker = worker(&client, queues, args, outcome)?;
    worker.observer(watch.clone()).until_empty(true).run().await?;
    client.close().await?;
    let drained = Drained {
        completed: watch.completed.load(Ordering::Relaxed),
        first_us: watch.first.load(Ordering::Relaxed),
        last_us: watch.last.load(Ordering::Relaxed),
        cpu_s: cpu_seconds(),
        rss_mib: peak_mib(),
    };
    output::json(&drained)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns user and system time of this process, or 0 where /proc is not there.
fn cpu_seconds() -> f64 {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields count from behind the name, which may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// Returns the most memory this process had, in MiB, or 0 where /proc is not there.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    (kib.unwrap_or(0.0) / 1024.0 * 10.0).round() / 10.0
}
