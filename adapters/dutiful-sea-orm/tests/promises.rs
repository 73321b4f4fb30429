//! The promises of a user's transaction, through SeaORM.

#[path = "../../promises.rs"]
mod promises;

use anyhow::Result;
use dutiful::Client;
use dutiful_fixture::{Postgres, Version};
use dutiful_sea_orm::SeaOrm;
use promises::{Driver, End, all_promises};
use sea_orm::{ConnectionTrait, Database, DatabaseTransaction, TransactionTrait};

struct ThroughSeaOrm;

impl Driver for ThroughSeaOrm {
    type Marker = SeaOrm;
    type Tx<'t> = DatabaseTransaction;

    async fn transact<R>(
        url: &str,
        end: End,
        work: impl for<'a, 't> AsyncFnOnce(&'a mut DatabaseTransaction) -> R,
    ) -> Result<R> {
        let db = Database::connect(url).await?;
        let mut tx = db.begin().await?;
        let answer = work(&mut tx).await;
        match end {
            End::Commit => tx.commit().await?,
            End::Rollback => tx.rollback().await?,
        }
        db.close().await?;
        Ok(answer)
    }

    async fn execute(tx: &mut Self::Tx<'_>, sql: &str) -> Result<()> {
        tx.execute_unprepared(sql).await?;
        Ok(())
    }
}

all_promises!(ThroughSeaOrm);

#[tokio::test]
async fn a_transaction_that_a_closure_lends_will_do() -> Result<()> {
    let url = Postgres::shared(Version::System)?.fresh_database()?;
    let client = Client::builder().migrate(true).connect(&url).await?;
    let db = Database::connect(&url).await?;
    let jobs = client.clone();
    let lent = db.transaction::<_, _, dutiful::Error>(move |tx| {
        Box::pin(async move { jobs.enqueue_raw("greet", "1").within(&mut &*tx).await })
    });
    lent.await?;
    assert_eq!(client.jobs(dutiful::Filter::default()).await?.jobs.len(), 1);
    Ok(())
}
