//! The promises of a user's transaction, through diesel-async; and what holds outside of one.

#[path = "../../promises.rs"]
mod promises;

use anyhow::Result;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use dutiful::{Client, Error, HandlerError, StoreError};
use dutiful_diesel::Diesel;
use dutiful_fixture::{Postgres, Version};
use promises::{Driver, End, all_promises};

struct ThroughDiesel;

impl Driver for ThroughDiesel {
    type Marker = Diesel;
    type Tx<'t> = AsyncPgConnection;

    async fn transact<R>(
        url: &str,
        end: End,
        work: impl for<'a, 't> AsyncFnOnce(&'a mut AsyncPgConnection) -> R,
    ) -> Result<R> {
        // What `AsyncConnection::transaction` does, for work that need not be `Send`.
        let mut db = AsyncPgConnection::establish(url).await?;
        AnsiTransactionManager::begin_transaction(&mut db).await?;
        let answer = work(&mut db).await;
        match end {
            End::Commit => AnsiTransactionManager::commit_transaction(&mut db).await?,
            End::Rollback => AnsiTransactionManager::rollback_transaction(&mut db).await?,
        }
        Ok(answer)
    }

    async fn execute(tx: &mut Self::Tx<'_>, sql: &str) -> Result<()> {
        Ok(tx.batch_execute(sql).await?)
    }
}

all_promises!(ThroughDiesel);

#[tokio::test]
async fn a_connection_outside_a_transaction_is_refused() -> Result<()> {
    let url = Postgres::shared(Version::System)?.fresh_database()?;
    let client = Client::builder().migrate(true).connect(&url).await?;
    let mut db = AsyncPgConnection::establish(&url).await?;
    let refused = client.enqueue_raw("greet", "1").within(&mut db).await;
    assert!(matches!(refused, Err(Error::Store(StoreError::Transaction(_)))), "{refused:?}");

    let inside = db.transaction::<_, HandlerError, _>(async |tx| {
        Ok(client.enqueue_raw("greet", "2").within(tx).await?)
    });
    inside.await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let refused = client.enqueue_raw("greet", "3").within(&mut db).await;
    assert!(refused.is_err(), "the transaction has ended");
    let jobs = client.jobs(dutiful::Filter::default()).await?.jobs;
    assert_eq!(jobs.len(), 1, "nothing else was sent");
    Ok(())
}
