//! The promises of a user's transaction, through sqlx.

#[path = "../../promises.rs"]
mod promises;

use anyhow::Result;
use dutiful_sqlx::Sqlx;
use promises::{Driver, End, all_promises};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};

struct ThroughSqlx;

impl Driver for ThroughSqlx {
    type Marker = Sqlx;
    type Tx<'t> = Transaction<'t, Postgres>;

    async fn transact<R>(
        url: &str,
        end: End,
        work: impl for<'a, 't> AsyncFnOnce(&'a mut Transaction<'t, Postgres>) -> R,
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
