//! Steady load: so many jobs a second are enqueued here and worked in another process at the same
//! time, and each second is told by itself: whether a store keeps up for as long as it has to.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dutiful::{Client, Event, Observer, Outcome};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncBufReadExt as _;
use tokio::time::Instant;

use super::{Args, Steps, drain, enqueue, own_queue};
use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// Jobs are enqueued in a call each so often.
const TICK: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

/// What a second saw.
#[derive(Debug, Default, Serialize)]
struct Second {
    enqueued: u64,
    completed: u64,
    /// Enqueued and not completed at its end.
    backlog: i64,
    /// How long each claim took, in µs.
    claim_us: Vec<u32>,
}

/// What it saw of the worker.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Worked {
    completed: u64,
    claim_us: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Report {
    rate: u64,
    seconds: Vec<Second>,
}

/// Runs the load and prints what each second saw.
pub(super) async fn measure(args: &Args, settings: &Settings, store: &str, rate: u64) -> Answer {
    let lost = |text: String| Failure::failed(format!("hear from the worker process: {text}"));
    let client = Client::builder().migrate(true).connect(store).await?;
    let queue = own_queue();
    let numbers = [
        ("--concurrency", args.concurrency),
        ("--queues", args.queues),
        ("--run-ms", args.run_ms),
        ("--rate", rate),
        ("--seconds", args.seconds),
    ];
    let flags: Vec<_> =
        numbers.iter().flat_map(|(flag, n)| [(*flag).to_owned(), n.to_string()]).collect();
    let mut child = super::spawn(store, "steady", &queue, &flags)?;
    let out = child.stdout.take().ok_or_else(|| lost("it has no output".into()))?;
    let mut lines = tokio::io::BufReader::new(out).lines();
    if !matches!(lines.next_line().await, Ok(Some(_))) {
        return Err(lost("it ended before it was ready".into()));
    }
    let steps = Steps::new(settings.json);
    steps.say("enqueueing and working");
    let reading = tokio::spawn(async move {
        let mut worked = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            worked.push(serde_json::from_str::<Worked>(&line).unwrap_or_default());
        }
        worked
    });
    let enqueued = enqueue_steadily(&client, args, &args.queues_of(&queue), rate).await?;
    let worked = reading.await.map_err(|error| lost(error.to_string()))?;
    child.wait().await.map_err(|error| lost(error.to_string()))?;
    client.close().await?;
    steps.done();
    let report = Report { rate, seconds: join(enqueued, worked) };
    match settings.json {
        true => output::json(&report)?,
        false => report.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn join(enqueued: Vec<u64>, worked: Vec<Worked>) -> Vec<Second> {
    let mut backlog = 0;
    let both = enqueued.into_iter().zip(worked);
    both.map(|(enqueued, Worked { completed, claim_us })| {
        backlog += enqueued as i64 - completed as i64;
        Second { enqueued, completed, backlog, claim_us }
    })
    .collect()
}

/// Enqueues what is due every tick; returns how many in each second. What a slow call held up is
/// made up for by the next ones, so that the rate is that of the user's world, not the store's.
async fn enqueue_steadily(
    client: &Client,
    args: &Args,
    queues: &[String],
    rate: u64,
) -> Result<Vec<u64>, Failure> {
    let begun = Instant::now();
    let (mut sent, mut each) = (0, vec![0; args.seconds as usize]);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let second = begun.elapsed().as_secs() as usize;
        let Some(now) = each.get_mut(second) else { return Ok(each) };
        let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
        if due > sent {
            let jobs = enqueue::jobs(queues, sent..due, args.payload_bytes, None);
            client.enqueue_many(jobs).await?;
            *now += due - sent;
            sent = due;
        }
    }
}

/// Collects what the worker did since it was asked last.
#[derive(Default)]
struct Watch(Mutex<Worked>);

impl Observer for Watch {
    fn event(&self, event: &Event<'_>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Completed { .. } => seen.completed += 1,
            Event::ClaimAnswered { took, .. } => {
                seen.claim_us.push(took.as_micros().try_into().unwrap_or(u32::MAX));
            }
            _ => {}
        }
    }
}

/// The worker process: says that it is ready, then prints a line each second.
pub(super) async fn work(store: &str, queues: &[String], args: &Args) -> Answer {
    let client = Client::connect(store).await?;
    let watch = Arc::new(Watch::default());
    let worker = drain::worker(&client, queues, args, Outcome::Done)?.observer(watch.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    // It has claimed in vain once and sleeps.
    tokio::time::sleep(SECOND).await;
    output::line("ready")?;
    let mut tick = tokio::time::interval_at(Instant::now() + SECOND, SECOND);
    for _ in 0..args.seconds {
        tick.tick().await;
        let seen = std::mem::take(&mut *watch.0.lock().unwrap_or_else(PoisonError::into_inner));
        output::json(&seen)?;
    }
    handle.stop();
    let ended = running.await;
    ended.map_err(|error| Failure::failed(format!("run the worker: {error}")))??;
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    /// Prints a line for each ten seconds.
    fn print(&self) -> Result<(), Failure> {
        const TOGETHER: usize = 10;
        let mut table =
            output::table(["seconds", "enqueued", "completed", "backlog", "claim p50", "p99"]);
        for (at, part) in self.seconds.chunks(TOGETHER).enumerate() {
            let mut claims: Vec<u32> =
                part.iter().flat_map(|one| one.claim_us.iter().copied()).collect();
            claims.sort_unstable();
            let ms = |share: f64| {
                let last = claims.len().saturating_sub(1) as f64;
                let us = claims.get((last * share) as usize).copied().unwrap_or(0);
                format!("{:.1} ms", f64::from(us) / 1000.0)
            };
            let sum = |of: fn(&Second) -> u64| part.iter().map(of).sum::<u64>().to_string();
            table.add_row([
                format!("{} to {}", at * TOGETHER, at * TOGETHER + part.len()),
                sum(|one| one.enqueued),
                sum(|one| one.completed),
                part.last().map_or(0, |one| one.backlog).to_string(),
                ms(0.5),
                ms(0.99),
            ]);
        }
        output::line(table)
    }
}
