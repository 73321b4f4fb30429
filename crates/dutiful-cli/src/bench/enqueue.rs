//! The producers of the bench: one by one, from many tasks, in bulk.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use dutiful::{Client, NewJob, Settings};

use super::{Args, NOOP};
use crate::failure::{Answer, Failure};
use crate::output;

/// Jobs enqueued one after the other.
const SINGLES: u64 = 1000;
/// Tasks that enqueue one by one at the same time.
const TASKS: u64 = 50;
/// Jobs of each of them.
const EACH: u64 = 400;
/// Jobs handed to the client in one call, so that memory stays small.
const CALL: u64 = 100_000;

/// Returns a payload of about this size.
fn payload(n: u64, bytes: u64) -> Vec<u8> {
    let start = format!("{{\"n\":{n},\"pad\":\"");
    let pad = (bytes as usize).saturating_sub(start.len() + 2);
    format!("{start}{}\"}}", "x".repeat(pad)).into_bytes()
}

/// Returns the jobs with these numbers, spread over the queues.
pub(super) fn jobs(
    queues: &[String],
    numbers: std::ops::Range<u64>,
    bytes: u64,
    delay: Option<Duration>,
) -> Vec<NewJob> {
    let settings = |n: u64| {
        let queue = queues.get((n % queues.len().max(1) as u64) as usize).cloned();
        Settings { queue, delay, ..Settings::default() }
    };
    let job =
        |n| NewJob { job_type: NOOP.into(), payload: payload(n, bytes), settings: settings(n) };
    numbers.map(job).collect()
}

fn per_second(jobs: u64, took: Duration) -> f64 {
    (jobs as f64 / took.as_secs_f64()).round()
}

/// Enqueues one by one; each call waits for its own durable commit.
pub(super) async fn single(client: &Client, queue: &str, bytes: u64) -> Result<f64, Failure> {
    let start = Instant::now();
    for n in 0..SINGLES {
        client.enqueue_raw(NOOP, payload(n, bytes)).queue(queue).await?;
    }
    Ok(per_second(SINGLES, start.elapsed()))
}

/// Enqueues one by one from many tasks, whose commits the store may group.
pub(super) async fn concurrent(client: &Client, queue: &str, bytes: u64) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (client, queue) = (client.clone(), queue.to_owned());
        tasks.spawn(async move {
            for n in 0..EACH {
                let payload = payload(task * EACH + n, bytes);
                client.enqueue_raw(NOOP, payload).queue(&queue).await?;
            }
            Ok::<(), dutiful::Error>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Failure::failed(format!("enqueue from a task: {error}")))??;
    }
    Ok(per_second(TASKS * EACH, start.elapsed()))
}

/// Enqueues in bulk; making the payloads is not counted.
pub(super) async fn bulk(
    client: &Client,
    queues: &[String],
    total: u64,
    bytes: u64,
) -> Result<f64, Failure> {
    let mut took = Duration::ZERO;
    for from in (0..total).step_by(CALL as usize) {
        let jobs = jobs(queues, from..total.min(from + CALL), bytes, None);
        let start = Instant::now();
        client.enqueue_many(jobs).await?;
        took += start.elapsed();
    }
    Ok(per_second(total, took))
}

/// The process that only enqueues in bulk.
pub(super) async fn work(store: &str, queues: &[String], args: &Args) -> Answer {
    let client = Client::builder().migrate(true).connect(store).await?;
    let per_second = bulk(&client, queues, args.jobs, args.payload_bytes).await?;
    client.close().await?;
    output::json(&per_second)?;
    Ok(ExitCode::SUCCESS)
}

/// Puts jobs for the far future beside.
pub(super) async fn scheduled(client: &Client, total: u64, bytes: u64) -> Result<(), Failure> {
    const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let queues = ["bench-scheduled".to_owned()];
    for from in (0..total).step_by(CALL as usize) {
        let jobs = jobs(&queues, from..total.min(from + CALL), bytes, Some(FAR));
        client.enqueue_many(jobs).await?;
    }
    Ok(())
}
