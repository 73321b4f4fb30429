//! The promises of a user's transaction, through deadpool-postgres.

#[path = "../../tests/promises.rs"]
mod promises;

use anyhow::Result;
use deadpool_postgres::{Manager, Pool, Transaction};
use dutiful::Client;
use dutiful_deadpool_postgres::DeadpoolPostgres;
use dutiful_fixture::{Postgres, Version};
use promises::{Driver, End, all_promises};
use tokio_postgres::NoTls;

struct Pooled;

impl Driver for Pooled {
    type Marker = DeadpoolPostgres;
    type Tx<'t> = Transaction<'t>;

    async fn transact<R>(
        url: &str,
        end: End,
        work: impl for<'a, 't> AsyncFnOnce(&'a mut Transaction<'t>) -> R,
    ) -> Result<R> {
        let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(1).build()?;
        let mut db = pool.get().await?;
        let mut tx = db.transaction().await?;
        let answer = work(&mut tx).await;
        match end {
            End::Commit => tx.commit().await?,
            End::Rollback => tx.rollback().await?,
        }
        Ok(answer)
    }

    async fn execute(tx: &mut Self::Tx<'_>, sql: &str) -> Result<()> {
        Ok(tx.batch_execute(sql).await?)
    }
}

all_promises!(Pooled);

#[tokio::test]
async fn a_savepoint_that_is_taken_back_takes_its_job_along() -> Result<()> {
    let url = Postgres::shared(Version::System)?.fresh_database()?;
    let client = Client::builder().migrate(true).connect(&url).await?;
    let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).build()?;
    let mut db = pool.get().await?;
    let mut tx = db.transaction().await?;
    let kept = client.enqueue_raw("greet", "1").within(&mut tx).await?.id;
    let mut inner = tx.transaction().await?;
    client.enqueue_raw("greet", "2").within(&mut inner).await?;
    inner.rollback().await?;
    tx.commit().await?;
    let jobs = client.jobs(dutiful::Filter::default()).await?.jobs;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [kept]);
    Ok(())
}
