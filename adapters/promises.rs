//! What every driver's transaction promises, on a real server; each crate beside this file runs all
//! of it through its own driver.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use dutiful::store::{ClaimRequest, Lane, RescueRequest};
use dutiful::{
    Client, Completed, Context, EnqueueOutcome, Error, Job, JobInfo, State, StoreError,
    Transaction, Worker,
};
use dutiful_fixture::{Postgres, Version};
use serde::{Deserialize, Serialize};

/// A lease that a test can outlive.
const SHORT_LEASE: Duration = Duration::from_millis(600);
/// Payloads that a store is tempted to change.
const HOSTILE: [&str; 8] = [
    r#"{"b":1,"a":2,"a":3}"#,
    " [1.0, 1e400, 12345678901234567890123, -0]\n",
    r#""\u0000 \ud800 \/ \u00e9 é 🦀 \\ ' "#,
    r#"{"__proto__":null,"$1":"'; DROP SCHEMA dutiful; --"}"#,
    "\"\u{7f}\u{85}\u{2028}\u{feff}\"",
    "[[],{},\"\",null,true]",
    "\t{ \"spaces\" :\r\n1 }  ",
    "\"%s {} $1 :name ? @p1\"",
];

/// How a test ends its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Commit,
    Rollback,
}

/// What a driver's crate tells the tests.
pub trait Driver: 'static {
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
            another_schema_and_no_schema_are_refused,
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
        let client = Client::connect(&url).await?;
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

pub async fn a_commit_makes_the_row_and_the_job<D: Driver>() -> Result<()> {
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
