//! What an attempt comes to: decisions on errors, retry policies, at-most-once, observers.

use std::sync::Arc;
use std::time::Duration;

use dutiful::{
    AttemptOutcome, Client, Clock, Context, DeadReason, Delivery, HandlerError, Job, OrDecide,
    Outcome, Result, Retry, State, Timestamp, Worker,
};
use serde::{Deserialize, Serialize};

use crate::watch::*;

promises![
    an_at_most_once_job_runs_once_even_if_it_fails,
    results_that_are_too_large_are_refused_and_not_retried,
];

/// 2026-11-23T18:00:00Z.
const START: Timestamp = Timestamp::from_us(1_795_456_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Decides by its number, so that each decision has a job.
async fn decide(task: Task, _: Context<()>) -> Result<Outcome> {
    let oops = || HandlerError::msg("oops").with_class("Oops");
    match task.n {
        0 => Ok(Outcome::Done),
        1 => Ok(Outcome::Snooze(HOUR)),
        2 => Ok(Outcome::Discard("no such user".into())),
        3 => Err(oops()),
        4 => Err(HandlerError::retry_after(HOUR, oops())),
        5 => Err(HandlerError::discard(oops())),
        6 => Err(HandlerError::snooze(HOUR, oops())),
        7 => Err(std::io::Error::other("disk").into()),
        8 => "x".parse::<i32>().map(|_| Outcome::Done).or_discard(),
        _ => Err("y".parse::<i32>().expect_err("no number").into()),
    }
}

#[tokio::test]
async fn every_decision_leads_where_it_says() -> Kept {
    let clock = Clock::manual(START);
    let client = Client::builder().clock(clock).connect("sqlite::memory:").await?;
    let ids: Vec<_> =
        client.enqueue_all((0..10).map(|n| Task { n })).await?.iter().map(|s| s.id).collect();
    let watch = Watch::new();
    let worker = Worker::new(&client, ()).job(decide).observer(watch.clone());
    let handle = worker.handle();
    let ends = async {
        watch.hears("completed", 1).await;
        watch.hears("snoozed", 2).await;
        watch.hears("dead", 3).await;
        watch.hears("failed", 4).await;
        handle.stop();
    };
    let (done, ()) = tokio::join!(worker.run(), ends);
    let done = done?;
    assert_eq!((done.completed, done.snoozed, done.dead, done.failed), (1, 2, 3, 4));
    let seen = async |n: usize| show(&client, ids[n]).await;
    assert_eq!(seen(0).await.state, State::Completed);
    for n in [1, 6] {
        let job = seen(n).await;
        assert_eq!((job.state, job.failures), (State::Scheduled, 0), "a snooze is not charged");
        assert_eq!(job.scheduled_for, START.plus(HOUR));
    }
    for (n, class) in [(2, "discarded"), (5, "Oops"), (8, "ParseIntError")] {
        let job = seen(n).await;
        assert_eq!((job.state, job.dead_reason), (State::Dead, Some(DeadReason::Discarded)));
        assert_eq!(job.last_error.map(|e| e.class).as_deref(), Some(class));
    }
    for (n, class) in [(3, "Oops"), (4, "Oops"), (7, "Error"), (9, "ParseIntError")] {
        let job = seen(n).await;
        assert_eq!((job.state, job.failures), (State::Failed, 1));
        assert_eq!(job.last_error.map(|e| e.class).as_deref(), Some(class));
    }
    assert_eq!(seen(4).await.scheduled_for, START.plus(HOUR), "not by the policy");
    assert_eq!(seen(2).await.last_error.map(|e| e.message).as_deref(), Some("no such user"));
    Ok(())
}

macro_rules! policy {
    ($name:ident, $text:literal, $retry:expr) => {
        #[derive(Serialize, Deserialize)]
        struct $name {}
        impl Job for $name {
            const TYPE: &'static str = $text;
            const RETRY: Retry = $retry;
            const MAX_ATTEMPTS: u32 = 4;
        }
    };
}

const SECOND: Duration = Duration::from_secs(1);
policy!(Fixed, "fixed", Retry::fixed(SECOND.saturating_mul(60)));
policy!(Linear, "linear", Retry::linear(SECOND.saturating_mul(60)).without_jitter());
policy!(Doubling, "doubling", Retry::exponential(SECOND.saturating_mul(60)).without_jitter());
policy!(Custom, "custom", Retry::custom(|n| SECOND * n * 7));
policy!(Jittery, "jittery", Retry::exponential(SECOND.saturating_mul(60)).with_jitter());

async fn fail<J: Job>(_: J, _: Context<()>) -> Result<()> {
    Err(HandlerError::msg("oops"))
}

/// Returns how long each retry of a job of this type waits, by the store's clock, and that it dies.
async fn waits<J: Job>(job: J) -> std::result::Result<Vec<u64>, Box<dyn std::error::Error>> {
    let clock = Clock::manual(START);
    let client = Client::builder().clock(clock.clone()).connect("sqlite::memory:").await?;
    let id = client.enqueue(job).await?.id;
    let watch = Watch::new();
    let worker = Worker::new(&client, ()).job(fail::<J>).observer(watch.clone());
    let worker = worker.poll(Duration::from_millis(5));
    let handle = worker.handle();
    let life = async {
        let mut waits = Vec::new();
        for failures in 1..=3 {
            watch.hears("failed", failures).await;
            let seen = show(&client, id).await;
            assert_eq!(seen.failures as usize, failures);
            waits.push(seen.scheduled_for.since(clock.now()).as_secs());
            clock.set(seen.scheduled_for);
        }
        watch.hears("dead error Exhausted", 1).await;
        handle.stop();
        waits
    };
    let (done, waits) = tokio::join!(worker.run(), life);
    assert_eq!((done?.dead, show(&client, id).await.attempts.len()), (1, 4));
    Ok(waits)
}

#[tokio::test]
async fn retries_wait_as_the_policy_of_the_type_says_and_then_the_job_is_dead() -> Kept {
    assert_eq!(waits(Fixed {}).await?, [60, 60, 60]);
    assert_eq!(waits(Linear {}).await?, [60, 120, 180]);
    assert_eq!(waits(Doubling {}).await?, [60, 120, 240]);
    assert_eq!(waits(Custom {}).await?, [7, 14, 21]);
    for (wait, most) in waits(Jittery {}).await?.into_iter().zip([60, 120, 240]) {
        assert!((1..=most).contains(&wait), "{wait} of {most}");
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Ping {}

impl Job for Ping {
    const TYPE: &'static str = "ping";
    const DELIVERY: Delivery = Delivery::AtMostOnce;
}

async fn an_at_most_once_job_runs_once_even_if_it_fails(client: Client) -> Kept {
    let id = client.enqueue(Ping {}).await?.id;
    let diary = Diary::new();
    let handler = async |_: Ping, cx: Context<Arc<Diary>>| -> Result<()> {
        cx.app.note(1);
        Err(HandlerError::retry_after(Duration::ZERO, HandlerError::msg("oops")))
    };
    let worker = Worker::new(&client, Arc::new(diary.clone())).job(handler).until_empty(true);
    soon("its end", worker.run()).await?;
    assert_eq!(diary.all(), [1]);
    let seen = show(&client, id).await;
    assert!(seen.state.is_final());
    assert_eq!(seen.attempts.len(), 1);
    assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Failed);
    assert_eq!(seen.attempts[0].error.as_ref().map(|e| e.message.as_str()), Some("oops"));
    Ok(())
}

#[tokio::test]
async fn an_observer_hears_the_life_of_a_job_in_order() -> Kept {
    let watch = Watch::new();
    let builder = Client::builder().observer(watch.clone());
    let client = builder.connect("sqlite::memory:").await?;
    client.enqueue(Task { n: 7 }).await?;
    let handler = async |_: Task, cx: Context<()>| -> Result<()> {
        if cx.attempt() == 1 {
            return Err(HandlerError::retry_after(Duration::ZERO, HandlerError::msg("once more")));
        }
        Ok(())
    };
    let worker = Worker::new(&client, ()).job(handler).observer(watch.clone());
    soon("its life", worker.until_empty(true).run()).await?;
    let expected = [
        "enqueued task",
        "claimed task 1",
        "started task 1",
        "failed error 0ns",
        "claimed task 2",
        "started task 2",
        "completed task 2",
    ];
    assert_eq!(watch.lines(), expected);
    Ok(())
}

async fn results_that_are_too_large_are_refused_and_not_retried(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 1 }).await?.id;
    let handler = async |_: Task, _: Context<()>| Ok("x".repeat(100_000));
    let worker = Worker::new(&client, ()).job(handler).until_empty(true);
    soon("its end", worker.run()).await?;
    let seen = show(&client, id).await;
    assert_eq!((seen.state, seen.dead_reason), (State::Dead, Some(DeadReason::Discarded)));
    assert!(seen.last_error.is_some_and(|e| e.message.contains("the result has")));
    Ok(())
}
