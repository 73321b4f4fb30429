//! The promises of a user's transaction, through deadpool-postgres.

#[path = "../../promises.rs"]
mod promises;

use anyhow::Result;
use deadpool_postgres::{Manager, Pool, Transaction};
use dutiful_deadpool_postgres::DeadpoolPostgres;
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
