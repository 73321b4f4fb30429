//! The end of a worker, in order: no more claims, finish or release, flush, leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::engine::{Engine, Pool, lock};
use super::execute;
use crate::context::Stop;
use crate::job::Delivery;
use crate::store::End;

/// How long the last flush may take after the grace …
const FLUSH_WAITS: Duration = Duration::from_millis(700);
/// … and the farewell after that: a second in all.
const LEAVE_WAITS: Duration = Duration::from_millis(200);
/// The grace of a worker whose future was dropped instead of being stopped.
const DROPPED_GRACE: Duration = Duration::from_millis(200);
/// How often the end of the handlers is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// A signal so soon after the first is the same one: coreutils' `timeout`, for one, signals its
/// command and then the group that the command is in.
const SECOND_AFTER: Duration = Duration::from_millis(50);

/// What a worker consists of beside its slots.
pub(super) struct Parts {
    pub(super) claimer: JoinHandle<()>,
    pub(super) flusher: JoinHandle<()>,
    pub(super) beats: std::thread::JoinHandle<()>,
}

/// A worker at work. Dropped, it stops too: nobody must renew leases for ever in its name.
pub(super) struct Running {
    engine: Arc<Engine>,
    parts: Option<Parts>,
}

impl Running {
    pub(super) fn new(engine: Arc<Engine>, parts: Parts) -> Self {
        Self { engine, parts: Some(parts) }
    }

    /// Stops in order, in a task of its own, so that it goes on if nobody waits for it.
    pub(super) async fn stop(mut self) {
        let Some(parts) = self.parts.take() else { return };
        let grace = self.engine.settings.grace;
        let _ = tokio::spawn(in_order(self.engine.clone(), parts, grace)).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        self.engine.stop.cancel();
        let runtime = self.engine.runtime.clone();
        self.engine.control.hurry(DROPPED_GRACE);
        runtime.spawn(in_order(self.engine.clone(), parts, DROPPED_GRACE));
    }
}

/// Ends the threads even if the runtime ends first.
struct OverAtDrop(Arc<Engine>);

impl Drop for OverAtDrop {
    fn drop(&mut self) {
        self.0.over.cancel();
    }
}

fn in_order(engine: Arc<Engine>, parts: Parts, grace: Duration) -> impl Future<Output = ()> + Send {
    let over = OverAtDrop(engine);
    async move {
        let engine = &over.0;
        let begun = Instant::now();
        // Whoever told it to stop may tell it to hurry.
        let deadline = || engine.control.end_by(grace).unwrap_or(begun + grace);
        let Parts { claimer, mut flusher, beats } = parts;
        release_all_buffered(engine, false);
        // A claim that is under way is waited for: what it brings is ours and must be given back.
        wait_until(deadline, || claimer.is_finished()).await;
        claimer.abort();
        release_all_buffered(engine, false);
        // A slot is given back when its end was handed over, so none of them is missed.
        wait_until(deadline, || engine.running() == 0).await;
        engine.closed.store(true, Ordering::SeqCst);
        release_running(engine);
        release_all_buffered(engine, true);
        let last = || deadline() + FLUSH_WAITS;
        wait_until(last, || engine.running() == 0 && engine.unwritten() == 0).await;
        engine.over.cancel();
        let by = (Instant::now() + FLUSH_WAITS).min(last() + LEAVE_WAITS);
        if timeout_at(by, &mut flusher).await.is_err() {
            flusher.abort();
        }
        let joined = tokio::task::spawn_blocking(move || beats.join());
        // The heartbeat's last call may hang with the store; the process must end all the same.
        // A store that cannot be reached takes our silence for what it is.
        let leave = engine.store().leave(engine.worker);
        let _ = tokio::join!(timeout_at(by, joined), timeout_at(by, leave));
    }
}

async fn wait_until(deadline: impl Fn() -> Instant, mut done: impl FnMut() -> bool) {
    while !done() && Instant::now() < deadline() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Gives back what was claimed and has no slot; an at-most-once job, which has no other chance, may
/// wait for one until the end.
pub(super) fn release_buffered(engine: &Engine, pool: &Pool, all: bool) {
    let mut buffer = lock(&pool.buffer);
    for one in std::mem::take(&mut *buffer) {
        if all || one.job.delivery != Delivery::AtMostOnce {
            engine.push_end(one.job.unstarted(End::Released));
        } else {
            buffer.push_back(one);
        }
    }
}

fn release_all_buffered(engine: &Engine, all: bool) {
    for pool in &engine.pools {
        release_buffered(engine, pool, all);
    }
}

/// At the deadline every handler is stopped; one that does not listen is left behind, and its job
/// is given back in its name.
fn release_running(engine: &Engine) {
    for attempt in engine.attempts() {
        attempt.ask_to_stop(Stop::Released);
        if attempt.end() {
            lock(&engine.unleased).remove(&attempt.fence);
            execute::leave_for(engine, &attempt);
            let ran = attempt.started.elapsed();
            if cfg!(bug = "no_release") {
                continue;
            }
            let end = if cfg!(bug = "release_charged") { charged() } else { End::Released };
            engine.push_end_of(&attempt, ran, end);
        }
    }
}

/// What the mutant `release_charged` makes of a job that is given back.
fn charged() -> End {
    End::Failed(crate::outcome::failure("released", "the worker ended"), LOOK)
}

/// Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, unless it comes
/// within 50 ms, as the same signal does when it is sent to a process and to its group.
///
/// This is the only thing in the library that touches signals, and only when it is called.
pub async fn shutdown_signal() {
    let code = first_signal().await;
    tokio::spawn(async move {
        tokio::time::sleep(SECOND_AFTER).await;
        let second = first_signal().await;
        if cfg!(bug = "second_signal_ignored") {
            return;
        }
        std::process::exit(128 + second.max(code));
    });
}

#[cfg(unix)]
async fn first_signal() -> i32 {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the default action of the signals ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => 15,
        _ = interrupt.recv() => 2,
    }
}
