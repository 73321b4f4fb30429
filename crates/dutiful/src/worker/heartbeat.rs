//! The heartbeat: renews leases from a thread and runtime of its own, so that no handler can starve
//! it; brings cancel requests; and watches for what no longer moves.
//!
//! A lease is the right to run one attempt until a time on the store's clock. We judge our side of
//! it by a clock that counts suspended time too, from before the call that renewed it was sent: so
//! we always believe it ends earlier than it does. When two thirds of it have passed without a
//! renewal, we cancel the handlers ourselves; what they then still hand over is refused by the
//! fence unless the lease is truly still ours. One case is different: when the store has no space
//! left, it has none for the rescuer either, so running work goes on and the renewal is tried
//! again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::engine::{Engine, lock};
use super::{execute, finish, upkeep};
use crate::clock::BootTime;
use crate::context::{Attempt, Stop};
use crate::error::{Error, StoreError};
use crate::store::{Beat, HeartbeatRequest, Held};
use crate::telemetry::Event;

/// How often cancel requests are read, and the watch goes round.
const WATCH: Duration = Duration::from_millis(400);
/// A handler this long over its timeout neither yields nor ends: its slot is replaced.
const OVERDUE: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when the worker is over.
pub(super) fn start(engine: Arc<Engine>) -> Result<std::thread::JoinHandle<()>, Error> {
    let fail = |error: std::io::Error| StoreError::Unavailable(error.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(fail)?;
    #[cfg(bug = "heartbeat_on_handlers")]
    let handlers = engine.runtime.clone();
    let live = async move {
        tokio::join!(
            beat_until_over(&engine),
            write_notes_until_over(&engine),
            upkeep::keep_until_over(&engine)
        );
    };
    #[cfg(bug = "heartbeat_on_handlers")]
    let live = async move {
        let _ = handlers.spawn(live).await;
    };
    std::thread::Builder::new()
        .name("dutiful-heartbeat".into())
        .spawn(move || runtime.block_on(live))
        .map_err(|error| fail(error).into())
}

fn rounds(engine: &Engine) -> Interval {
    let mut tick = tokio::time::interval(WATCH.min(engine.settings.lease / 12));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

async fn beat_until_over(engine: &Arc<Engine>) {
    let mut tick = rounds(engine);
    let mut next_beat = Instant::now() + engine.settings.beat();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = engine.over.cancelled() => return,
        }
        fence_ourselves(engine);
        if Instant::now() >= next_beat {
            next_beat = Instant::now() + beat(engine).await;
            fence_ourselves(engine);
        }
        hear_cancels(engine).await;
        replace_overdue(engine);
    }
}

/// Renews every lease; returns how long until the next beat.
async fn beat(engine: &Engine) -> Duration {
    if cfg!(bug = "no_heartbeat") {
        return engine.settings.beat();
    }
    let fences: Vec<_> = lock(&engine.held).values().map(|one| one.fence).collect();
    let ask = HeartbeatRequest {
        worker: engine.worker,
        fences: fences.clone(),
        lease: engine.settings.lease,
    };
    let sent = BootTime::now();
    let patience = engine.settings.beat();
    let beats = match tokio::time::timeout(patience, engine.store().heartbeat(ask)).await {
        Ok(beats) => beats,
        Err(_) => Err(StoreError::Timeout(patience)),
    };
    match beats {
        Ok(beats) => {
            take_beats(engine, &fences, &beats, sent);
            engine.settings.beat()
        }
        Err(error) => {
            engine.tell_trouble("heartbeat", &error);
            let is_full = matches!(error, StoreError::Full) && cfg!(not(bug = "fences_when_full"));
            if is_full || cfg!(bug = "renewed_by_failure") {
                renew_all(engine, sent);
            }
            // Soon again: a third of the time is left before we fence ourselves.
            engine.settings.beat() / 8
        }
    }
}

fn renew_all(engine: &Engine, at: BootTime) {
    for one in lock(&engine.held).values_mut() {
        one.renewed = at;
    }
}

fn take_beats(engine: &Engine, fences: &[crate::id::Fence], beats: &[Beat], sent: BootTime) {
    let mut lost = Vec::new();
    let mut held = lock(&engine.held);
    for (fence, beat) in fences.iter().zip(beats) {
        let Some(one) = held.get_mut(&fence.id).filter(|one| one.fence == *fence) else { continue };
        match beat.held {
            Held::Yes | Held::Locked => one.renewed = sent,
            Held::Lost if one.attempt.is_some() => lost.extend(one.attempt.clone()),
            // It waits for a slot, which finds out so; or for its end to be written.
            Held::Lost => {
                held.remove(&fence.id);
                continue;
            }
        }
        if let (true, Some(attempt)) = (beat.cancel, &one.attempt) {
            attempt.ask_to_stop(Stop::Cancelled);
        }
    }
    drop(held);
    for attempt in lost {
        // A completion in the user's own transaction takes the lease away too, rightly.
        if !attempt.within.load(std::sync::atomic::Ordering::SeqCst) {
            attempt.ask_to_stop(Stop::Lost);
        }
    }
}

/// Cancels what we could not renew in time, before the lease can end at the store.
fn fence_ourselves(engine: &Engine) {
    if cfg!(bug = "no_self_fence") {
        return;
    }
    let now = BootTime::now();
    let late: Vec<Arc<Attempt>> = {
        let limit = engine.settings.self_fence();
        let held = lock(&engine.held);
        let late = held.values().filter(|one| now.since(one.renewed) > limit);
        late.filter_map(|one| one.attempt.clone()).collect()
    };
    let fresh: Vec<_> = late.iter().filter(|one| one.stopping() != Stop::Lost).collect();
    if fresh.is_empty() {
        return;
    }
    engine.observers.tell(&Event::SelfFenced { leases: fresh.len() });
    for attempt in fresh {
        attempt.ask_to_stop(Stop::Lost);
    }
}

async fn hear_cancels(engine: &Engine) {
    if lock(&engine.held).is_empty() {
        return;
    }
    // A failure here is a failure of the next heartbeat too, which tells of it.
    // It must not hold up the next beat either.
    let asked = engine.store().cancel_requests(engine.worker);
    let Ok(Ok(ids)) = tokio::time::timeout(WATCH, asked).await else { return };
    let held = lock(&engine.held);
    for id in ids {
        if let Some(attempt) = held.get(&id).and_then(|one| one.attempt.as_ref()) {
            attempt.ask_to_stop(Stop::Cancelled);
        }
    }
}

/// Writes what running handlers said, now and then, so that others can watch them. In rounds of its
/// own: a write waits its turn behind others, and must not hold up the next beat.
async fn write_notes_until_over(engine: &Engine) {
    let mut tick = rounds(engine);
    let rounds = async {
        loop {
            tick.tick().await;
            write_notes(engine).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = engine.over.cancelled() => {}
    }
}

async fn write_notes(engine: &Engine) {
    let attempts = engine.attempts();
    let said = attempts.iter().filter_map(|one| Some((one, one.notes.unwritten(one.fence)?)));
    let (attempts, notes): (Vec<_>, Vec<_>) = said.unzip();
    if notes.is_empty() {
        return;
    }
    // What may or may not be written is written again, or with the end.
    if engine.client.call(engine.store().note(notes.clone())).await.is_ok() {
        for (attempt, note) in attempts.into_iter().zip(&notes) {
            attempt.notes.written(note);
        }
    }
}

/// Writes the timeout of handlers that neither yield nor end, and starts other slots for theirs.
fn replace_overdue(engine: &Arc<Engine>) {
    for attempt in engine.attempts() {
        let ran = attempt.started.elapsed();
        if ran < attempt.timeout.saturating_add(OVERDUE) {
            continue;
        }
        let Some(entry) = engine.registry.get(&attempt.job_type) else { continue };
        if !attempt.end() {
            continue;
        }
        attempt.ask_to_stop(Stop::TimedOut);
        engine.observers.tell(&Event::Overdue { run: attempt.run(), ran });
        lock(&engine.unleased).remove(&attempt.fence);
        engine.push_end_of(&attempt, ran, finish::overdue(&attempt, entry.retry));
        let at = execute::leave_for(engine, &attempt);
        execute::start_slots(engine, at);
        engine.room.notify_one();
    }
}
