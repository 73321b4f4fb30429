//! The loop that claims: how much of which queue, when, and what to do when there is nothing.
//!
//! A claim asks for what fits: the free slots of each queue and, where jobs are short, some more
//! (the prefetch), so that slots do not wait for a round trip. What is claimed ahead is under lease
//! and is given back if it waits for long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::{Buffered, Engine, Held, Pool, backoff, lock};
use super::{execute, shutdown};
use crate::clock::BootTime;
use crate::context::Stop;
use crate::id::Name;
use crate::inspect::Filter;
use crate::job::Delivery;
use crate::store::{ClaimRequest, Claimed, End, Lane};
use crate::telemetry::{Event, Run};

/// Most jobs of one queue that are claimed ahead.
const AHEAD_MAX: usize = 2000;
/// Work for about this long is claimed ahead …
const AHEAD_FOR: Duration = Duration::from_millis(20);
/// … and what waited here for this long is given back to others.
const AHEAD_WAITS_MAX: Duration = Duration::from_secs(1);
/// One more is claimed ahead for so many runs that were seen, so that one quick job at the start
/// does not speak for thousands that follow.
const RUNS_PER_AHEAD: u64 = 4;
/// Most jobs in one claim; enough for many queues at a time.
const CLAIM_MAX: usize = 2000;
/// To look at a queue costs as much as to claim some jobs: where there are more jobs than a claim
/// holds, some of the queues are asked for so many each, and the others after them.
const SHARE_MIN: usize = 20;
/// Most bytes of payload in one claim.
const CLAIM_BYTES: usize = 8 * 1024 * 1024;
/// Most leases held at a time; ends that cannot be written count too.
const HELD_MAX: usize = 10_000;

pub(super) async fn claim_until_stopped(engine: Arc<Engine>) {
    let (mut tries, mut quiet, mut round) = (0, false, Round::default());
    while !engine.stop.is_cancelled() {
        give_back_stale(&engine);
        heed(&engine, &mut quiet).await;
        if quiet {
            wait_for_room(&engine).await;
            continue;
        }
        let Some(ask) = plan(&engine, &mut round) else {
            wait_for_room(&engine).await;
            continue;
        };
        let asked = ask.clone();
        // Listen before looking, so that a job that arrives in between is not slept over.
        let heard = engine.store().doorbell(0).await;
        let (sent, asking) = (BootTime::now(), Instant::now());
        let answer = engine.store().claim(ask).await;
        if let Ok(jobs) = &answer {
            let (jobs, took) = (jobs.len(), asking.elapsed());
            engine.observers.tell(&Event::ClaimAnswered { jobs, took });
        }
        round.full = answer.as_ref().is_ok_and(|jobs| jobs.len() >= asked.limit);
        match answer {
            // The queues whose turn it is not may have some.
            Ok(jobs) if jobs.is_empty() && round.partial => tries = 0,
            Ok(jobs) if jobs.is_empty() => {
                tries = 0;
                // Where one that crashed a worker runs, those that wait for it were not asked for.
                let all = asked.crashed > 0;
                if all && engine.settings.until_empty && nothing_left(&engine).await {
                    engine.stop.cancel();
                } else {
                    wait_for_work(&engine, heard, &asked).await;
                }
            }
            Ok(jobs) => {
                tries = 0;
                take_in(&engine, jobs, sent);
            }
            Err(error) => {
                engine.tell_trouble("claim", &error);
                tries += 1;
                sleep_or_stop(&engine, backoff(tries)).await;
            }
        }
    }
}

/// Takes note of what the worker was told: other slots, to be quiet, or to go on.
async fn heed(engine: &Arc<Engine>, quiet: &mut bool) {
    let (told, slots) = (engine.control.is_quiet(), engine.control.take_slots());
    if told == *quiet && slots.is_empty() {
        return;
    }
    *quiet = told;
    for (at, pool) in engine.pools.iter().enumerate() {
        if let Some(slots) = slots.get(&pool.queue) {
            pool.slots.store(*slots, Ordering::SeqCst);
            execute::start_slots(engine, at);
        }
        // What lies ahead of no slot is for others.
        if told || pool.slots() == 0 {
            shutdown::release_buffered(engine, pool, false);
        }
    }
    if let Err(error) = engine.register().await {
        // Others see the old card; what was told is heeded all the same.
        engine.tell_trouble("register", &error);
    }
}

/// Takes queues by turns while each claim is full.
#[derive(Default)]
struct Round {
    /// True when the last claim got all that it asked for.
    full: bool,
    /// True when it left queues out.
    partial: bool,
    /// The queue behind which the next begins.
    after: Option<Name>,
}

impl Round {
    /// Leaves as many lanes as are worth a claim of this size; the next begins behind them.
    fn take_turn(&mut self, lanes: &mut Vec<(u32, Lane)>, budget: usize) {
        let wanted: usize = lanes.iter().map(|(_, lane)| lane.limit).sum();
        let most = (budget / SHARE_MIN).max(1);
        // Those of more weight are to get more than others of each claim, so all must be there.
        let alike = lanes.iter().all(|(weight, _)| *weight == lanes[0].0);
        self.partial = self.full && wanted > budget && lanes.len() > most && alike;
        if self.partial {
            lanes.truncate(most);
            self.after = lanes.last().map(|(_, lane)| lane.queue.clone());
        }
    }
}

/// Says what to claim now, or `None` when everything is full.
fn plan(engine: &Engine, round: &mut Round) -> Option<ClaimRequest> {
    let held = lock(&engine.held).len();
    let total = engine.settings.slots.unwrap_or(usize::MAX);
    let in_use: usize = engine.pools.iter().map(|p| p.running() + p.buffered()).sum();
    let capped = engine.settings.slots.is_some();
    let budget = CLAIM_MAX.min(HELD_MAX.saturating_sub(held)).min(total.saturating_sub(in_use));
    let may_prefetch = !capped && !engine.registry.has_at_most_once();
    let mut lanes: Vec<(u32, Lane)> = Vec::new();
    let after = round.after.as_ref().filter(|_| round.full);
    let first = after.map_or(0, |queue| engine.pool_of(queue) + 1);
    let (before, after) = engine.pools.split_at(first);
    for pool in after.iter().chain(before) {
        let (running, buffered) = (pool.running(), pool.buffered());
        let idle = pool.slots().saturating_sub(running);
        let ahead = if may_prefetch { prefetch(pool) } else { 0 };
        let limit = (idle + ahead).saturating_sub(buffered);
        // While enough lies ahead, a small claim would only cost a commit.
        if limit == 0 || (buffered > 0 && buffered * 2 > ahead) {
            continue;
        }
        let at_most_once = idle.saturating_sub(buffered);
        lanes.push((pool.weight, Lane { queue: pool.queue.clone(), limit, at_most_once }));
    }
    if lanes.is_empty() || budget == 0 {
        return None;
    }
    if !engine.settings.strict {
        round.take_turn(&mut lanes, budget);
    }
    share(&mut lanes, budget, engine.settings.strict);
    // Looked at last: it reads all that is held, and most plans end before.
    let crashed = lock(&engine.held).values().any(|one| one.crashed);
    Some(ClaimRequest {
        worker: engine.worker,
        lanes: lanes.into_iter().map(|(_, lane)| lane).collect(),
        types: engine.types.clone(),
        lease: engine.settings.lease,
        limit: budget,
        bytes: CLAIM_BYTES,
        crashed: if cfg!(bug = "crashed_together") { usize::MAX } else { usize::from(!crashed) },
    })
}

/// How many jobs are claimed ahead: what the slots work off in a moment, judged by the runs so far.
fn prefetch(pool: &Pool) -> usize {
    let ran = pool.ran_us.load(Ordering::Relaxed).max(1);
    let moment = AHEAD_FOR.as_micros() as u64;
    if ran > moment {
        return 0;
    }
    let known = pool.runs.load(Ordering::Relaxed) / RUNS_PER_AHEAD;
    (pool.slots() as u64).saturating_mul(moment / ran).min(known).min(AHEAD_MAX as u64) as usize
}

/// Shares a budget that is too small for all: strictly in order, or by weight, each at least one.
fn share(lanes: &mut [(u32, Lane)], budget: usize, strict: bool) {
    let wanted: usize = lanes.iter().map(|(_, lane)| lane.limit).sum();
    if strict || wanted <= budget {
        return;
    }
    let weights: u64 = lanes.iter().map(|(weight, _)| u64::from(*weight)).sum();
    for (weight, lane) in lanes.iter_mut() {
        let part = (budget as u64).saturating_mul(u64::from(*weight)) / weights.max(1);
        lane.limit = lane.limit.min((part as usize).max(1));
    }
    // The first lanes get what is left over, so the first is drawn by weight too.
    let mut draw = fastrand::u64(..weights.max(1));
    let first = lanes.iter().position(|(weight, _)| match draw.checked_sub(u64::from(*weight)) {
        Some(rest) => {
            draw = rest;
            false
        }
        None => true,
    });
    lanes.rotate_left(first.unwrap_or(0));
}

/// Puts claimed jobs under our care and starts slots for them.
fn take_in(engine: &Arc<Engine>, jobs: Vec<Claimed>, sent: BootTime) {
    let since = Instant::now();
    let mut held = lock(&engine.held);
    for job in &jobs {
        if job.delivery == Delivery::AtMostOnce {
            continue;
        }
        let crashed = job.crashes > 0;
        let one = Held { fence: job.fence, renewed: sent, crashed, attempt: None };
        // An attempt whose lease we lost and whose handler goes on is watched over all the same.
        let before = held.insert(job.fence.id, one).and_then(|before| before.attempt);
        if let Some(stale) = before.filter(|stale| !stale.ended.load(Ordering::SeqCst)) {
            stale.ask_to_stop(Stop::Lost);
            lock(&engine.unleased).insert(stale.fence, stale);
        }
    }
    drop(held);
    if !engine.observers.is_empty() {
        for job in &jobs {
            let run = Run { fence: job.fence, queue: &job.queue, job_type: &job.job_type };
            engine.observers.tell(&Event::Claimed { run });
        }
    }
    let stopping = engine.stop.is_cancelled();
    for job in jobs {
        if stopping && job.delivery != Delivery::AtMostOnce {
            engine.push_end(job.unstarted(End::Released));
            continue;
        }
        let at = engine.pool_of(&job.queue);
        let mut buffer = lock(&engine.pools[at].buffer);
        // What crashed a worker, or has no second chance, does not wait behind others.
        if job.crashes > 0 || job.delivery == Delivery::AtMostOnce {
            buffer.push_front(Buffered { job, since });
        } else {
            buffer.push_back(Buffered { job, since });
        }
    }
    for at in 0..engine.pools.len() {
        execute::start_slots(engine, at);
    }
}

/// Releases what was claimed ahead but found no slot for a while.
fn give_back_stale(engine: &Engine) {
    for pool in &engine.pools {
        let mut buffer = lock(&pool.buffer);
        let stale = |one: &Buffered| {
            one.since.elapsed() > AHEAD_WAITS_MAX && one.job.delivery != Delivery::AtMostOnce
        };
        while buffer.front().is_some_and(stale) {
            let Some(one) = buffer.pop_front() else { break };
            engine.push_end(one.job.unstarted(End::Released));
        }
    }
}

async fn wait_for_room(engine: &Engine) {
    const LOOK_AGAIN: Duration = Duration::from_millis(500);
    tokio::select! {
        () = engine.room.notified() => {}
        () = engine.control.changed.notified() => {}
        () = engine.stop.cancelled() => {}
        () = tokio::time::sleep(LOOK_AGAIN) => {}
    }
}

/// Sleeps until the bell rings, or for a poll with jitter; the bell is only a hint. Room for what
/// was not asked for (a queue that was full) ends the sleep too: no bell rings for it.
async fn wait_for_work(engine: &Engine, heard: u64, asked: &ClaimRequest) {
    let jitter = 0.8 + 0.4 * fastrand::f64();
    let mut poll = engine.settings.poll.mul_f64(jitter);
    if engine.pools.iter().any(|pool| pool.buffered() > 0) {
        poll = poll.min(AHEAD_WAITS_MAX / 2);
    }
    let (rings, poll) = (engine.store().doorbell(heard), tokio::time::sleep(poll));
    tokio::pin!(rings, poll);
    loop {
        tokio::select! {
            _ = &mut rings => return,
            () = &mut poll => return,
            () = engine.stop.cancelled() => return,
            () = engine.control.changed.notified() => return,
            () = engine.room.notified() => {}
        }
        // The last end was written: nothing may be left now.
        let ends = engine.settings.until_empty && is_idle(engine);
        if ends || plan(engine, &mut Round::default()).is_some_and(|now| asks_more(&now, asked)) {
            return;
        }
    }
}

fn asks_more(now: &ClaimRequest, before: &ClaimRequest) -> bool {
    let more = |lane: &Lane| match before.lanes.iter().find(|one| one.queue == lane.queue) {
        Some(one) => one.at_most_once == 0 && lane.at_most_once > 0,
        None => true,
    };
    now.crashed > before.crashed || now.lanes.iter().any(more)
}

async fn sleep_or_stop(engine: &Engine, wait: Duration) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = engine.stop.cancelled() => {}
    }
}

/// True when nothing that was claimed here is still to be run or written.
fn is_idle(engine: &Engine) -> bool {
    lock(&engine.held).is_empty() && engine.running() == 0 && engine.unwritten() == 0
}

/// True when none of our types waits or runs in our queues, here or anywhere.
async fn nothing_left(engine: &Engine) -> bool {
    if !is_idle(engine) {
        return false;
    }
    let Ok(queues) = engine.store().queues().await else { return false };
    let has_live = |pool: &&Pool| {
        let counts = queues.iter().find(|one| one.queue == pool.queue).map(|one| one.counts);
        counts.is_some_and(|n| n.pending + n.scheduled + n.failed + n.active > 0)
    };
    // What is there may be of types that are none of ours.
    for pool in engine.pools.iter().filter(has_live) {
        for job_type in engine.types.iter() {
            let filter = Filter {
                live: true,
                queue: Some(pool.queue.clone()),
                job_type: Some(job_type.clone()),
                limit: Some(1),
                ..Filter::default()
            };
            if !finds_nothing(engine, filter).await {
                return false;
            }
        }
    }
    true
}

/// Looks through all pages: jobs of others may fill the first ones. What is live stays on its page,
/// for pages go by id.
async fn finds_nothing(engine: &Engine, mut filter: Filter) -> bool {
    loop {
        match engine.store().list(filter.clone()).await {
            Ok(page) if !page.jobs.is_empty() => return false,
            Ok(page) if page.next.is_none() => return true,
            Ok(page) => filter.before = page.next,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(names: std::ops::Range<usize>, weight: u32) -> Vec<(u32, Lane)> {
        let lane = |at| Lane {
            queue: Name::new("queue", &format!("q{at}")).expect("a name"),
            limit: 100,
            at_most_once: 0,
        };
        names.map(|at| (weight, lane(at))).collect()
    }

    fn asked(lanes: &[(u32, Lane)]) -> Vec<&str> {
        lanes.iter().map(|(_, lane)| lane.queue.as_str()).collect()
    }

    #[test]
    fn many_full_queues_take_turns_and_few_do_not() {
        let mut round = Round { full: true, ..Round::default() };
        let mut few = lanes(0..5, 1);
        round.take_turn(&mut few, 5 * SHARE_MIN);
        assert_eq!((few.len(), round.partial), (5, false));
        let mut many = lanes(0..8, 1);
        round.take_turn(&mut many, 5 * SHARE_MIN);
        assert_eq!(asked(&many), ["q0", "q1", "q2", "q3", "q4"]);
        assert!(round.partial);
        assert_eq!(round.after.as_ref().map(Name::as_str), Some("q4"), "the next go on behind it");
    }

    #[test]
    fn all_are_asked_when_there_was_room_or_some_weigh_more() {
        let mut round = Round::default();
        let mut many = lanes(0..8, 1);
        round.take_turn(&mut many, 5 * SHARE_MIN);
        assert_eq!((many.len(), round.partial), (8, false), "the last claim was not full");
        round.full = true;
        let mut weighed = [lanes(0..7, 1), lanes(7..8, 3)].concat();
        round.take_turn(&mut weighed, 5 * SHARE_MIN);
        assert_eq!((weighed.len(), round.partial), (8, false));
    }
}
