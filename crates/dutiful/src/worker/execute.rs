//! Slots: each takes a job from its queue's buffer, runs the handler, and hands over how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::engine::{Buffered, Engine, Pool, lock};
use super::finish::{self, Ended};
use super::guard::{Guarded, guarded};
use super::registry::{Answering, Handler};
use crate::clock::BootTime;
use crate::context::{Attempt, Stop};
use crate::job::Delivery;
use crate::notes::Notes;
use crate::outcome::{Answer, HandlerError, Result};
use crate::store::{Claimed, End};
use crate::telemetry::{Correlation, Event, ORIGIN, Origin, consumer};

/// A slot lets others run after so many jobs that never waited for anything.
const JOBS_WITHOUT_PAUSE: usize = 32;
/// A blocking handler that was told to stop may take this long to say so itself.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Starts as many slots of a pool as its buffer can use.
pub(super) fn start_slots(engine: &Arc<Engine>, at: usize) {
    let pool = &engine.pools[at];
    let mut waiting = pool.buffered();
    while waiting > 0 && enter(engine, pool) {
        let engine = engine.clone();
        engine.runtime.clone().spawn(run_slot(engine, at));
        waiting -= 1;
    }
}

/// Takes a slot if one is free.
fn enter(engine: &Engine, pool: &Pool) -> bool {
    let _alone = lock(&engine.entrance);
    let all_taken = engine.settings.slots.is_some_and(|total| engine.running() >= total);
    if all_taken || pool.running() >= pool.slots() {
        return false;
    }
    pool.running.fetch_add(1, Ordering::SeqCst);
    true
}

/// Gives back the slot of an attempt that somebody else than its slot has ended.
pub(super) fn leave_for(engine: &Engine, attempt: &Attempt) -> usize {
    let at = engine.pool_of(&attempt.queue);
    engine.pools[at].running.fetch_sub(1, Ordering::SeqCst);
    at
}

async fn run_slot(engine: Arc<Engine>, at: usize) {
    let pool = &engine.pools[at];
    let mut jobs = 0;
    loop {
        let next = lock(&pool.buffer).pop_front();
        let Some(next) = next else {
            pool.running.fetch_sub(1, Ordering::SeqCst);
            // A job may have come between the look and the step back.
            if pool.buffered() > 0 && enter(&engine, pool) {
                continue;
            }
            if engine.settings.slots.is_some() {
                // Where all queues share the slots, it may be the turn of another.
                (0..engine.pools.len()).for_each(|at| start_slots(&engine, at));
            }
            break;
        };
        if jobs == 0 {
            // The claimer took this job for one that lies ahead of no slot, and waits for room.
            engine.room.notify_one();
        }
        let replaced = run_one(&engine, pool, next).await;
        if replaced {
            // Somebody gave up on this slot and started another one in its place.
            return;
        }
        engine.room.notify_one();
        jobs += 1;
        if jobs % JOBS_WITHOUT_PAUSE == 0 {
            tokio::task::yield_now().await;
        }
    }
    engine.room.notify_one();
}

/// Runs one attempt to its end; returns true when the slot was taken away meanwhile.
pub(super) async fn run_one(engine: &Arc<Engine>, pool: &Pool, next: Buffered) -> bool {
    let Some(entry) = engine.registry.get(&next.job.job_type) else {
        // The claim asked for known types only.
        engine.push_end(next.job.unstarted(End::Released));
        return false;
    };
    let Some((attempt, payload)) = begin(engine, next) else { return false };
    let run = attempt.run();
    if !engine.observers.is_empty() {
        engine.observers.tell(&Event::Started { run, waited: attempt.waited });
    }
    let origin = Origin {
        correlation: attempt.correlation.clone(),
        trace_parent: attempt.trace_parent.clone(),
    };
    let span = consumer(run, &attempt.correlation, attempt.trace_parent.as_deref());
    let ended = match &entry.handler {
        Handler::Async(handler) => {
            let handler = handler.clone();
            let started = {
                let attempt = attempt.clone();
                move || handler(payload, attempt)
            };
            let running = run_async(&attempt, started);
            ORIGIN.scope(origin, running).instrument(span.clone()).await
        }
        Handler::Blocking(handler) => {
            let (handler, theirs) = (handler.clone(), attempt.clone());
            let work = move || handler(payload, theirs);
            run_on_thread(&attempt, origin, span.clone(), work).await
        }
    };
    if !attempt.end() {
        return true;
    }
    let ran = attempt.started.elapsed();
    note_time(pool, ran);
    finish::hand_over(engine, &attempt, ended, ran, entry.retry, &span).await;
    false
}

/// Makes the attempt and puts it where others see it; `None` when nothing may begin,
/// for its lease is gone, or so old that its handler would be stopped, or the worker is at its end.
fn begin(engine: &Engine, next: Buffered) -> Option<(Arc<Attempt>, Vec<u8>)> {
    let Buffered { job, since } = next;
    let (attempt, payload) = attempt_of(engine, job, since);
    let attempt = Arc::new(attempt);
    let may_begin = match attempt.delivery {
        Delivery::AtMostOnce => {
            let mut unleased = lock(&engine.unleased);
            unleased.insert(attempt.fence, attempt.clone());
            // Read under the lock under which the shutdown looks for what runs.
            !engine.closed.load(Ordering::SeqCst)
        }
        Delivery::AtLeastOnce => {
            let mut held = lock(&engine.held);
            let ours = held.get_mut(&attempt.fence.id).filter(|one| one.fence == attempt.fence);
            let Some(one) = ours else {
                drop(held);
                finish::lose(engine, &attempt);
                return None;
            };
            let age = BootTime::now().since(one.renewed);
            let may = age <= engine.settings.self_fence() && !engine.closed.load(Ordering::SeqCst);
            one.attempt = may.then(|| attempt.clone());
            may
        }
    };
    if !may_begin {
        lock(&engine.unleased).remove(&attempt.fence);
        engine.push_end_of(&attempt, Duration::ZERO, End::Released);
        return None;
    }
    Some((attempt, payload))
}

fn attempt_of(engine: &Engine, job: Claimed, since: Instant) -> (Attempt, Vec<u8>) {
    let started = Instant::now();
    let started_at = job.claimed_at.plus(started.saturating_duration_since(since));
    let correlation = match job.correlation_id {
        Some(text) => Correlation::Text(text.into()),
        None => Correlation::Job(job.fence.id),
    };
    let attempt = Attempt {
        fence: job.fence,
        job_type: job.job_type,
        queue: job.queue,
        failures: job.failures,
        crashes: job.crashes,
        max_attempts: job.max_attempts,
        timeout: job.timeout,
        delivery: job.delivery,
        unique: job.unique,
        created_at: job.created_at,
        correlation,
        trace_parent: job.trace_parent.map(Into::into),
        group: job.group,
        worker: engine.worker,
        client: engine.client.clone(),
        runtime: engine.runtime.clone(),
        started_at,
        started,
        waited: started_at.since(job.run_at),
        cancel: CancellationToken::new(),
        stop: AtomicU8::new(Stop::No as u8),
        ended: AtomicBool::new(false),
        within: AtomicBool::new(false),
        notes: Notes::default(),
    };
    (attempt, job.payload)
}

/// Runs an async handler under its timeout; a stop drops it where it stands.
async fn run_async(attempt: &Attempt, start: impl FnOnce() -> Answering) -> Ended {
    let answering = match guarded(start) {
        Ok(answering) => answering,
        Err(failure) => return Ended::Panicked(failure),
    };
    let mut running = Guarded::new(answering);
    // Most handlers of short jobs are ready at once, and need neither a timer nor a stop.
    if let Some(answer) = (&mut running).now_or_never() {
        return Ended::from_guarded(answer);
    }
    let timed = tokio::time::timeout(attempt.timeout, running);
    tokio::select! {
        biased;
        answer = timed => match answer {
            Ok(answer) => Ended::from_guarded(answer),
            Err(_) => {
                attempt.ask_to_stop(Stop::TimedOut);
                Ended::Stopped(Stop::TimedOut)
            }
        },
        () = attempt.cancel.cancelled() => Ended::Stopped(attempt.stopping()),
    }
}

/// Runs a blocking handler on a thread of its own, which cannot be stopped, only left behind.
async fn run_on_thread(
    attempt: &Arc<Attempt>,
    origin: Origin,
    span: tracing::Span,
    work: impl FnOnce() -> Result<Answer> + Send + 'static,
) -> Ended {
    let (to, mut answer) = tokio::sync::oneshot::channel();
    let inside = move || {
        let _entered = span.enter();
        ORIGIN.sync_scope(origin, || guarded(work))
    };
    let thread = std::thread::Builder::new()
        .name("dutiful-handler".into())
        // Nobody listens any more to a handler that was left behind.
        .spawn(move || drop(to.send(inside())));
    if let Err(error) = thread {
        return Ended::Answered(Err(HandlerError::from(error)));
    }
    let told = |answer: std::result::Result<_, _>| match answer {
        Ok(answer) => Ended::from_guarded(answer),
        Err(_) => Ended::Answered(Err(HandlerError::msg("the handler's thread vanished"))),
    };
    tokio::select! {
        biased;
        answer = &mut answer => return told(answer),
        () = tokio::time::sleep(attempt.timeout) => attempt.ask_to_stop(Stop::TimedOut),
        () = attempt.cancel.cancelled() => {}
    }
    match tokio::time::timeout(last_words(attempt), answer).await {
        Ok(answer) => match (attempt.stopping(), told(answer)) {
            // What it completed counts, even if it was told to stop.
            (_, ended @ Ended::Answered(Ok(_))) => ended,
            (why, _) => Ended::Stopped(why),
        },
        Err(_) => Ended::Stopped(attempt.stopping()),
    }
}

/// A cancelled handler is waited for as long as its timeout allows; the others must go soon.
fn last_words(attempt: &Attempt) -> Duration {
    match attempt.stopping() {
        Stop::Cancelled => {
            attempt.timeout.saturating_sub(attempt.started.elapsed()).max(LAST_WORDS)
        }
        _ => LAST_WORDS,
    }
}

/// Keeps a moving average of the runs' times, quick to rise and slow to fall.
fn note_time(pool: &Pool, ran: Duration) {
    let ran = ran.as_micros() as u64;
    let before = pool.ran_us.load(Ordering::Relaxed);
    let average = match before {
        u64::MAX => ran,
        before if ran > before => before + (ran - before) / 4,
        before => before - (before - ran) / 8,
    };
    pool.ran_us.store(average, Ordering::Relaxed);
    pool.runs.fetch_add(1, Ordering::Relaxed);
}
