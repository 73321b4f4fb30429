//! Where workers break: panics in foreign code, queues side by side, a store that cannot answer, a
//! worker that is dropped, settings at their ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dutiful::{Client, Context, Error, Event, Observer, Result, State, Worker};
use tokio::sync::Semaphore;

use crate::watch::*;

promises![
    a_full_queue_beside_an_idle_one_goes_on_as_soon_as_a_slot_is_free,
    an_observer_that_panics_stops_nobody,
    a_panic_while_a_stopped_handler_is_dropped_costs_no_slot,
    settings_that_time_cannot_hold_are_refused,
    a_worker_that_is_dropped_gives_its_jobs_back,
];

async fn wait_at_gate(_: Task, cx: Context<Semaphore>) -> Result<()> {
    let _open = cx.app.acquire().await?;
    Ok(())
}

async fn a_full_queue_beside_an_idle_one_goes_on_as_soon_as_a_slot_is_free(client: Client) -> Kept {
    for n in 0..8 {
        client.enqueue(Task { n }).queue("busy").await?;
    }
    let handler = async |_: Task, _: Context<()>| -> Result<()> {
        // Longer than what is claimed ahead.
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok(())
    };
    let watch = Watch::new();
    let worker = Worker::new(&client, ()).job(handler).observer(watch.clone());
    let worker = worker.queue("busy", 1).queue("idle", 1).poll(Duration::from_secs(3600));
    let handle = worker.handle();
    let ends = async {
        watch.hears("completed", 8).await;
        handle.stop();
    };
    let (done, ()) = tokio::join!(worker.run(), ends);
    assert_eq!(done?.completed, 8);
    Ok(())
}

struct Touchy;

impl Observer for Touchy {
    fn event(&self, event: &Event<'_>) {
        panic!("cannot bear {event:?}");
    }
}

async fn an_observer_that_panics_stops_nobody(client: Client) -> Kept {
    let watch = Watch::new();
    client.enqueue_all((0..5).map(|n| Task { n })).await?;
    let worker = Worker::new(&client, ()).job(async |_: Task, _: Context<()>| Ok(()));
    let worker = worker.observer(Arc::new(Touchy)).observer(watch.clone()).until_empty(true);
    let done = soon("the end in spite of the observer", worker.run()).await?;
    assert_eq!((done.completed, watch.count("completed")), (5, 5));
    Ok(())
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

async fn a_panic_while_a_stopped_handler_is_dropped_costs_no_slot(client: Client) -> Kept {
    let watch = Watch::new();
    let first = client.enqueue(Task { n: 1 }).await?.id;
    client.enqueue(Task { n: 2 }).await?;
    let handler = async |task: Task, _: Context<()>| -> Result<()> {
        if task.n == 1 {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let worker = Worker::new(&client, ()).job(handler).observer(watch.clone());
    let worker = worker.queue("default", 1).until_empty(true);
    let cancel = async {
        watch.hears("started", 1).await;
        client.cancel(first).await.expect("the job is active");
    };
    let (done, ()) = tokio::join!(soon("the other job", worker.run()), cancel);
    let done = done?;
    assert_eq!((done.cancelled, done.completed), (1, 1));
    Ok(())
}

async fn settings_that_time_cannot_hold_are_refused(client: Client) -> Kept {
    let worker = || Worker::new(&client, ()).job(async |_: Task, _: Context<()>| Ok(()));
    let refused = [
        worker().poll(Duration::ZERO),
        worker().poll(Duration::MAX),
        worker().grace(Duration::MAX),
        worker().lease(Duration::MAX),
    ];
    for worker in refused {
        let ended = worker.run_until(std::future::ready(())).await;
        assert!(matches!(ended, Err(Error::Worker(_))), "{ended:?}");
    }
    Ok(())
}

async fn a_worker_that_is_dropped_gives_its_jobs_back(client: Client) -> Kept {
    let watch = Watch::new();
    let id = client.enqueue(Task { n: 1 }).await?.id;
    let worker = Worker::new(&client, Semaphore::new(0)).job(wait_at_gate).observer(watch.clone());
    tokio::select! {
        _ = worker.run() => unreachable!("nobody stops it"),
        () = watch.hears("started", 1) => {}
    }
    watch.hears("released", 1).await;
    let next = Worker::new(&client, ()).job(async |_: Task, _: Context<()>| Ok(()));
    assert_eq!(soon("the next worker", next.until_empty(true).run()).await?.completed, 1);
    let seen = show(&client, id).await;
    assert_eq!((seen.state, seen.failures, seen.crashes), (State::Completed, 0, 0));
    Ok(())
}

/// Holds the file's write lock until it is dropped.
fn lock_file(shop: &Shop) -> rusqlite::Connection {
    let conn = shop.raw();
    conn.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
    conn
}

#[tokio::test]
async fn an_end_is_written_within_the_grace_even_if_the_store_cannot_at_once() -> Kept {
    let (shop, watch, gate) = (Shop::open().await, Watch::new(), Arc::new(Semaphore::new(0)));
    shop.client.enqueue(Task { n: 1 }).await?;
    let worker = Worker::new(&shop.client, gate.clone()).job(wait_at_gate).observer(watch.clone());
    // Its one slot is taken, so no claim waits for the store.
    let worker = worker.queue("default", 1);
    let handle = worker.handle();
    let stop = async {
        watch.hears("started", 1).await;
        let locked = lock_file(&shop);
        gate.add_permits(1);
        handle.stop();
        // The store took its time to refuse it.
        watch.hears("trouble finish", 1).await;
        drop(locked);
    };
    let (done, ()) = tokio::join!(soon("its end", worker.run()), stop);
    assert_eq!(done?.completed, 1);
    Ok(())
}

#[tokio::test]
async fn a_store_that_cannot_answer_does_not_hold_up_the_end() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    shop.client.enqueue(Task { n: 1 }).await?;
    let worker =
        Worker::new(&shop.client, Semaphore::new(0)).job(wait_at_gate).observer(watch.clone());
    let worker = worker.grace(Duration::from_millis(100));
    let handle = worker.handle();
    let stop = async {
        watch.hears("started", 1).await;
        let locked = lock_file(&shop);
        handle.stop();
        (locked, Instant::now())
    };
    let (done, (locked, asked)) = tokio::join!(soon("its end", worker.run()), stop);
    let took = asked.elapsed();
    drop(locked);
    assert!(took < Duration::from_millis(1300), "the grace and a second, but {took:?}");
    assert_eq!(done?.released, 0, "nothing was written");
    Ok(())
}

#[tokio::test]
async fn what_was_claimed_ahead_does_not_begin_once_its_lease_is_in_doubt() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    shop.client.enqueue_all((0..500).map(|n| Task { n })).await?;
    let locked = Arc::new(Mutex::new(None));
    struct App(Shop, Arc<Mutex<Option<rusqlite::Connection>>>);
    let handler = async |task: Task, cx: Context<App>| -> Result<()> {
        if task.n == 100 && cx.attempt() == 1 {
            *cx.app.1.lock().expect("no panic") = Some(lock_file(&cx.app.0));
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let client = shop.client.clone();
    let worker = Worker::new(&client, App(shop, locked.clone())).job(handler);
    let worker = worker.observer(watch.clone()).queue("default", 1);
    let worker = worker.lease(Duration::from_millis(900)).until_empty(true);
    let watcher = async {
        watch.hears("self-fenced", 1).await;
        // As long as it would take to begin all of them.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = watch.count("started");
        drop(locked.lock().expect("no panic").take());
        began
    };
    let (done, began) = tokio::join!(soon("all jobs", worker.run()), watcher);
    assert_eq!(done?.completed, 500);
    assert_eq!(began, 101, "nothing begins under a lease that may be over");
    Ok(())
}
