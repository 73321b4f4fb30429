//! The end of a worker, in order: no more claims, finish or release, flush, leave.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::engine::{Engine, lock};
use super::finish;
use crate::context::Stop;
use crate::store::End;

/// How long the last flush may take after the grace.
const FLUSH_WAITS: Duration = Duration::from_millis(800);
/// How often the end of the handlers is looked for.
const LOOK: Duration = Duration::from_millis(5);

pub(super) async fn in_order(
    engine: &Arc<Engine>,
    claimer: JoinHandle<()>,
    flusher: JoinHandle<()>,
    beats: std::thread::JoinHandle<()>,
) {
    let deadline = Instant::now() + engine.settings.grace;
    // A claim that is under way is waited for: what it brings is ours and must be given back.
    let _ = tokio::time::timeout_at(deadline + FLUSH_WAITS, claimer).await;
    release_buffered(engine);
    wait_until(deadline, || engine.attempts().iter().all(|one| is_over(one))).await;
    release_running(engine);
    release_buffered(engine);
    wait_until(Instant::now() + FLUSH_WAITS, || engine.unwritten() == 0).await;
    engine.over.cancel();
    let _ = flusher.await;
    let joined = tokio::task::spawn_blocking(move || beats.join());
    // The heartbeat's last call may hang with the store; the process must end all the same.
    let _ = tokio::time::timeout(FLUSH_WAITS, joined).await;
    // A store that cannot be reached takes our silence for what it is.
    let _ = tokio::time::timeout(FLUSH_WAITS, engine.store().leave(engine.worker)).await;
}

fn is_over(attempt: &crate::context::Attempt) -> bool {
    attempt.ended.load(std::sync::atomic::Ordering::SeqCst)
}

async fn wait_until(deadline: Instant, mut done: impl FnMut() -> bool) {
    while !done() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

/// Gives back what was claimed and has no slot; an at-most-once job gets its slot instead.
fn release_buffered(engine: &Engine) {
    for pool in &engine.pools {
        let waiting = std::mem::take(&mut *lock(&pool.buffer));
        for one in waiting {
            engine.push_end(finish::unstarted(&one.job, End::Released));
        }
    }
}

/// At the deadline every handler is stopped; one that does not listen is left behind, and its job
/// is given back in its name.
fn release_running(engine: &Engine) {
    for attempt in engine.attempts() {
        attempt.ask_to_stop(Stop::Released);
        if attempt.end() {
            lock(&engine.unleased).remove(&attempt.fence.id);
            let ran = attempt.started.elapsed();
            if cfg!(bug = "no_release") {
                continue;
            }
            let end = if cfg!(bug = "release_charged") { charged() } else { End::Released };
            engine.push_end(attempt.describe(ran, end));
        }
    }
}

/// What the mutant `release_charged` makes of a job that is given back.
fn charged() -> End {
    End::Failed(crate::outcome::failure("released", "the worker ended"), LOOK)
}

/// Resolves at the first SIGTERM or SIGINT; a second one ends the process at once.
///
/// This is the only thing in the library that touches signals, and only when it is called.
pub async fn shutdown_signal() {
    let code = first_signal().await;
    tokio::spawn(async move {
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
