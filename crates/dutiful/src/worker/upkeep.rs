//! Upkeep: the chores of whoever leads, one elected process for a store.
//!
//! Leadership is a row in the store with a term and an end. Every chore names the term and is
//! refused once another process leads, so a leader that slept through its term changes nothing.
//! Losing the leader costs at most one `leader_ttl` of waiting; no chore is needed for safety.

use std::time::Duration;

use tokio::time::Instant;

use super::engine::{Engine, backoff};
use crate::error::StoreError;
use crate::store::{Leadership, RescueRequest};
use crate::telemetry::{Event, Run};

/// A scheduled job is promoted at most this late.
const PROMOTE: Duration = Duration::from_millis(250);
/// Most jobs in one promotion.
const PROMOTE_MAX: usize = 1000;
/// A chore that is slow (an old snapshot keeps dead rows in its way) rests for so many times as
/// long as it took, so that it takes a small part of the server; a rescue no longer than a lease.
const RESCUE_REST: u32 = 20;
const PROMOTE_REST: u32 = 4;
/// Most leases in one rescue.
const RESCUE_MAX: usize = if cfg!(bug = "rescue_trickle") { 10 } else { 1000 };
/// How often the tally is folded.
const FOLD: Duration = Duration::from_secs(5);
/// How often retention looks.
const PRUNE: Duration = Duration::from_secs(30);
/// Rows after which a prune, or a fold, goes on soon.
const PRUNE_MORE: usize = 1000;
const FOLD_MORE: usize = 1000;
/// How soon: others want to write too.
const PAUSE: Duration = Duration::from_millis(20);

/// When each chore is next to be done.
struct Plan {
    rescue: Instant,
    fold: Instant,
    prune: Instant,
}

pub(super) async fn keep_until_over(engine: &Engine) {
    let mut tries = 0;
    while !engine.over.is_cancelled() {
        let wait = match engine.store().lead(engine.worker, engine.settings.leader_ttl()).await {
            Ok(Leadership { leader, term }) if leader == engine.worker => {
                tries = 0;
                match lead(engine, term).await {
                    Ok(()) => Duration::ZERO,
                    Err(error) => trouble(engine, &error, &mut tries),
                }
            }
            Ok(_) => engine.settings.leader_ttl() / 3,
            Err(error) => trouble(engine, &error, &mut tries),
        };
        sleep_or_over(engine, wait).await;
    }
}

fn trouble(engine: &Engine, error: &StoreError, tries: &mut u32) -> Duration {
    if !matches!(error, StoreError::NotLeader(_)) {
        engine.tell_trouble("upkeep", error);
    }
    *tries += 1;
    backoff(*tries)
}

/// Does the chores while we lead; ends when we do not, or the worker is over.
async fn lead(engine: &Engine, term: i64) -> Result<(), StoreError> {
    let ttl = engine.settings.leader_ttl();
    let mut renew = Instant::now() + ttl / 3;
    let now = Instant::now();
    let mut plan = Plan { rescue: now, fold: now + FOLD, prune: now + PRUNE / 6 };
    loop {
        if engine.over.is_cancelled() {
            // The store may be gone already; then the term ends by itself.
            return engine.store().abdicate(engine.worker, term).await;
        }
        if Instant::now() >= renew {
            let leads = engine.store().lead(engine.worker, ttl).await?;
            if leads != (Leadership { leader: engine.worker, term }) {
                return Ok(());
            }
            renew = Instant::now() + ttl / 3;
        }
        let wait = chores(engine, term, &mut plan).await?;
        let next = renew.min(plan.rescue).min(plan.fold).min(plan.prune);
        let wait = wait.min(next.saturating_duration_since(Instant::now()));
        sleep_or_over(engine, wait).await;
    }
}

/// Does what is due; returns how long promotion can wait.
async fn chores(engine: &Engine, term: i64, plan: &mut Plan) -> Result<Duration, StoreError> {
    let store = engine.store();
    if Instant::now() >= plan.rescue {
        let began = Instant::now();
        rescue(engine, term).await?;
        let rest = (began.elapsed() * RESCUE_REST).min(engine.settings.lease);
        plan.rescue = Instant::now() + engine.settings.sweep().max(rest);
    }
    if Instant::now() >= plan.fold {
        let folded = store.fold(term).await?;
        let pause = if folded >= FOLD_MORE { PAUSE } else { FOLD };
        plan.fold = Instant::now() + pause;
    }
    if Instant::now() >= plan.prune {
        let gone = store.prune(term, engine.settings.retention).await?;
        let pause = if gone >= PRUNE_MORE { PAUSE } else { PRUNE };
        plan.prune = Instant::now() + pause;
    }
    let began = Instant::now();
    let promoted = store.promote(term, PROMOTE_MAX).await?;
    if promoted.moved >= PROMOTE_MAX {
        return Ok(Duration::ZERO);
    }
    let rest = began.elapsed() * PROMOTE_REST;
    Ok(promoted.next.unwrap_or(PROMOTE).clamp(Duration::from_millis(1), PROMOTE).max(rest))
}

async fn rescue(engine: &Engine, term: i64) -> Result<(), StoreError> {
    let ask = RescueRequest {
        crashes_max: engine.settings.crashes_max,
        limit: RESCUE_MAX,
        patience: engine.settings.patience(),
    };
    loop {
        let rescued = engine.store().rescue(term, ask).await?;
        for one in &rescued {
            let run = Run { fence: one.fence, queue: &one.queue, job_type: &one.job_type };
            engine.observers.tell(&Event::Rescued { run, crashes: one.crashes, dead: one.dead });
        }
        if rescued.len() < RESCUE_MAX || cfg!(bug = "rescue_trickle") {
            return Ok(());
        }
    }
}

async fn sleep_or_over(engine: &Engine, wait: Duration) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = engine.over.cancelled() => {}
    }
}
