//! Dutiful's jobs in your own transaction of `deadpool-postgres`: both commit, or neither.
//!
//! ```no_run
//! use deadpool_postgres::Pool;
//! use dutiful::{Client, Completed, Context, Job, Result};
//! use dutiful_deadpool_postgres as _; // once in the program: makes the transaction known
//! # #[derive(serde::Serialize, serde::Deserialize)] struct ConfirmOrder { order: i64 }
//! # impl Job for ConfirmOrder { const TYPE: &'static str = "confirm_order"; }
//!
//! // In the application: the order and its job, or neither.
//! async fn order(pool: &Pool, client: &Client, order: i64) -> Result<()> {
//!     let mut db = pool.get().await?;
//!     let mut tx = db.transaction().await?;
//!     tx.execute("INSERT INTO orders (id) VALUES ($1)", &[&order]).await?;
//!     client.enqueue(ConfirmOrder { order }).within(&mut tx).await?;
//!     tx.commit().await?;
//!     Ok(())
//! }
//!
//! // In the handler: the effect and the completion, or neither.
//! async fn confirm(job: ConfirmOrder, cx: Context<Pool>) -> Result<Completed> {
//!     let mut db = cx.app.get().await?;
//!     let mut tx = db.transaction().await?;
//!     tx.execute("UPDATE orders SET confirmed = true WHERE id = $1", &[&job.order]).await?;
//!     let done = cx.complete_within(&mut tx).await?; // fails if the job is no longer ours
//!     tx.commit().await?;
//!     Ok(done)
//! }
//! # async fn work(client: &Client, pool: Pool) { let _ = dutiful::Worker::new(client, pool).job(confirm); }
//! ```
//!
//! The client's store must be the same database (`postgres://…`); another one is refused before
//! anything is written. A function that is given `tx: &mut Transaction<'_>` passes `&mut *tx`.
//!
//! What is no transaction does not compile:
//!
//! ```compile_fail,E0277
//! # use dutiful_deadpool_postgres as _;
//! async fn wrong(mut pool: deadpool_postgres::Pool, client: &dutiful::Client) {
//!     let _ = client.enqueue_raw("confirm_order", "{}").within(&mut pool).await;
//! }
//! ```

use deadpool_postgres::tokio_postgres::{Error, types::Type};
use dutiful::{Asked, Transaction, TransactionError};

/// The driver, for the compiler; it is never made.
#[derive(Debug)]
pub enum DeadpoolPostgres {}

impl Transaction<DeadpoolPostgres> for deadpool_postgres::Transaction<'_> {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(async move {
            let row = self.query_typed_one(statement, &[(&parameter, Type::TEXT)]).await;
            row.and_then(|row| row.try_get(0)).map_err(|error| why(&error))
        })
    }
}

fn why(error: &Error) -> TransactionError {
    match error.as_db_error() {
        Some(said) => TransactionError::said(said.code().code(), said.message()),
        None => TransactionError::new(error),
    }
}
