//! The promises of a user's transaction, through tokio-postgres.

#[path = "../../promises.rs"]
mod promises;

use anyhow::Result;
use dutiful_tokio_postgres::TokioPostgres;
use promises::{Driver, End, all_promises};
use tokio_postgres::{NoTls, Transaction};

struct Direct;

impl Driver for Direct {
    type Marker = TokioPostgres;
    type Tx<'t> = Transaction<'t>;

    async fn transact<R>(
        url: &str,
        end: End,
        work: impl for<'a, 't> AsyncFnOnce(&'a mut Transaction<'t>) -> R,
    ) -> Result<R> {
        let (mut client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let driver = tokio::spawn(connection);
        let mut tx = client.transaction().await?;
        let answer = work(&mut tx).await;
        match end {
            End::Commit => tx.commit().await?,
            End::Rollback => tx.rollback().await?,
        }
        drop(client);
        driver.await??;
        Ok(answer)
    }

    async fn execute(tx: &mut Self::Tx<'_>, sql: &str) -> Result<()> {
        Ok(tx.batch_execute(sql).await?)
    }
}

all_promises!(Direct);
