//! Pickup: how long from the call of enqueue to the first line of a handler, in another process and
//! in this one.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dutiful::{Client, Clock, Context, Job, Report, Result, Worker, WorkerHandle};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncBufReadExt as _;

use crate::failure::{Answer, Failure};
use crate::output;

/// Jobs that are picked up, one each 20 ms.
const JOBS: usize = 300;
const EVERY: Duration = Duration::from_millis(20);

/// A job that knows when it was enqueued (µs since 1970).
#[derive(Serialize, Deserialize)]
struct Pickup {
    sent_us: i64,
}

impl Job for Pickup {
    const TYPE: &'static str = "bench_pickup";
}

/// Enqueues the jobs while a worker process waits for them; returns the times in ms, sorted.
pub(super) async fn measure(
    client: &Client,
    store: &str,
    queue: &str,
) -> std::result::Result<Vec<f64>, Failure> {
    let lost = |text: String| Failure::failed(format!("hear from the pickup process: {text}"));
    let mut child = super::spawn(store, "pickup", queue, &[])?;
    let out = child.stdout.take().ok_or_else(|| lost("it has no output".into()))?;
    let mut lines = tokio::io::BufReader::new(out).lines();
    let mut next = async || lines.next_line().await.map_err(|error| lost(error.to_string()));
    if next().await?.is_none() {
        return Err(lost("it ended before it was ready".into()));
    }
    enqueue_slowly(client, queue).await?;
    let answer = next().await?.ok_or_else(|| lost("it ended without an answer".into()))?;
    let mut times: Vec<f64> =
        serde_json::from_str(&answer).map_err(|error| lost(error.to_string()))?;
    child.wait().await.map_err(|error| lost(error.to_string()))?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The same with the worker in this process, on the client that enqueues.
pub(super) async fn measure_here(
    client: &Client,
    queue: &str,
) -> std::result::Result<Vec<f64>, Failure> {
    let waiting = Waiting::start(client, queue).await;
    enqueue_slowly(client, queue).await?;
    let mut times = waiting.end().await?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

async fn enqueue_slowly(client: &Client, queue: &str) -> std::result::Result<(), Failure> {
    let clock = Clock::machine();
    let mut tick = tokio::time::interval(EVERY);
    for _ in 0..JOBS {
        tick.tick().await;
        client.enqueue(Pickup { sent_us: clock.now().us() }).queue(queue).await?;
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    clock: Clock,
    times: Mutex<Vec<f64>>,
    all: tokio::sync::Notify,
}

async fn pick_up(job: Pickup, cx: Context<Seen>) -> Result<()> {
    let ms = (cx.app.clock.now().us() - job.sent_us) as f64 / 1000.0;
    let mut times = cx.app.times.lock().unwrap_or_else(PoisonError::into_inner);
    times.push(ms);
    if times.len() >= JOBS {
        cx.app.all.notify_one();
    }
    Ok(())
}

/// A worker that waits for the jobs.
struct Waiting {
    seen: Arc<Seen>,
    handle: WorkerHandle,
    running: tokio::task::JoinHandle<std::result::Result<Report, dutiful::Error>>,
}

impl Waiting {
    async fn start(client: &Client, queue: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let worker = Worker::new(client, seen.clone()).job(pick_up).queue(queue, 10);
        let handle = worker.handle();
        let running = tokio::spawn(worker.run());
        // It has claimed in vain once and sleeps when it is registered and a poll has passed.
        tokio::time::sleep(Duration::from_millis(400)).await;
        Self { seen, handle, running }
    }

    /// Waits for the last job; returns every time in ms.
    async fn end(self) -> std::result::Result<Vec<f64>, Failure> {
        self.seen.all.notified().await;
        self.handle.stop();
        let ended = self.running.await;
        ended.map_err(|error| Failure::failed(format!("run the pickup worker: {error}")))??;
        Ok(self.seen.times.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The worker process: says that it is ready, then prints every time in ms.
pub(super) async fn work(store: &str, queue: &str) -> Answer {
    let client = Client::connect(store).await?;
    let waiting = Waiting::start(&client, queue).await;
    output::line("ready")?;
    output::json(&waiting.end().await?)?;
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}
