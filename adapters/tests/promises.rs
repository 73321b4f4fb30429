//! What every driver's transaction promises, on a real server; each crate beside this file runs all
//! of it through its own driver.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use dutiful::store::RescueRequest;
use dutiful::{
    Client, Completed, Context, EnqueueOutcome, Error, HandlerError, Job, JobInfo, State,
    StoreError, Transaction, Worker, WorkerId,
};
use dutiful_fixture::{Postgres, Version};
use serde::{Deserialize, Serialize};

/// A lease that a test can outlive, and that a machine which stands still for a moment does not
/// lose: a worker fences itself when it could not renew for two thirds of it.
const SHORT_LEASE: Duration = Duration::from_millis(1500);
/// Payloads that a store is tempted to change.
const HOSTILE: [&str; 8] = [
    r#"{"b":1,"a":2,"a":3}"#,
    " [1.0, 1e300, 12345678901234567890123, -0]\n",
    r#""\u0001 \ud83e\udd80 \/ \u00e9 é 🦀 \\ ' ""#,
    r#"{"__proto__":null,"$1":"'; DROP SCHEMA dutiful; --"}"#,
    "\"\u{7f}\u{85}\u{2028}\u{feff}\"",
    "[[],{},\"\",null,true]",
    "\t{ \"spaces\" :\r\n1 }  ",
    "\"%s {} $1 :name ? @p1\"",
];

/// How a test ends its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Commit,
    Rollback,
}

/// What a driver's crate tells the tests.
pub(crate) trait Driver: 'static {
    /// Its marker.
    type Marker: 'static;
    /// Its transaction.
    type Tx<'t>: Transaction<Self::Marker>;

    /// Runs work in a transaction on a new connection and ends it so, also after an error: what an
    /// error leaves behind must not be committed either. Fails when the COMMIT fails.
    async fn transact<R>(
        url: &str,
        end: End,
        work: impl for<'a, 't> AsyncFnOnce(&'a mut Self::Tx<'t>) -> R,
    ) -> Result<R>;

    /// Runs SQL in it.
    async fn execute(tx: &mut Self::Tx<'_>, sql: &str) -> Result<()>;
}

/// Makes a test of each promise for a driver.
macro_rules! promises {
    ($driver:ty: $($promise:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() -> anyhow::Result<()> {
            promises::$promise::<$driver>().await
        })*
    };
}
pub(crate) use promises;

/// Makes a test of every promise for a driver.
macro_rules! all_promises {
    ($driver:ty) => {
        promises::promises!($driver:
            a_commit_makes_the_row_and_the_job,
            a_rollback_leaves_neither,
            a_taken_unique_key_answers_with_its_job,
            many_jobs_go_in_together,
            settings_arrive_as_they_were_given,
            payloads_arrive_byte_for_byte,
            an_effect_and_its_completion_commit_together,
            a_completion_that_was_rolled_back_is_a_failure,
            a_stale_worker_commits_nothing,
            a_transaction_held_for_three_leases_keeps_its_job,
            another_database_is_refused_before_any_write,
            a_database_without_jobs_is_refused,
            a_broken_transaction_says_so,
        );
    };
}
pub(crate) use all_promises;

#[derive(Serialize, Deserialize)]
struct Charge {
    order: i64,
}

impl Job for Charge {
    const TYPE: &'static str = "charge";
    const MAX_ATTEMPTS: u32 = 1;
}

/// A database with a table of the application's and the jobs beside it.
struct Shop {
    url: String,
    client: Client,
}

impl Shop {
    async fn open() -> Result<Self> {
        let url = Postgres::shared(Version::System)?.fresh_database()?;
        let client = Client::builder().migrate(true).connect(&url).await?;
        sql(&url, "CREATE TABLE orders (id bigint NOT NULL)")?;
        Ok(Self { url, client })
    }

    fn orders(&self) -> Result<String> {
        sql(&self.url, "SELECT coalesce(string_agg(id::text, ',' ORDER BY id), '') FROM orders")
    }

    async fn states(&self) -> Result<Vec<State>> {
        let page = self.client.jobs(dutiful::Filter::default()).await?;
        Ok(page.jobs.iter().map(|job| job.state).collect())
    }

    async fn only_job(&self) -> Result<JobInfo> {
        let page = self.client.jobs(dutiful::Filter::default()).await?;
        let id = page.jobs.first().context("there is no job")?.id;
        self.client.job(id).await?.context("it is gone")
    }
}

fn sql(url: &str, text: &str) -> Result<String> {
    let database = url.rsplit('/').next().unwrap_or_default();
    let database = database.split('?').next().unwrap_or_default();
    Postgres::shared(Version::System)?.psql(database, text)
}

pub(crate) async fn a_commit_makes_the_row_and_the_job<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let work = async |tx: &mut D::Tx<'_>| -> Result<()> {
        D::execute(tx, "INSERT INTO orders VALUES (7)").await?;
        let stored = shop.client.enqueue(Charge { order: 7 }).within(tx).await?;
        ensure!(stored.outcome == EnqueueOutcome::New);
        ensure!(shop.states().await?.is_empty(), "nobody sees it before the commit");
        Ok(())
    };
    D::transact(&shop.url, End::Commit, work).await??;
    assert_eq!(shop.orders()?, "7");
    assert_eq!(shop.states().await?, [State::Pending]);

    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let app = seen.clone();
    let handler = |job: Charge, cx: Context<std::sync::Mutex<Vec<i64>>>| async move {
        cx.app.lock().expect("nobody panics with it").push(job.order);
        dutiful::Result::Ok(())
    };
    Worker::new(&shop.client, app).job(handler).until_empty(true).run().await?;
    assert_eq!(*seen.lock().expect("nobody panics with it"), [7]);
    Ok(())
}

pub(crate) async fn a_rollback_leaves_neither<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let work = async |tx: &mut D::Tx<'_>| -> Result<()> {
        D::execute(tx, "INSERT INTO orders VALUES (7)").await?;
        shop.client.enqueue(Charge { order: 7 }).within(tx).await?;
        Ok(())
    };
    D::transact(&shop.url, End::Rollback, work).await??;
    assert_eq!(shop.orders()?, "");
    assert_eq!(shop.states().await?, []);
    Ok(())
}

pub(crate) async fn a_taken_unique_key_answers_with_its_job<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let holder = shop.client.enqueue(Charge { order: 1 }).unique("order:1").await?;
    let work = async |tx: &mut D::Tx<'_>| -> Result<()> {
        let charge = || shop.client.enqueue(Charge { order: 1 });
        let twin = charge().unique("order:1").within(&mut *tx).await?;
        ensure!((twin.id, twin.outcome) == (holder.id, EnqueueOutcome::Duplicate), "{twin:?}");
        let first = charge().unique("order:2").within(&mut *tx).await?;
        let second = charge().unique("order:2").within(&mut *tx).await?;
        ensure!((second.id, second.outcome) == (first.id, EnqueueOutcome::Duplicate));
        let same = charge().id(holder.id).within(tx).await?;
        ensure!(same.outcome == EnqueueOutcome::Exists, "{same:?}");
        Ok(())
    };
    D::transact(&shop.url, End::Commit, work).await??;
    assert_eq!(shop.states().await?.len(), 2);
    Ok(())
}

pub(crate) async fn many_jobs_go_in_together<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let work = async |tx: &mut D::Tx<'_>| -> Result<()> {
        let jobs = (0..2500).map(|order| Charge { order });
        let stored = shop.client.enqueue_all(jobs).within(&mut *tx).await?;
        ensure!(stored.len() == 2500);
        ensure!(stored.windows(2).all(|two| two[0].id < two[1].id), "the answers keep the order");
        let none = shop.client.enqueue_all(Vec::<Charge>::new()).within(tx).await?;
        ensure!(none.is_empty());
        Ok(())
    };
    D::transact(&shop.url, End::Commit, work).await??;
    assert_eq!(sql(&shop.url, "SELECT count(*) FROM dutiful.ready")?, "2500");
    Ok(())
}

pub(crate) async fn settings_arrive_as_they_were_given<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let at = std::time::SystemTime::now() + Duration::from_secs(3600);
    let give = |order| {
        let enqueue = shop.client.enqueue(Charge { order }).queue("money").priority(3);
        let enqueue = enqueue.group("it's \"a\" group \\ 🦀").unique(format!("key {order}"));
        enqueue.tag("a,b").tag("[\"c\"]").correlation_id("$1").timeout(Duration::from_millis(1500))
    };
    let plain = give(1).max_attempts(9).at(at).await?.id;
    let work = async |tx: &mut D::Tx<'_>| -> Result<_> {
        Ok(give(2).max_attempts(9).at(at).within(tx).await?.id)
    };
    let within = D::transact(&shop.url, End::Commit, work).await??;
    let columns = "type, queue, priority, scheduled_for, max_attempts, timeout_ms, \
        correlation_id, trace_parent, group_key, tags, delivery";
    let row = |id| sql(&shop.url, &format!("SELECT {columns} FROM dutiful.job WHERE id = '{id}'"));
    assert_eq!(row(within)?, row(plain)?, "as without a transaction");
    Ok(())
}

pub(crate) async fn payloads_arrive_byte_for_byte<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let work = async |tx: &mut D::Tx<'_>| -> Result<Vec<_>> {
        let mut ids = Vec::new();
        for payload in HOSTILE {
            ids.push(shop.client.enqueue_raw("odd", payload).within(&mut *tx).await?.id);
        }
        Ok(ids)
    };
    let ids = D::transact(&shop.url, End::Commit, work).await??;
    for (id, payload) in ids.iter().zip(HOSTILE) {
        let text = format!("SELECT encode(payload, 'hex') FROM dutiful.job WHERE id = '{id}'");
        let hex: String = payload.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sql(&shop.url, &text)?, hex, "{payload}");
    }
    Ok(())
}

/// What a handler of a charge does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Commit,
    RollBack,
    LoseTheLease,
    HoldTheTransaction,
}

struct Bank {
    url: String,
    way: Way,
    ended: tokio::sync::Notify,
}

fn charge<D: Driver>(job: Charge, cx: Context<Bank>) -> dutiful::Result<Completed> {
    let done = cx.wait(book::<D>(&job, &cx));
    cx.app.ended.notify_one();
    done.map_err(|error| HandlerError::msg(format!("{error:#}")))
}

async fn book<D: Driver>(job: &Charge, cx: &Context<Bank>) -> Result<Completed> {
    let Bank { url, way, .. } = &*cx.app;
    if *way == Way::LoseTheLease {
        sql(url, "UPDATE dutiful.lease SET attempt = attempt + 1, nonce = nonce + 1")?;
    }
    let work = async |tx: &mut D::Tx<'_>| -> Result<Completed, Error> {
        let insert = format!("INSERT INTO orders VALUES ({})", job.order);
        D::execute(tx, &insert).await.expect("the row is new");
        cx.progress(90, "booked");
        cx.log("it's \"booked\"");
        let done = cx.complete_within(tx).await?;
        if *way == Way::HoldTheTransaction {
            outlive_three_leases(cx).await.expect("nobody takes the job");
        }
        Ok(done)
    };
    let end = if *way == Way::RollBack { End::Rollback } else { End::Commit };
    match D::transact(url, end, work).await {
        Ok(Err(Error::LeaseLost(fence))) if fence == cx.fence() => bail!("the lease was lost"),
        Ok(done) => Ok(done?),
        Err(error) => Err(error.context("end the transaction")),
    }
}

async fn outlive_three_leases(cx: &Context<Bank>) -> Result<()> {
    tokio::time::sleep(SHORT_LEASE * 3).await;
    let store = cx.client().store();
    let ask = RescueRequest { crashes_max: 3, limit: 10, patience: Duration::ZERO };
    let rescued = loop {
        // In the name of whoever leads, whose term may end just now.
        let term = store.lead(WorkerId(1), Duration::from_secs(1)).await?.term;
        match store.rescue(term, ask).await {
            Err(StoreError::NotLeader(_)) => {}
            rescued => break rescued?,
        }
    };
    ensure!(rescued.is_empty(), "it was rescued: {rescued:?}");
    Ok(())
}

/// Enqueues one charge and lets a worker run it once.
async fn run_charge<D: Driver>(way: Way) -> Result<(Shop, JobInfo)> {
    let shop = Shop::open().await?;
    shop.client.enqueue(Charge { order: 5 }).unique("5").await?;
    let bank = Arc::new(Bank { url: shop.url.clone(), way, ended: tokio::sync::Notify::new() });
    let worker = Worker::new(&shop.client, bank.clone()).job_blocking(charge::<D>);
    let worker = match way {
        Way::HoldTheTransaction => worker.lease(SHORT_LEASE),
        _ => worker,
    };
    worker.run_until(async { bank.ended.notified().await }).await?;
    let job = shop.only_job().await?;
    Ok((shop, job))
}

pub(crate) async fn an_effect_and_its_completion_commit_together<D: Driver>() -> Result<()> {
    let (shop, job) = run_charge::<D>(Way::Commit).await?;
    assert_eq!((shop.orders()?.as_str(), job.state), ("5", State::Completed));
    assert_eq!(job.progress.and_then(|said| said.note).as_deref(), Some("booked"));
    let log = "SELECT string_agg(line, '+') FROM dutiful.log";
    assert_eq!(sql(&shop.url, log)?, "it's \"booked\"", "the last words go along, once");
    assert_eq!(sql(&shop.url, "SELECT count(*) FROM dutiful.unique_key")?, "0");
    Ok(())
}

pub(crate) async fn a_completion_that_was_rolled_back_is_a_failure<D: Driver>() -> Result<()> {
    let (shop, job) = run_charge::<D>(Way::RollBack).await?;
    assert_eq!((shop.orders()?.as_str(), job.state), ("", State::Dead));
    let error = job.last_error.context("it says why")?;
    assert!(error.message.contains("did not commit"), "{error:?}");
    Ok(())
}

pub(crate) async fn a_stale_worker_commits_nothing<D: Driver>() -> Result<()> {
    let (shop, job) = run_charge::<D>(Way::LoseTheLease).await?;
    assert_eq!((shop.orders()?.as_str(), job.state), ("", State::Active));
    Ok(())
}

pub(crate) async fn a_transaction_held_for_three_leases_keeps_its_job<D: Driver>() -> Result<()> {
    let (shop, job) = run_charge::<D>(Way::HoldTheTransaction).await?;
    let said = &job.last_error;
    assert_eq!((shop.orders()?.as_str(), job.state), ("5", State::Completed), "{said:?}");
    assert_eq!((job.attempt, job.crashes), (1, 0));
    Ok(())
}

pub(crate) async fn another_database_is_refused_before_any_write<D: Driver>() -> Result<()> {
    let (ours, theirs) = (Shop::open().await?, Shop::open().await?);
    let work = async |tx: &mut D::Tx<'_>| -> Result<()> {
        let refused = ours.client.enqueue(Charge { order: 1 }).within(&mut *tx).await;
        let Err(Error::Store(StoreError::Elsewhere { .. })) = refused else {
            bail!("it was not refused: {refused:?}");
        };
        let refused = theirs.client.enqueue(Charge { order: 1 }).within(tx).await;
        ensure!(refused.is_err(), "after the refusal it can only be rolled back");
        Ok(())
    };
    D::transact(&theirs.url, End::Commit, work).await.unwrap_or(Ok(()))?;
    assert_eq!((ours.states().await?, theirs.states().await?), (vec![], vec![]));
    Ok(())
}

pub(crate) async fn a_database_without_jobs_is_refused<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let bare = Postgres::shared(Version::System)?.fresh_database()?;
    let work = async |tx: &mut D::Tx<'_>| shop.client.enqueue(Charge { order: 1 }).within(tx).await;
    let refused = D::transact(&bare, End::Rollback, work).await?;
    assert!(
        matches!(refused, Err(Error::Store(StoreError::Elsewhere { .. }))),
        "it was not refused: {refused:?}"
    );
    Ok(())
}

pub(crate) async fn a_broken_transaction_says_so<D: Driver>() -> Result<()> {
    let shop = Shop::open().await?;
    let work = async |tx: &mut D::Tx<'_>| {
        D::execute(tx, "INSERT INTO nowhere VALUES (1)").await.expect_err("there is no such table");
        shop.client.enqueue(Charge { order: 1 }).within(tx).await
    };
    let refused = D::transact(&shop.url, End::Rollback, work).await?;
    let Err(Error::Store(StoreError::Transaction(text))) = refused else {
        bail!("it was not refused: {refused:?}");
    };
    assert!(text.contains("roll back"), "{text}");
    Ok(())
}
