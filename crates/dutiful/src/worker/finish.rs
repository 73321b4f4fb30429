//! How an attempt ended, and the one task that writes the ends of all, many in one commit.
//!
//! While one flush is under way the next ends gather, so the batch grows with the load and a lone
//! end is written at once. An end stays ours, its lease renewed, until the store has answered; one
//! whose lease a user's open transaction has is asked for again, while the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::engine::{Engine, backoff, lock};
use crate::context::{Attempt, Stop};
use crate::error::StoreError;
use crate::inspect::AttemptOutcome;
use crate::job::State;
use crate::outcome::{Answer, Decision, HandlerError, Result, failure};
use crate::retry::Retry;
use crate::store::{DeadReason, End, Failure, Finish, Held};
use crate::telemetry::{self, Event, Run};

/// Most ends in one commit.
const FLUSH_MAX: usize = 1000;
/// After so many failures of a batch each end is tried alone, so that one cannot hold up the rest.
const TRIES_TOGETHER: u32 = 3;
/// How soon an end is tried again whose lease a user's transaction has.
const LOCKED_PAUSE: Duration = Duration::from_millis(250);

/// How a handler came to its end.
pub(super) enum Ended {
    Answered(Result<Answer>),
    Panicked(Failure),
    Stopped(Stop),
}

impl Ended {
    pub(super) fn from_guarded(answer: std::result::Result<Result<Answer>, Failure>) -> Self {
        match answer {
            Ok(answer) => Self::Answered(answer),
            Err(failure) => Self::Panicked(failure),
        }
    }
}

/// Decides what an attempt comes to and hands it to the writing task.
pub(super) async fn hand_over(
    engine: &Engine,
    attempt: &Arc<Attempt>,
    ended: Ended,
    ran: Duration,
    retry: Retry,
    span: &tracing::Span,
) {
    let ended = match attempt.within.load(Ordering::SeqCst) {
        true => match ended_within(engine, attempt, ended).await {
            Within::Committed => {
                let finish = attempt.describe(ran, End::Completed(None));
                forget(engine, attempt);
                span.record("job.outcome", word(&finish.end));
                return tell(engine, &finish, Held::Yes);
            }
            Within::RolledBack(ended) => ended,
            Within::Lost => Ended::Stopped(Stop::Lost),
        },
        false => ended,
    };
    let Some(end) = decide(attempt, ended, retry) else {
        span.record("job.outcome", "lease_lost");
        return lose(engine, attempt);
    };
    if !span.is_disabled() {
        span.record("job.outcome", word(&end));
        if let End::Failed(failure, _) | End::Dead(failure, _) = &end {
            telemetry::failed(span, &failure.class, &failure.message);
        }
    }
    lock(&engine.unleased).remove(&attempt.fence);
    engine.push_end_of(attempt, ran, end);
}

/// Gives up an attempt whose lease is somebody else's.
pub(super) fn lose(engine: &Engine, attempt: &Attempt) {
    forget(engine, attempt);
    engine.counters.lost.fetch_add(1, Ordering::Relaxed);
    engine.observers.tell(&Event::LeaseLost { run: attempt.run() });
}

fn word(end: &End) -> &'static str {
    match end {
        End::Completed(_) => "completed",
        End::Failed(..) => "failed",
        End::Dead(..) => "dead",
        End::Snoozed(_) => "snoozed",
        End::Released => "released",
        End::Cancelled => "cancelled",
    }
}

/// Returns what to write, or `None` when nothing may be written.
fn decide(attempt: &Attempt, ended: Ended, retry: Retry) -> Option<End> {
    let stopping = attempt.stopping();
    Some(match ended {
        Ended::Answered(Ok(Answer::Done(result))) => End::Completed(result),
        Ended::Answered(Ok(Answer::Snooze(wait))) => End::Snoozed(wait),
        Ended::Answered(Ok(Answer::Discard(reason))) => {
            End::Dead(failure("discarded", &reason), DeadReason::Discarded)
        }
        Ended::Answered(Ok(Answer::Within)) => {
            let text = "it returned `Completed`, but its own completion was never written";
            charge(attempt, failure("transaction", text), None, retry)
        }
        Ended::Stopped(Stop::Lost) => return None,
        Ended::Stopped(Stop::Cancelled) => End::Cancelled,
        Ended::Stopped(Stop::TimedOut) => charge(attempt, timed_out(attempt), None, retry),
        Ended::Stopped(_) => End::Released,
        Ended::Answered(Err(_)) | Ended::Panicked(_) if stopping == Stop::Lost => return None,
        Ended::Answered(Err(_)) if stopping == Stop::Cancelled => End::Cancelled,
        Ended::Answered(Err(error)) => match error.decision {
            Decision::Retry => charge(attempt, error.failure, None, retry),
            Decision::RetryAfter(wait) => charge(attempt, error.failure, Some(wait), retry),
            Decision::Discard => End::Dead(error.failure, DeadReason::Discarded),
            Decision::Snooze(wait) => End::Snoozed(wait),
        },
        Ended::Panicked(failure) => charge(attempt, failure, None, retry),
    })
}

/// Returns what an attempt comes to whose handler never came back in time.
pub(super) fn overdue(attempt: &Attempt, retry: Retry) -> End {
    charge(attempt, timed_out(attempt), None, retry)
}

fn timed_out(attempt: &Attempt) -> Failure {
    failure("timeout", &format!("it ran longer than its timeout of {:?}", attempt.timeout))
}

/// Charges a failure: a retry while attempts are left, else dead.
fn charge(attempt: &Attempt, failure: Failure, wait: Option<Duration>, retry: Retry) -> End {
    End::after_failure(failure, attempt.failures, attempt.max_attempts, |failures| {
        // A policy may be the user's own code.
        let policy = || super::guard::guarded(|| retry.wait(failures, fastrand::f64()));
        wait.unwrap_or_else(|| policy().unwrap_or(crate::retry::RETRY_MAX))
    })
}

/// How the transaction ended in which a handler wrote its completion.
enum Within {
    Committed,
    RolledBack(Ended),
    Lost,
}

/// Asks the store: while the lease is there the transaction did not commit; without it the job is
/// completed by this attempt, or was taken away from it.
async fn ended_within(engine: &Engine, attempt: &Attempt, ended: Ended) -> Within {
    let mut tries = 0;
    loop {
        let seen = match engine.store().held(vec![attempt.fence]).await {
            Ok(held) if held.first() == Some(&Held::Yes) => {
                return Within::RolledBack(not_committed(ended));
            }
            Ok(_) => engine.store().show(attempt.fence.id).await,
            Err(error) => Err(error),
        };
        match seen {
            Ok(Some(job)) if job.attempt == attempt.fence.attempt => {
                // An at-most-once job has no lease, and is completed since its claim.
                let outcome = job.attempts.last().map(|last| last.outcome);
                return match (job.state, outcome) {
                    (State::Completed, Some(AttemptOutcome::Unknown)) => {
                        Within::RolledBack(not_committed(ended))
                    }
                    (State::Completed, _) => Within::Committed,
                    _ => Within::Lost,
                };
            }
            Ok(_) => return Within::Lost,
            Err(error) => {
                engine.tell_trouble("held", &error);
                tries += 1;
                tokio::time::sleep(backoff(tries)).await;
            }
        }
    }
}

fn not_committed(ended: Ended) -> Ended {
    match ended {
        Ended::Answered(Ok(_)) => {
            let text = "the transaction with its completion did not commit";
            Ended::Answered(Err(HandlerError::msg(text).with_class("transaction")))
        }
        other => other,
    }
}

/// Lets go of an attempt about which nothing is to be written.
fn forget(engine: &Engine, attempt: &Attempt) {
    lock(&engine.unleased).remove(&attempt.fence);
    let mut held = lock(&engine.held);
    if held.get(&attempt.fence.id).is_some_and(|one| one.fence == attempt.fence) {
        held.remove(&attempt.fence.id);
    }
    drop(held);
    engine.room.notify_one();
}

/// Writes ends until the worker is over and none is left.
pub(super) async fn write_ends(engine: Arc<Engine>) {
    loop {
        let batch = take_batch(&engine);
        if batch.is_empty() {
            tokio::select! {
                () = engine.flush.notified() => continue,
                () = engine.over.cancelled() => return,
            }
        }
        write_batch(&engine, batch).await;
        engine.flushing.store(0, Ordering::SeqCst);
        engine.room.notify_one();
    }
}

fn take_batch(engine: &Engine) -> Vec<Finish> {
    let mut ends = lock(&engine.ends);
    let batch: Vec<_> = match ends.len() > FLUSH_MAX {
        true => ends.drain(..FLUSH_MAX).collect(),
        false => std::mem::take(&mut *ends),
    };
    engine.flushing.store(batch.len(), Ordering::SeqCst);
    batch
}

async fn write_batch(engine: &Arc<Engine>, batch: Vec<Finish>) {
    let mut tries = 0;
    let mut notes = std::mem::take(&mut *lock(&engine.notes));
    loop {
        // Asked first, for what was said needs the lease that the end takes away; both are
        // written in one commit.
        let noted = (!notes.is_empty()).then(|| engine.store().note(notes.clone()));
        let finished = engine.store().finish(engine.worker, batch.clone());
        if let Some(noted) = noted {
            match noted.await {
                Ok(_) => notes.clear(),
                Err(error) => engine.tell_trouble("note", &error),
            }
        }
        match finished.await {
            Ok(answers) => return settle(engine, &batch, &answers),
            Err(error) => {
                engine.tell_trouble("finish", &error);
                tries += 1;
                if engine.over.is_cancelled() {
                    return;
                }
                if !error.is_passing() && tries >= TRIES_TOGETHER {
                    return write_each(engine, batch).await;
                }
                tokio::time::sleep(backoff(tries)).await;
            }
        }
    }
}

/// Writes all ends that wait, once; what fails stays with its lease, as after a crash.
pub(super) async fn write_now(engine: &Arc<Engine>) -> std::result::Result<(), StoreError> {
    let batch = take_batch(engine);
    engine.flushing.store(0, Ordering::SeqCst);
    if batch.is_empty() {
        return Ok(());
    }
    let notes = std::mem::take(&mut *lock(&engine.notes));
    if !notes.is_empty()
        && let Err(error) = engine.store().note(notes).await
    {
        engine.tell_trouble("note", &error);
    }
    let answers = engine.store().finish(engine.worker, batch.clone()).await;
    settle(engine, &batch, answers.as_deref().unwrap_or_default());
    answers.map(drop)
}

async fn write_each(engine: &Arc<Engine>, batch: Vec<Finish>) {
    for one in batch {
        let alone = vec![one];
        let answers: std::result::Result<_, StoreError> =
            engine.store().finish(engine.worker, alone.clone()).await;
        match answers {
            Ok(answers) => settle(engine, &alone, &answers),
            Err(error) => {
                // Its lease runs out and it is rescued: done again rather than lost.
                engine.tell_trouble("finish", &error);
                settle(engine, &alone, &[Held::Lost]);
            }
        }
    }
}

/// The store has answered: the leases are gone, tell everybody.
fn settle(engine: &Arc<Engine>, batch: &[Finish], answers: &[Held]) {
    let mut locked = Vec::new();
    let mut held = lock(&engine.held);
    for (at, one) in batch.iter().enumerate() {
        if answers.get(at) == Some(&Held::Locked) {
            locked.push(one.clone());
        } else if held.get(&one.fence.id).is_some_and(|ours| ours.fence == one.fence) {
            held.remove(&one.fence.id);
        }
    }
    drop(held);
    for (one, answer) in batch.iter().zip(answers) {
        tell(engine, one, *answer);
    }
    if !locked.is_empty() {
        write_later(engine.clone(), locked);
    }
}

/// Puts ends back in a while, so that none of the others waits for a user's transaction.
fn write_later(engine: Arc<Engine>, ends: Vec<Finish>) {
    engine.locked.fetch_add(ends.len(), Ordering::SeqCst);
    tokio::spawn(async move {
        tokio::time::sleep(LOCKED_PAUSE).await;
        // The look at what is unwritten must not miss them in between.
        let mut waiting = lock(&engine.ends);
        engine.locked.fetch_sub(ends.len(), Ordering::SeqCst);
        waiting.extend(ends);
        drop(waiting);
        engine.flush.notify_one();
    });
}

fn tell(engine: &Engine, one: &Finish, answer: Held) {
    let counters = &engine.counters;
    let counter: &AtomicU64 = match (&one.end, answer) {
        (_, Held::Locked) => return,
        (_, Held::Lost) => &counters.lost,
        (End::Completed(_), _) => &counters.completed,
        (End::Failed(..), _) => &counters.failed,
        (End::Dead(..), _) => &counters.dead,
        (End::Snoozed(_), _) => &counters.snoozed,
        (End::Released, _) => &counters.released,
        (End::Cancelled, _) => &counters.cancelled,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    if engine.observers.is_empty() {
        return;
    }
    let run = Run { fence: one.fence, queue: &one.queue, job_type: &one.job_type };
    let ran = one.ran;
    engine.observers.tell(&match (&one.end, answer) {
        (_, Held::Lost | Held::Locked) => Event::LeaseLost { run },
        (End::Completed(_), _) => Event::Completed { run, ran },
        (End::Failed(failure, retry_in), _) => {
            Event::Failed { run, ran, failure, retry_in: *retry_in }
        }
        (End::Dead(failure, reason), _) => Event::Dead { run, ran, failure, reason: *reason },
        (End::Snoozed(wait), _) => Event::Snoozed { run, wait: *wait },
        (End::Released, _) => Event::Released { run },
        (End::Cancelled, _) => Event::Cancelled { run },
    });
}
