//! Dutiful's jobs in your own transaction of `tokio-postgres`: both commit, or neither.
//!
//! ```no_run
//! use dutiful::{Client, Completed, Context, Job, Result};
//! use dutiful_tokio_postgres as _; // once in the program: makes the transaction known to Dutiful
//! # #[derive(serde::Serialize, serde::Deserialize)] struct ConfirmOrder { order: i64 }
//! # impl Job for ConfirmOrder { const TYPE: &'static str = "confirm_order"; }
//! # struct Shop;
//! # impl Shop {
//! #     async fn database(&self) -> Result<tokio_postgres::Client> { todo() }
//! # }
//! # fn todo<T>() -> T { std::process::abort() }
//!
//! // In the application: the order and its job, or neither.
//! async fn order(db: &mut tokio_postgres::Client, client: &Client, order: i64) -> Result<()> {
//!     let mut tx = db.transaction().await?;
//!     tx.execute("INSERT INTO orders (id) VALUES ($1)", &[&order]).await?;
//!     client.enqueue(ConfirmOrder { order }).within(&mut tx).await?;
//!     tx.commit().await?;
//!     Ok(())
//! }
//!
//! // In the handler: the effect and the completion, or neither.
//! async fn confirm(job: ConfirmOrder, cx: Context<Shop>) -> Result<Completed> {
//!     let mut db = cx.app.database().await?;
//!     let mut tx = db.transaction().await?;
//!     tx.execute("UPDATE orders SET confirmed = true WHERE id = $1", &[&job.order]).await?;
//!     let done = cx.complete_within(&mut tx).await?; // fails if the job is no longer ours
//!     tx.commit().await?;
//!     Ok(done)
//! }
//! # dutiful::Worker::new(todo(), Shop).job(confirm);
//! ```
//!
//! The client's store must be the same database (`postgres://…`); another one is refused before
//! anything is written. A function that is given `tx: &mut Transaction<'_>` passes `&mut *tx`.
//!
//! What is no transaction does not compile:
//!
//! ```compile_fail,E0277
//! # use dutiful_tokio_postgres as _;
//! async fn wrong(db: &mut tokio_postgres::Client, client: &dutiful::Client) {
//!     let _ = client.enqueue_raw("confirm_order", "{}").within(db).await;
//! }
//! ```

use dutiful::{Asked, Transaction, TransactionError};
use tokio_postgres::types::Type;

/// The driver, for the compiler; it is never made.
#[derive(Debug)]
pub enum TokioPostgres {}

impl Transaction<TokioPostgres> for tokio_postgres::Transaction<'_> {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(async move {
            let row = self.query_typed_one(statement, &[(&parameter, Type::TEXT)]).await;
            row.and_then(|row| row.try_get(0)).map_err(|error| why(&error))
        })
    }
}

fn why(error: &tokio_postgres::Error) -> TransactionError {
    match error.as_db_error() {
        Some(said) => TransactionError::said(said.code().code(), said.message()),
        None => TransactionError::new(error),
    }
}
