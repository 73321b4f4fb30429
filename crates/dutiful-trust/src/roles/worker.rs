//! A worker: runs the errands and writes down each start, effect, and answer of the store.

use std::sync::Arc;
use std::time::Duration;

use dutiful::{
    Client, Completed, Context, Event, Fence, HandlerError, Job, Observer, Outcome, Worker,
};
use serde::{Deserialize, Serialize};

use super::counter::{Counter, First};
use super::{Errand, QUEUE, Shape};
use crate::ledger::{Kind, Ledger};

/// A failed errand is tried again after this.
const RETRY_WAIT: Duration = Duration::from_millis(100);
/// Long errands look up so often.
const TICK: Duration = Duration::from_millis(20);

macro_rules! jobs {
    ($($name:ident = $type:literal),*) => {$(
        #[derive(Serialize, Deserialize)]
        struct $name(Errand);
        impl Job for $name {
            const TYPE: &'static str = $type;
            const QUEUE: &'static str = QUEUE;
        }
    )*};
}

jobs!(
    Work = "work",
    Count = "count",
    CountAsync = "count_async",
    Linger = "linger",
    Stubborn = "stubborn",
    Abort = "abort",
    Overflow = "overflow"
);

struct App {
    ledger: Arc<Ledger>,
    counter: Counter,
}

impl App {
    fn note(&self, kind: Kind, fence: Fence) {
        note(&self.ledger, kind, fence);
    }
}

fn note(ledger: &Ledger, kind: Kind, fence: Fence) {
    ledger.note(kind, *fence.id.as_bytes(), fence.attempt, fence.nonce);
}

/// Runs jobs until SIGTERM.
///
/// # Errors
/// What keeps a worker from starting or ending in order.
pub async fn work(shape: Shape) -> anyhow::Result<()> {
    super::die_with_the_driver()?;
    let client = Client::connect(&shape.store).await?;
    let counter = Counter::open(&shape.store)?;
    let mut stop = Box::pin(dutiful::shutdown_signal());
    // Polled once, it hears signals; the driver takes the ledger as the sign for that.
    tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        () = std::future::ready(()) => {}
    }
    let ledger = Arc::new(Ledger::open(&shape.dir, "worker")?);
    let app = App { ledger: ledger.clone(), counter };
    Worker::new(&client, app)
        .job(do_work)
        .job_blocking(count)
        .job(count_async)
        .job(linger)
        .job_blocking(be_stubborn)
        .job(abort)
        .job(overflow)
        .queue(QUEUE, shape.slots)
        .lease(shape.lease)
        .grace(shape.grace)
        .crashes_max(shape.mix.crashes_max())
        .observer(Arc::new(Witness(ledger)))
        .run_until(stop)
        .await?;
    client.close().await?;
    Ok(())
}

/// Writes down what the store answered.
struct Witness(Arc<Ledger>);

impl Observer for Witness {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Completed { run, .. } => note(&self.0, Kind::DoneOk, run.fence),
            Event::LeaseLost { run } => note(&self.0, Kind::DoneLost, run.fence),
            Event::SelfFenced { leases } => {
                self.0.note(Kind::SelfFenced, [0; 16], 0, *leases as i64);
            }
            Event::Released { run } => note(&self.0, Kind::Released, run.fence),
            _ => {}
        }
    }
}

async fn do_work(job: Work, cx: Context<App>) -> dutiful::Result<Outcome> {
    let errand = job.0;
    cx.app.note(Kind::Start, cx.fence());
    tokio::time::sleep(Duration::from_millis(errand.ms)).await;
    if errand.snoozes && cx.attempt() == 1 {
        return Ok(Outcome::Snooze(RETRY_WAIT));
    }
    if cx.failures() < errand.fails {
        let error = HandlerError::msg("it fails at first");
        return Err(HandlerError::retry_after(RETRY_WAIT, error));
    }
    if errand.gives_up {
        return Ok(Outcome::Discard("it cannot be done".to_owned()));
    }
    cx.app.note(Kind::Effect, cx.fence());
    Ok(Outcome::Done)
}

fn count(job: Count, cx: Context<App>) -> dutiful::Result<Completed> {
    cx.app.note(Kind::Start, cx.fence());
    std::thread::sleep(Duration::from_millis(job.0.ms));
    // Before the commit: after it, a kill could leave a completion without its effect.
    let say = || cx.app.note(Kind::Effect, cx.fence());
    match &cx.app.counter {
        Counter::Sqlite(counter) => counter.raise(|tx| {
            say();
            Ok(cx.complete_within(tx).now()?)
        }),
        // Nobody can drop it where it stands, so who was asleep comes back to a lost lease.
        Counter::Postgres(counter) => cx.wait(counter.complete(&cx, First::Raise, say)),
    }
}

async fn count_async(job: CountAsync, cx: Context<App>) -> dutiful::Result<Completed> {
    cx.app.note(Kind::Start, cx.fence());
    tokio::time::sleep(Duration::from_millis(job.0.ms)).await;
    let Counter::Postgres(counter) = &cx.app.counter else {
        return Err(HandlerError::msg("no transaction of a file can cross an await"));
    };
    counter.complete(&cx, First::Complete, || cx.app.note(Kind::Effect, cx.fence())).await
}

/// Notes that the handler was dropped before its end.
struct Dropped<'a> {
    app: &'a App,
    fence: Fence,
    ended: bool,
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.app.note(Kind::CancelledSeen, self.fence);
        }
    }
}

async fn linger(job: Linger, cx: Context<App>) -> dutiful::Result<()> {
    cx.app.note(Kind::Start, cx.fence());
    let mut dropped = Dropped { app: &cx.app, fence: cx.fence(), ended: false };
    // In steps, because a process that stood still has no more than the step behind it.
    for _ in 0..steps(job.0) {
        tokio::time::sleep(TICK).await;
    }
    dropped.ended = true;
    cx.app.note(Kind::Effect, cx.fence());
    Ok(())
}

fn be_stubborn(job: Stubborn, cx: Context<App>) -> dutiful::Result<()> {
    cx.app.note(Kind::Start, cx.fence());
    let mut heard = false;
    for _ in 0..steps(job.0) {
        std::thread::sleep(TICK);
        if cx.is_cancelled() && !heard {
            heard = true;
            cx.app.note(Kind::CancelledSeen, cx.fence());
        }
    }
    cx.app.note(Kind::Effect, cx.fence());
    Ok(())
}

async fn abort(_: Abort, cx: Context<App>) -> dutiful::Result<()> {
    cx.app.note(Kind::Start, cx.fence());
    std::process::abort()
}

async fn overflow(job: Overflow, cx: Context<App>) -> dutiful::Result<()> {
    cx.app.note(Kind::Start, cx.fence());
    let depth = descend(job.0.ms);
    Err(HandlerError::msg(format!("the stack has room for {depth} frames")))
}

/// Calls itself for longer than any stack is deep.
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 128]);
    if depth == u64::MAX { depth } else { descend(depth + 1).max(frame[0]) }
}

fn steps(errand: Errand) -> u64 {
    errand.ms / TICK.as_millis() as u64
}
