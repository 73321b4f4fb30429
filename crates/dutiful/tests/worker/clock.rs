//! A clock that somebody sets while workers run: to another hour, to another age, and back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dutiful::store::{ClaimRequest, Lane};
use dutiful::{
    Client, Clock, Context, Job, JobId, Name, Result, State, Timestamp, Worker, WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::watch::*;

const LEASE: Duration = Duration::from_millis(1500);
/// When the clock begins: 2026-11-23T18:00:00Z.
const START: Timestamp = Timestamp::from_us(1_795_456_800_000_000);
/// The clock stays where somebody set it for this long …
const AWAY: Duration = Duration::from_millis(600);
/// … and this long after it is right again, beside what dead workers held, nothing waits any more.
const BACK_MAX: Duration = Duration::from_secs(5);

/// A clock that goes on by itself, at the pace of the machine's.
struct Ticking {
    clock: Clock,
    /// What it is ahead of the right time, in µs.
    ahead: Arc<AtomicI64>,
    over: Arc<AtomicBool>,
}

impl Ticking {
    fn start() -> Self {
        let clock = Clock::manual(START);
        let (ahead, over) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let theirs = (clock.clone(), ahead.clone(), over.clone());
        let begun = Instant::now();
        std::thread::spawn(move || {
            let (clock, ahead, over) = theirs;
            while !over.load(Ordering::SeqCst) {
                let us = START.plus(begun.elapsed()).us();
                clock.set(Timestamp::from_us(us.saturating_add(ahead.load(Ordering::SeqCst))));
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { clock, ahead, over }
    }

    /// Sets it to another time, from which it goes on.
    async fn set(&self, to: Option<Timestamp>) {
        let ahead = to.map_or(0, |to| to.us() - START.us());
        self.ahead.store(ahead, Ordering::SeqCst);
        let from = to.unwrap_or(START);
        let near = Duration::from_secs(600);
        let is_there = |now: Timestamp| from <= now && now.since(from) < near;
        while !is_there(self.clock.now()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

#[derive(Serialize, Deserialize)]
struct Orphan {}

impl Job for Orphan {
    const TYPE: &'static str = "orphan";
    const QUEUE: &'static str = "orphans";
}

/// How often each job was done.
type Done = Mutex<HashMap<JobId, u32>>;

fn note(done: &Done, id: JobId) {
    *done.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default() += 1;
}

async fn work(task: Task, cx: Context<Done>) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(task.n.unsigned_abs())).await;
    note(&cx.app, cx.id());
    Ok(())
}

async fn adopt(_: Orphan, cx: Context<Done>) -> Result<()> {
    note(&cx.app, cx.id());
    Ok(())
}

/// Enqueues a job that somebody claims who is never heard of again.
async fn orphan(client: &Client) -> std::result::Result<JobId, dutiful::Error> {
    let id = client.enqueue(Orphan {}).await?.id;
    let queue = Name::new("queue", "orphans").expect("a name");
    let ask = ClaimRequest {
        worker: WorkerId(77),
        lanes: vec![Lane { queue, limit: 1, at_most_once: 0 }],
        types: Arc::new([Name::new("type", "orphan").expect("a name")].into()),
        lease: LEASE,
        limit: 1,
        bytes: usize::MAX,
        crashed: 1,
    };
    client.store().claim(ask).await?;
    Ok(id)
}

async fn are_done(client: &Client, ids: &[JobId]) -> bool {
    for id in ids {
        if show(client, *id).await.state != State::Completed {
            return false;
        }
    }
    true
}

/// The jobs of a jump and how long the last took, or where they stood when the time was up.
type Jumped = std::result::Result<(Vec<JobId>, Duration), Vec<State>>;

/// Sets the clock while jobs run, are enqueued and orphaned; all are done soon after it is right.
async fn jump(
    what: &str,
    to: Timestamp,
    ticking: &Ticking,
    client: &Client,
    done: &Arc<Done>,
) -> std::result::Result<Jumped, Box<dyn std::error::Error>> {
    // Longer than the clock is away, and than a lease.
    let mut jobs = vec![client.enqueue(Task { n: 1500 }).await?.id, orphan(client).await?];
    tokio::time::sleep(Duration::from_millis(100)).await;
    ticking.set(Some(to)).await;
    jobs.extend([client.enqueue(Task { n: 0 }).await?.id, orphan(client).await?]);
    client.stats().await?;
    tokio::time::sleep(AWAY).await;
    ticking.set(None).await;
    let back = Instant::now();
    // Nobody has served their queue so far, or there would be no orphans.
    let adopts = Worker::new(client, done.clone()).job(adopt).lease(LEASE).until_empty(true);
    let adopts = tokio::spawn(adopts.run());
    jobs.push(client.enqueue(Task { n: 1 }).await?.id);
    jobs.push(client.enqueue(Task { n: 1 }).delay(Duration::from_millis(200)).await?.id);
    while !are_done(client, &jobs).await {
        let waited = back.elapsed();
        if waited > BACK_MAX + LEASE * 2 {
            let mut states = Vec::new();
            for id in &jobs {
                states.push(show(client, *id).await.state);
            }
            return Ok(Err(states));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(adopts.await??.completed, 2, "{what}: both orphans");
    let took = back.elapsed();
    Ok(Ok((jobs, took)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_and_set_right_stalls_nobody_and_repeats_nothing() -> Kept {
    let dir = tempfile::tempdir()?;
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    let (ticking, watch) = (Ticking::start(), Watch::new());
    let client = Client::builder().clock(ticking.clock.clone()).connect(&url).await?;
    let done = Arc::new(Done::default());
    let worker = Worker::new(&client, done.clone()).job(work).queue("default", 8);
    let worker = worker.lease(LEASE).observer(watch.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let day = Duration::from_secs(24 * 3600);
    let mut jobs = Vec::new();
    for (what, to) in [
        ("an hour back", START.minus(day / 24)),
        ("a day on", START.plus(day)),
        ("to 1970", Timestamp::from_us(0)),
        ("to 2038", Timestamp::from_us(2_147_483_648_000_000)),
        ("to the end of 9999", Timestamp::MAX),
    ] {
        let jumped = jump(what, to, &ticking, &client, &done).await?;
        if watch.count("self-fenced") > 0 {
            println!("skipped: this machine stood still for longer than a lease allows");
            return Ok(());
        }
        let Ok((theirs, took)) = jumped else { panic!("{what}: {jumped:?} in the end") };
        println!("{what}: all was done {took:?} after the clock was right again");
        jobs.extend(theirs);
    }
    handle.stop();
    let report = running.await??;
    let orphans = jobs.len() / 3;
    assert_eq!(report.completed as usize, jobs.len() - orphans, "{:?}", watch.lines());
    assert_eq!(report.failed, 0, "{:?}", watch.lines());
    println!("{} leases were lost while the clock was ahead", report.lost);
    let done = done.lock().unwrap_or_else(PoisonError::into_inner);
    let again: u32 = done.values().map(|times| times - 1).sum();
    assert!(done.len() == jobs.len() && u64::from(again) <= report.lost, "{again} done again");
    Ok(())
}
