//! The promises of a user's transaction, through sqlx.

#[path = "../../tests/promises.rs"]
mod promises;

use anyhow::Result;
use dutiful::Client;
use dutiful_fixture::{Postgres, Version};
use dutiful_sqlx::Sqlx;
use promises::{Driver, End, all_promises};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Transaction};

struct ThroughSqlx;

impl Driver for ThroughSqlx {
    type Marker = Sqlx;
    type Tx<'t> = Transaction<'t, sqlx::Postgres>;

    async fn transact<R>(
        url: &str,
        end: End,
        work: impl for<'a, 't> AsyncFnOnce(&'a mut Transaction<'t, sqlx::Postgres>) -> R,
    ) -> Result<R> {
        let mut db = PgConnection::connect(url).await?;
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
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut **tx).await?;
        Ok(())
    }
}

all_promises!(ThroughSqlx);

#[tokio::test]
async fn a_savepoint_that_is_taken_back_takes_its_job_along() -> Result<()> {
    let url = Postgres::shared(Version::System)?.fresh_database()?;
    let client = Client::builder().migrate(true).connect(&url).await?;
    let mut db = PgConnection::connect(&url).await?;
    let mut tx = db.begin().await?;
    let kept = client.enqueue_raw("greet", "1").within(&mut tx).await?.id;
    let mut inner = tx.begin().await?;
    client.enqueue_raw("greet", "2").within(&mut inner).await?;
    inner.rollback().await?;
    tx.commit().await?;
    let jobs = client.jobs(dutiful::Filter::default()).await?.jobs;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [kept]);
    Ok(())
}
