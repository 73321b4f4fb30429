//! Effects exactly once: completion inside a transaction, remembered effects, lost leases, cancels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::{
    AttemptOutcome, Client, Completed, Context, Delivery, Error, HandlerError, Job, JobId, Result,
    State, StoreError, Worker,
};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::watch::*;

promises![a_remembered_effect_runs_once_over_all_attempts, an_effect_that_failed_is_run_again,];

#[derive(Serialize, Deserialize)]
struct Charge {
    order: i64,
}

impl Job for Charge {
    const TYPE: &'static str = "charge";
}

impl Shop {
    fn ledger(&self) -> Connection {
        let conn = self.raw();
        conn.execute_batch("CREATE TABLE IF NOT EXISTS ledger (o INTEGER)").expect("a table");
        conn
    }

    fn booked(&self) -> i64 {
        let count = "SELECT count(*) FROM ledger";
        self.raw().query_row(count, [], |row| row.get(0)).expect("the ledger is read")
    }
}

/// What a handler of a charge does with its transaction.
#[derive(Clone, Copy)]
enum Way {
    Commit,
    RollBackOnce,
    LoseTheLease,
}

struct Bank {
    path: std::path::PathBuf,
    way: Way,
}

impl Bank {
    fn of(shop: &Shop, way: Way) -> Self {
        drop(shop.ledger());
        Self { path: shop.path.clone(), way }
    }

    fn open(&self) -> Connection {
        let conn = Connection::open(&self.path).expect("the file opens");
        conn.busy_timeout(Duration::from_secs(10)).expect("a pragma");
        conn
    }
}

/// Gives the lease to nobody, as if it had been rescued and claimed elsewhere.
fn steal(conn: &Connection, id: JobId) {
    let sql = "UPDATE dutiful_lease SET attempt = attempt + 1, nonce = nonce + 1 WHERE id = ?1";
    assert_eq!(conn.execute(sql, [id.as_bytes()]).expect("the lease is changed"), 1);
}

fn charge(job: Charge, cx: Context<Bank>) -> Result<Completed> {
    let mut conn = cx.app.open();
    if matches!(cx.app.way, Way::LoseTheLease) && cx.attempt() == 1 {
        steal(&conn, cx.id());
    }
    let tx = conn.transaction()?;
    tx.execute("INSERT INTO ledger VALUES (?1)", [job.order])?;
    let done = match cx.complete_within(&tx).now() {
        Ok(done) => done,
        Err(error) => {
            assert!(matches!(error, Error::LeaseLost(fence) if fence == cx.fence()), "{error:?}");
            assert!(tx.is_autocommit(), "it is rolled back already");
            let committed = tx.commit();
            assert!(committed.is_err(), "a stale transaction cannot commit");
            return Err(error.into());
        }
    };
    assert_eq!(done.fence(), cx.fence());
    if matches!(cx.app.way, Way::RollBackOnce) && cx.attempt() == 1 {
        tx.rollback()?;
    } else {
        tx.commit()?;
    }
    Ok(done)
}

#[tokio::test]
async fn the_completion_commits_with_the_data() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let ids: Vec<_> = shop
        .client
        .enqueue_all((0..20).map(|order| Charge { order }))
        .await?
        .iter()
        .map(|stored| stored.id)
        .collect();
    let bank = Bank::of(&shop, Way::Commit);
    let worker = Worker::new(&shop.client, bank).job_blocking(charge).observer(watch.clone());
    let done = soon("all charges", worker.until_empty(true).run()).await?;
    assert_eq!((done.completed, done.failed, done.lost), (20, 0, 0));
    assert_eq!(shop.booked(), 20);
    for id in ids {
        assert_eq!(show(&shop.client, id).await.state, State::Completed);
    }
    assert_eq!(shop.client.stats().await?.totals.completed, 20, "counted too");
    assert_eq!(watch.count("completed charge"), 20);
    Ok(())
}

#[tokio::test]
async fn a_completion_that_was_not_committed_is_a_failure() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let id = shop.client.enqueue(Charge { order: 1 }).max_attempts(1).await?.id;
    let bank = Bank::of(&shop, Way::RollBackOnce);
    let worker = Worker::new(&shop.client, bank).job_blocking(charge).observer(watch.clone());
    let done = soon("its end", worker.until_empty(true).run()).await?;
    assert_eq!((done.completed, done.dead), (0, 1));
    assert_eq!(shop.booked(), 0);
    let seen = show(&shop.client, id).await;
    assert_eq!(seen.state, State::Dead);
    let error = seen.last_error.expect("an error is kept");
    assert!(error.message.contains("did not commit"), "{}", error.message);
    Ok(())
}

#[tokio::test]
async fn an_at_most_once_completion_that_was_not_committed_is_a_failure_too() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let once = Delivery::AtMostOnce;
    let id = shop.client.enqueue(Charge { order: 1 }).delivery(once).await?.id;
    let bank = Bank::of(&shop, Way::RollBackOnce);
    let worker = Worker::new(&shop.client, bank).job_blocking(charge).observer(watch.clone());
    let done = soon("its end", worker.until_empty(true).run()).await?;
    assert_eq!(done.completed, 0, "{:?}", watch.lines());
    let attempt = show(&shop.client, id).await.attempts.remove(0);
    assert_eq!(attempt.outcome, AttemptOutcome::Failed);
    assert!(attempt.error.is_some_and(|error| error.message.contains("did not commit")));
    let kept = shop.client.enqueue(Charge { order: 2 }).delivery(once).await?.id;
    let bank = Bank::of(&shop, Way::Commit);
    let worker = Worker::new(&shop.client, bank).job_blocking(charge);
    assert_eq!(soon("its end", worker.until_empty(true).run()).await?.completed, 1);
    let attempt = show(&shop.client, kept).await.attempts.remove(0);
    assert_eq!((attempt.outcome, shop.booked()), (AttemptOutcome::Completed, 1));
    Ok(())
}

#[tokio::test]
async fn a_stale_completion_rolls_back_and_counts_for_nothing() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let id = shop.client.enqueue(Charge { order: 1 }).await?.id;
    let bank = Bank::of(&shop, Way::LoseTheLease);
    let worker = Worker::new(&shop.client, bank).job_blocking(charge).observer(watch.clone());
    let handle = worker.handle();
    let stop = async {
        watch.hears("lost charge", 1).await;
        handle.stop();
    };
    let (done, ()) = tokio::join!(worker.run(), stop);
    let done = done?;
    assert_eq!((done.completed, done.lost), (0, 1), "{:?}", watch.lines());
    assert_eq!(watch.count("completed"), 0);
    assert_eq!(shop.booked(), 0, "nothing of it is in the ledger");
    let seen = show(&shop.client, id).await;
    assert_eq!((seen.state, seen.attempt), (State::Active, 2), "the other attempt goes on");
    Ok(())
}

#[tokio::test]
async fn a_completion_in_another_database_is_refused() -> Kept {
    let shop = Shop::open().await;
    let id = shop.client.enqueue(Task { n: 1 }).max_attempts(1).await?.id;
    let handler = |_: Task, cx: Context<()>| -> Result<Completed> {
        let mut conn = Connection::open_in_memory()?;
        let tx = conn.transaction()?;
        let refused = cx.complete_within(&tx).now();
        assert!(matches!(refused, Err(Error::Store(StoreError::Elsewhere { .. }))), "{refused:?}");
        Ok(refused?)
    };
    let worker = Worker::new(&shop.client, ()).job_blocking(handler).until_empty(true);
    soon("its end", worker.run()).await?;
    let seen = show(&shop.client, id).await;
    assert_eq!(seen.state, State::Dead);
    assert_eq!(seen.last_error.map(|e| e.class).as_deref(), Some("Error"));
    Ok(())
}

async fn a_remembered_effect_runs_once_over_all_attempts(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 7 }).await?.id;
    let diary = Diary::new();
    let handler = async |task: Task, cx: Context<Arc<Diary>>| -> Result<i64> {
        let diary = cx.app.clone();
        let receipt = cx
            .once("charge", Duration::from_secs(3600), async || {
                diary.note(task.n);
                Ok(task.n * 100)
            })
            .await?;
        let again: i64 = cx.once("charge", Duration::from_secs(3600), async || Ok(0)).await?;
        assert_eq!(again, receipt, "within one attempt too");
        if cx.attempt() < 3 {
            return Err(HandlerError::retry_after(Duration::ZERO, HandlerError::msg("later")));
        }
        Ok(receipt)
    };
    let worker = Worker::new(&client, Arc::new(diary.clone())).job(handler).until_empty(true);
    soon("three attempts", worker.run()).await?;
    assert_eq!(diary.all(), [7], "the effect ran once");
    let seen = show(&client, id).await;
    assert_eq!(seen.attempt, 3);
    assert_eq!(seen.result.map(|r| r.get().to_owned()).as_deref(), Some("700"));
    Ok(())
}

async fn an_effect_that_failed_is_run_again(client: Client) -> Kept {
    client.enqueue(Task { n: 7 }).await?;
    let handler = async |_: Task, cx: Context<()>| -> Result<()> {
        let hour = Duration::from_secs(3600);
        let first = cx.once("k", hour, async || Err::<(), _>(HandlerError::msg("no"))).await;
        assert!(first.is_err());
        let second: i64 = cx.once("k", hour, async || Ok(2)).await?;
        let other: i64 = cx.once("other", hour, async || Ok(3)).await?;
        assert_eq!((second, other), (2, 3));
        Ok(())
    };
    let worker = Worker::new(&client, ()).job(handler).until_empty(true);
    assert_eq!(soon("its end", worker.run()).await?.completed, 1);
    Ok(())
}

#[tokio::test]
async fn a_cancel_from_another_client_stops_the_handler_within_a_second() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let elsewhere = shop.elsewhere().await;
    let id = shop.client.enqueue(Task { n: 1 }).await?.id;
    let handler = async |_: Task, _: Context<()>| -> Result<()> { std::future::pending().await };
    let worker = Worker::new(&shop.client, ()).job(handler).observer(watch.clone());
    let cancel = async {
        watch.hears("started", 1).await;
        let asked = Instant::now();
        let change = elsewhere.cancel(id).await.expect("the job is active");
        assert_eq!(change, dutiful::Change::Requested);
        watch.hears("cancelled", 1).await;
        asked.elapsed()
    };
    let (done, took) = tokio::join!(soon("its end", worker.until_empty(true).run()), cancel);
    assert_eq!(done?.cancelled, 1);
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    assert_eq!(show(&shop.client, id).await.state, State::Cancelled);
    Ok(())
}

#[tokio::test]
async fn a_blocking_handler_learns_of_its_cancel() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let id = shop.client.enqueue(Task { n: 1 }).await?.id;
    let handler = |_: Task, cx: Context<()>| -> Result<()> {
        cx.wait(cx.cancelled());
        assert!(cx.is_cancelled());
        Err(HandlerError::msg("told to stop"))
    };
    let worker = Worker::new(&shop.client, ()).job_blocking(handler).observer(watch.clone());
    let cancel = async {
        watch.hears("started", 1).await;
        shop.client.cancel(id).await.expect("the job is active");
    };
    let (done, ()) = tokio::join!(soon("its end", worker.until_empty(true).run()), cancel);
    assert_eq!(done?.cancelled, 1);
    assert_eq!(show(&shop.client, id).await.state, State::Cancelled);
    Ok(())
}

#[tokio::test]
async fn a_handler_whose_lease_was_lost_is_stopped_and_changes_nothing() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let id = shop.client.enqueue(Task { n: 1 }).await?.id;
    let handler = async |_: Task, _: Context<()>| -> Result<()> { std::future::pending().await };
    let worker = Worker::new(&shop.client, ()).job(handler).observer(watch.clone());
    let worker = worker.lease(Duration::from_secs(3));
    let handle = worker.handle();
    let lose = async {
        watch.hears("started", 1).await;
        steal(&shop.raw(), id);
        watch.hears("lost", 1).await;
        handle.stop();
    };
    let (done, ()) = tokio::join!(worker.run(), lose);
    assert_eq!((done.as_ref().map(|d| d.lost).ok(), watch.count("completed")), (Some(1), 0));
    assert_eq!(show(&shop.client, id).await.attempt, 2);
    Ok(())
}

/// Two leases and a half: the work of these handlers is to take time.
const LONG: Duration = Duration::from_millis(1500);

async fn rest(_: Task, _: Context<()>) -> Result<()> {
    tokio::time::sleep(LONG).await;
    Ok(())
}

async fn never_yield(_: Task, _: Context<()>) -> Result<()> {
    std::thread::sleep(LONG);
    Ok(())
}

#[tokio::test]
async fn a_job_keeps_its_lease_however_long_it_runs_or_starves_the_runtime() -> Kept {
    for starves in [false, true] {
        let (shop, watch) = (Shop::open().await, Watch::new());
        let id = shop.client.enqueue(Task { n: 1 }).await?.id;
        let worker = Worker::new(&shop.client, ());
        let worker = if starves { worker.job(never_yield) } else { worker.job(rest) };
        let worker = worker.observer(watch.clone()).lease(LONG * 2 / 5).crashes_max(1);
        let done = soon("its end", worker.until_empty(true).run()).await?;
        assert_eq!((done.completed, done.lost), (1, 0), "{:?}", watch.lines());
        let seen = show(&shop.client, id).await;
        assert_eq!((seen.state, seen.attempt, seen.crashes), (State::Completed, 1, 0));
        assert_eq!(watch.count("rescued") + watch.count("self-fenced"), 0);
    }
    Ok(())
}

/// Holds the write lock from the first attempt on until the worker has fenced itself.
async fn lock_out(shop: &Shop, watch: &Watch, diary: &Diary) {
    diary.reaches(1).await;
    let mut conn = shop.raw();
    let lock = rusqlite::TransactionBehavior::Immediate;
    let tx = conn.transaction_with_behavior(lock).expect("the lock is free");
    watch.hears("self-fenced 1", 1).await;
    drop(tx);
}

#[tokio::test]
async fn a_worker_that_cannot_renew_fences_itself() -> Kept {
    let (shop, watch) = (Shop::open().await, Watch::new());
    let id = shop.client.enqueue(Task { n: 1 }).await?.id;
    let diary = Diary::new();
    let handler = async |_: Task, cx: Context<Arc<Diary>>| -> Result<()> {
        cx.app.note(i64::from(cx.attempt()));
        if cx.attempt() == 1 { std::future::pending().await } else { Ok(()) }
    };
    let worker = Worker::new(&shop.client, Arc::new(diary.clone())).job(handler);
    let worker = worker.observer(watch.clone()).lease(Duration::from_millis(900));
    let block = lock_out(&shop, &watch, &diary);
    let (done, ()) = tokio::join!(soon("the rerun", worker.until_empty(true).run()), block);
    assert_eq!(done?.completed, 1);
    let seen = show(&shop.client, id).await;
    assert_eq!((seen.state, seen.failures), (State::Completed, 0));
    assert_eq!(diary.all(), (1..=i64::from(seen.attempt)).collect::<Vec<_>>());
    Ok(())
}

/// Completes in its own transaction, the first time only after it was given up.
fn complete_late(_: Task, cx: Context<(Arc<Diary>, Bank)>) -> Result<Completed> {
    let (diary, bank) = &*cx.app;
    diary.note(i64::from(cx.attempt()));
    while cx.attempt() == 1 && !cx.is_cancelled() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut conn = bank.open();
    let lock = rusqlite::TransactionBehavior::Immediate;
    let tx = conn.transaction_with_behavior(lock)?;
    tx.execute("INSERT INTO ledger VALUES (1)", [])?;
    let done = cx.complete_within(&tx).now()?;
    tx.commit()?;
    Ok(done)
}

#[tokio::test]
async fn what_was_given_up_cannot_complete_though_its_lease_is_there() -> Kept {
    let (shop, watch, diary) = (Shop::open().await, Watch::new(), Diary::new());
    let id = shop.client.enqueue(Task { n: 1 }).await?.id;
    let app = (diary.clone(), Bank::of(&shop, Way::Commit));
    let worker = Worker::new(&shop.client, Arc::new(app)).job_blocking(complete_late);
    let worker = worker.observer(watch.clone()).lease(Duration::from_millis(1500));
    let block = lock_out(&shop, &watch, &diary);
    let (done, ()) = tokio::join!(soon("the rerun", worker.until_empty(true).run()), block);
    assert_eq!(done?.completed, 1);
    let seen = show(&shop.client, id).await;
    assert_eq!((seen.state, seen.attempt > 1), (State::Completed, true), "not by the first");
    assert_eq!(shop.booked(), 1);
    Ok(())
}
