//! Calls that are dropped before their answer: whatever was asked is done whole or not at all, and
//! nobody else notices.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::harness::*;

promises![
    a_call_dropped_at_any_poll_leaves_everything_whole,
    a_claim_whose_answer_was_dropped_is_rescued,
    chunks_of_a_dropped_enqueue_are_whole,
    a_connection_dropped_half_open_harms_nobody,
];

/// No call here is polled more often before it is ready.
const POLLS_MAX: usize = 40;
/// A lock that is held no longer than a commit takes is free by then, even on a busy machine.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Where a call is dropped: after so many polls, at once or when it was woken to go on.
#[derive(Clone, Copy, Debug)]
struct When {
    polls: usize,
    woken: bool,
}

/// Polls a future so many times and drops it; returns its value if it was ready before that.
async fn poll_then_drop<T>(future: impl Future<Output = T>, when: When) -> Option<T> {
    let mut future = pin!(future);
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        if polls >= when.polls {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if polls >= when.polls && !when.woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What a call works on.
struct Props {
    pending: JobId,
    dead: JobId,
    active: Claimed,
    term: i64,
    queue: Name,
}

/// What the calls are made of.
struct Parts {
    store: Arc<dyn Store>,
    client: Client,
    finish: Finish,
    worker: WorkerId,
    ask: ClaimRequest,
    pending: JobId,
    dead: JobId,
    term: i64,
    fence: Fence,
    queue: Name,
}

impl Parts {
    fn of(lab: &Lab, props: &Props) -> Self {
        let lane = Lane { queue: props.queue.clone(), limit: 3, at_most_once: 3 };
        Self {
            store: lab.store.clone(),
            client: lab.client.clone(),
            finish: lab.finish(&props.active, End::Completed(None)),
            worker: lab.worker,
            ask: ClaimRequest { lanes: vec![lane], ..lab.ask(3) },
            pending: props.pending,
            dead: props.dead,
            term: props.term,
            fence: props.active.fence,
            queue: props.queue.clone(),
        }
    }
}

type Call = Pin<Box<dyn Future<Output = ()>>>;

/// Makes calls of expressions; what they answer is looked at by other promises.
macro_rules! calls {
    ($($s:ident => $asked:expr),* $(,)?) => {
        &[$(|$s: Parts| Box::pin(async move { let _ = $asked.await; })),*]
    };
}

const CALLS: &[fn(Parts) -> Call] = calls![
    s => s.store.enqueue(vec![Record { queue: s.queue, ..job() }, job()]),
    s => s.store.claim(s.ask),
    s => s.store.finish(s.worker, vec![s.finish]),
    s => s.store.heartbeat(beat(s.worker, s.fence)),
    s => s.store.cancel(vec![s.pending, s.dead, s.fence.id]),
    s => s.store.retry(vec![s.dead]),
    s => s.store.discard(vec![s.dead]),
    s => s.store.reschedule(vec![s.pending], START.plus(LEASE)),
    s => s.store.delete(vec![s.pending, s.dead]),
    s => s.store.pause(s.queue, true),
    s => s.store.register(card()),
    s => s.store.leave(WorkerId(5)),
    s => s.store.lead(WorkerId(900), LEASE),
    s => s.store.abdicate(WorkerId(901), s.term),
    s => s.store.promote(s.term, 1000),
    s => s.store.rescue(s.term, at_once()),
    s => s.store.prune(s.term, Retention::default()),
    s => s.store.fold(s.term),
    s => s.store.once(once(s.fence)),
    s => s.store.once_store("k".into(), s.fence, Some(b"1".to_vec())),
    s => s.store.migrate(None),
    s => s.client.enqueue_raw("task", "{}").unique("k"),
    s => s.client.change_many(dutiful::Verb::Retry, vec![s.dead; 1500]),
    s => s.client.cancel(s.pending),
    s => s.client.resume(s.queue.as_str()),
    s => s.store.cancel_requests(s.worker),
    s => s.store.held(vec![s.fence]),
    s => s.store.show(s.pending),
    s => s.store.list(Filter::default()),
    s => s.store.queues(),
    s => s.store.stats(),
    s => s.store.types(vec![s.queue]),
    s => s.store.doorbell(0),
    s => s.client.job(s.dead),
    s => s.client.jobs(Filter::default()),
    s => s.client.stats(),
];

fn beat(worker: WorkerId, fence: Fence) -> HeartbeatRequest {
    HeartbeatRequest { worker, fences: vec![fence], lease: LEASE }
}

fn card() -> WorkerCard {
    let (queues, types) = (vec![(name("q"), 3)], vec![TypeDefaults::unknown(name("t"))]);
    WorkerCard {
        pid: std::process::id(),
        worker: WorkerId(5),
        name: "w".into(),
        queues,
        types,
        quiet: false,
    }
}

fn at_once() -> RescueRequest {
    RescueRequest { crashes_max: 3, limit: 10, patience: Duration::ZERO }
}

fn once(fence: Fence) -> OnceRequest {
    OnceRequest { key: "k".into(), fence, ttl: LEASE }
}

async fn props(lab: &Lab, n: usize) -> Props {
    let queue = name(&format!("dropped-{n}"));
    let dead = lab.in_state(State::Dead).await;
    let active = lab.active().await;
    let pending = lab.put_one(Record { queue: queue.clone(), ..job() }).await;
    Props { pending, dead, active, term: lab.term().await, queue }
}

const HALF_DONE: &str = "
    WITH places AS (
        SELECT id FROM dutiful_ready UNION ALL SELECT id FROM dutiful_scheduled
        UNION ALL SELECT id FROM dutiful_lease UNION ALL SELECT id FROM dutiful_done
        UNION ALL SELECT id FROM dutiful_dead)
    SELECT (SELECT count(*) FROM (SELECT id FROM places GROUP BY id HAVING count(*) <> 1))
         + (SELECT count(*) FROM dutiful_job WHERE id NOT IN (SELECT id FROM places))
         + (SELECT count(*) FROM places WHERE id NOT IN (SELECT id FROM dutiful_job))";

/// Looks at the tables with the write lock, which must be free at once, and asks the store.
async fn is_whole(lab: &Lab, what: &str) -> Kept {
    if let Some(path) = lab.path() {
        let mut raw = rusqlite::Connection::open(path).expect("the file opens");
        raw.busy_timeout(LOCK_WAIT).expect("a pragma");
        let lock = rusqlite::TransactionBehavior::Immediate;
        let tx = raw.transaction_with_behavior(lock);
        let tx = tx.unwrap_or_else(|error| panic!("{what}: somebody keeps the lock: {error}"));
        let half: i64 = tx.query_row(HALF_DONE, [], |row| row.get(0)).expect("it is counted");
        assert_eq!(half, 0, "{what}: jobs stand in no place, or in two");
    }
    lab.store.stats().await?;
    let id = lab.put_one(job()).await;
    assert_eq!(lab.store.delete(vec![id]).await?, [Change::Done], "{what}");
    Ok(())
}

async fn a_call_dropped_at_any_poll_leaves_everything_whole(lab: Lab) -> Kept {
    let mut rounds = 0;
    for (at, make) in CALLS.iter().enumerate() {
        let drops = (0..POLLS_MAX).flat_map(|polls| [(polls, false), (polls, true)]);
        let mut answered = false;
        for (polls, woken) in drops {
            rounds += 1;
            let call = make(Parts::of(&lab, &props(&lab, rounds).await));
            let when = When { polls, woken };
            answered = poll_then_drop(call, when).await.is_some();
            is_whole(&lab, &format!("call {at} dropped at {when:?}")).await?;
            if answered {
                break;
            }
        }
        assert!(answered, "call {at} comes to its end in {POLLS_MAX} polls");
    }
    assert!(rounds > CALLS.len() * 2, "only {rounds} drops");
    Ok(())
}

/// Waits for what nobody waits for any more: a server does it on another connection.
async fn becomes_active(lab: &Lab, id: JobId) -> bool {
    let begun = std::time::Instant::now();
    while lab.state(id).await != Some(State::Active) {
        if begun.elapsed() > LOCK_WAIT {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

async fn a_claim_whose_answer_was_dropped_is_rescued(lab: Lab) -> Kept {
    for polls in 1..4 {
        let ids = lab.put(5).await;
        let when = When { polls, woken: false };
        let _ = poll_then_drop(lab.store.claim(lab.ask(5)), when).await;
        // Behind the claim in the line.
        let term = lab.term().await;
        for id in &ids {
            assert!(becomes_active(&lab, *id).await, "it was claimed all the same");
        }
        lab.clock.advance(LEASE + Duration::from_secs(1));
        let term = if lab.term().await == term { term } else { lab.term().await };
        assert_eq!(lab.store.rescue(term, at_once()).await?.len(), 5);
        let again = lab.claim(5).await;
        assert_eq!(again.len(), 5, "somebody else does them");
        for job in &again {
            assert_eq!((job.fence.attempt, job.failures), (2, 0), "and nothing is charged");
            lab.end(job, End::Completed(None)).await;
        }
    }
    Ok(())
}

async fn chunks_of_a_dropped_enqueue_are_whole(lab: Lab) -> Kept {
    let one = || dutiful::NewJob {
        job_type: "task".into(),
        payload: b"{}".to_vec(),
        settings: dutiful::Settings::default(),
    };
    for polls in 0..8 {
        let before = lab.store.stats().await?.totals.pending;
        let call = lab.client.enqueue_many((0..3000).map(|_| one()).collect());
        let _ = poll_then_drop(call, When { polls, woken: polls % 2 == 0 }).await;
        is_whole(&lab, "enqueue_many").await?;
        let stored = lab.store.stats().await?.totals.pending - before;
        assert_eq!(stored % 1000, 0, "{stored} jobs of chunks of 1000");
    }
    Ok(())
}

async fn a_connection_dropped_half_open_harms_nobody(lab: Lab) -> Kept {
    for polls in 0..4 {
        for woken in [false, true] {
            let when = When { polls, woken };
            let opening = async { lab.reopen().await };
            let _ = poll_then_drop(opening, when).await;
            is_whole(&lab, &format!("a connection dropped at {when:?}")).await?;
        }
    }
    let _ = poll_then_drop(lab.client.close(), When { polls: 1, woken: false }).await;
    let closed = lab.client.close().await;
    assert!(closed.is_ok() || lab.store.stats().await.is_err(), "{closed:?}");
    Ok(())
}
