//! The end of a worker: what runs is finished or given back uncharged, and nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::{AttemptOutcome, Client, Context, HandlerError, Result, State, Worker};
use tokio::sync::Semaphore;

use crate::watch::*;

promises![
    what_runs_may_finish_within_the_grace_and_nothing_new_begins,
    what_outlasts_the_grace_is_given_back_uncharged,
    who_told_it_to_stop_may_tell_it_to_hurry,
    a_blocking_handler_that_does_not_listen_is_left_behind,
    what_was_claimed_ahead_is_given_back_too,
    a_worker_ends_when_its_future_resolves,
    until_empty_waits_for_retries_and_for_others,
    until_empty_with_nothing_to_do_ends_at_once,
];

async fn wait_at_gate(_: Task, cx: Context<Semaphore>) -> Result<()> {
    let _open = cx.app.acquire().await?;
    Ok(())
}

async fn what_runs_may_finish_within_the_grace_and_nothing_new_begins(client: Client) -> Kept {
    client.enqueue_all((0..6).map(|n| Task { n })).await?;
    let (watch, gate) = (Watch::new(), Arc::new(Semaphore::new(0)));
    let worker = Worker::new(&client, gate.clone()).job(wait_at_gate).observer(watch.clone());
    let worker = worker.queue("default", 2);
    let handle = worker.handle();
    let stop = async {
        watch.hears("started", 2).await;
        handle.stop();
        gate.add_permits(100);
    };
    let (done, ()) = tokio::join!(soon("its end", worker.run()), stop);
    let done = done?;
    assert_eq!(done.completed, 2);
    assert_eq!(watch.count("started"), 2, "nothing began after the stop");
    let totals = client.stats().await?.totals;
    assert_eq!((totals.completed, totals.pending, totals.active), (2, 4, 0));
    Ok(())
}

async fn what_outlasts_the_grace_is_given_back_uncharged(client: Client) -> Kept {
    let ids: Vec<_> =
        client.enqueue_all((0..3).map(|n| Task { n })).await?.iter().map(|s| s.id).collect();
    let (watch, gate) = (Watch::new(), Arc::new(Semaphore::new(0)));
    let worker = Worker::new(&client, gate).job(wait_at_gate).observer(watch.clone());
    let worker = worker.grace(Duration::from_millis(50));
    let handle = worker.handle();
    let stop = async {
        watch.hears("started", 3).await;
        handle.stop();
        Instant::now()
    };
    let (done, stopped) = tokio::join!(soon("its end", worker.run()), stop);
    assert!(stopped.elapsed() < Duration::from_secs(2), "it took {:?}", stopped.elapsed());
    let done = done?;
    assert_eq!((done.released, done.failed, done.completed), (3, 0, 0));
    for id in ids {
        let seen = show(&client, id).await;
        assert_eq!((seen.state, seen.attempt), (State::Pending, 1));
        assert_eq!((seen.failures, seen.crashes), (0, 0), "not charged");
        assert_eq!(seen.attempts[0].outcome, AttemptOutcome::Released);
    }
    Ok(())
}

async fn who_told_it_to_stop_may_tell_it_to_hurry(client: Client) -> Kept {
    client.enqueue_all((0..3).map(|n| Task { n })).await?;
    let (watch, gate) = (Watch::new(), Arc::new(Semaphore::new(0)));
    let worker = Worker::new(&client, gate).job(wait_at_gate).observer(watch.clone());
    let worker = worker.grace(Duration::from_millis(50));
    let handle = worker.handle();
    let stop = async {
        watch.hears("started", 3).await;
        handle.stop_within(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(watch.count("released"), 0, "its own grace does not count");
        handle.stop();
    };
    let (done, ()) = tokio::join!(soon("its end", worker.run()), stop);
    assert_eq!(done?.released, 3);
    Ok(())
}

async fn a_blocking_handler_that_does_not_listen_is_left_behind(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 1 }).await?.id;
    let (watch, (open, gate)) = (Watch::new(), std::sync::mpsc::channel::<()>());
    let gate = std::sync::Mutex::new(gate);
    let handler = move |_: Task, _: Context<()>| {
        // Ends when the test does.
        let _ = gate.lock().expect("one handler waits here").recv();
        Ok(())
    };
    let worker = Worker::new(&client, ()).job_blocking(handler).observer(watch.clone());
    let worker = worker.grace(Duration::from_millis(50));
    let handle = worker.handle();
    let stop = async {
        watch.hears("started", 1).await;
        handle.stop();
    };
    let (done, ()) = tokio::join!(soon("its end", worker.run()), stop);
    assert_eq!(done?.released, 1);
    let seen = show(&client, id).await;
    assert_eq!((seen.state, seen.failures), (State::Pending, 0));
    drop(open);
    Ok(())
}

async fn what_was_claimed_ahead_is_given_back_too(client: Client) -> Kept {
    client.enqueue_all((0..2000).map(|n| Task { n })).await?;
    let watch = Watch::new();
    let handler = async |task: Task, cx: Context<Semaphore>| -> Result<()> {
        if task.n >= 500 {
            let _open = cx.app.acquire().await?;
        }
        Ok(())
    };
    let worker = Worker::new(&client, Semaphore::new(0)).job(handler).observer(watch.clone());
    let worker = worker.queue("default", 4).grace(Duration::from_millis(50));
    let handle = worker.handle();
    let stop = async {
        watch.hears("started", 504).await;
        handle.stop();
    };
    let (done, ()) = tokio::join!(soon("its end", worker.run()), stop);
    let done = done?;
    assert_eq!(done.completed, 500);
    let totals = client.stats().await?.totals;
    assert_eq!((totals.completed, totals.pending, totals.active), (500, 1500, 0));
    assert_eq!((done.failed, done.lost, totals.failed), (0, 0, 0));
    Ok(())
}

async fn a_worker_ends_when_its_future_resolves(client: Client) -> Kept {
    let worker = Worker::new(&client, ()).job(async |_: Task, _: Context<()>| Ok(()));
    let done = soon("its end", worker.run_until(std::future::ready(()))).await?;
    assert_eq!(done, dutiful::Report::default());
    Ok(())
}

async fn until_empty_waits_for_retries_and_for_others(client: Client) -> Kept {
    client.enqueue(Task { n: 1 }).await?;
    client.enqueue(Task { n: 2 }).delay(Duration::from_millis(300)).await?;
    let handler = async |task: Task, cx: Context<()>| -> Result<()> {
        if task.n == 1 && cx.attempt() < 3 {
            let wait = Duration::from_millis(100);
            return Err(HandlerError::retry_after(wait, HandlerError::msg("later")));
        }
        Ok(())
    };
    let worker = Worker::new(&client, ()).job(handler).until_empty(true);
    let done = soon("its end", worker.run()).await?;
    assert_eq!((done.completed, done.failed), (2, 2));
    Ok(())
}

async fn until_empty_with_nothing_to_do_ends_at_once(client: Client) -> Kept {
    let worker = Worker::new(&client, ()).job(async |_: Task, _: Context<()>| Ok(()));
    let done = soon("its end", worker.until_empty(true).run()).await?;
    assert_eq!(done.completed, 0);
    Ok(())
}

#[tokio::test]
async fn the_next_worker_leads_and_works_without_waiting() -> Kept {
    let shop = Shop::open().await;
    for round in 1..=3 {
        // A delayed job needs a leader: the one before must have given the leadership back.
        shop.client.enqueue(Task { n: round }).delay(Duration::from_millis(50)).await?;
        let began = Instant::now();
        let worker = Worker::new(&shop.client, ()).job(async |_: Task, _: Context<()>| Ok(()));
        let done = soon("its end", worker.until_empty(true).run()).await?;
        assert_eq!(done.completed, 1);
        assert!(began.elapsed() < Duration::from_secs(5), "round {round}: {:?}", began.elapsed());
    }
    Ok(())
}
