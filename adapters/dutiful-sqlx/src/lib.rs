//! Dutiful's jobs in your own transaction of `sqlx` on Postgres: both commit, or neither.
//!
//! ```no_run
//! use dutiful::{Client, Completed, Context, Job, Result};
//! use dutiful_sqlx as _; // once in the program: makes the transaction known to Dutiful
//! use sqlx::PgPool;
//! # #[derive(serde::Serialize, serde::Deserialize)] struct ConfirmOrder { order: i64 }
//! # impl Job for ConfirmOrder { const TYPE: &'static str = "confirm_order"; }
//!
//! // In the application: the order and its job, or neither.
//! async fn order(pool: &PgPool, client: &Client, order: i64) -> Result<()> {
//!     let mut tx = pool.begin().await?;
//!     sqlx::query("INSERT INTO orders (id) VALUES ($1)").bind(order).execute(&mut *tx).await?;
//!     client.enqueue(ConfirmOrder { order }).within(&mut tx).await?;
//!     tx.commit().await?;
//!     Ok(())
//! }
//!
//! // In the handler: the effect and the completion, or neither.
//! async fn confirm(job: ConfirmOrder, cx: Context<PgPool>) -> Result<Completed> {
//!     let mut tx = cx.app.begin().await?;
//!     let update = sqlx::query("UPDATE orders SET confirmed = true WHERE id = $1");
//!     update.bind(job.order).execute(&mut *tx).await?;
//!     let done = cx.complete_within(&mut tx).await?; // fails if the job is no longer ours
//!     tx.commit().await?;
//!     Ok(done)
//! }
//! # async fn work(client: &Client, pool: PgPool) { let _ = dutiful::Worker::new(client, pool).job(confirm); }
//! ```
//!
//! Note the difference: sqlx's own calls take the connection, `&mut *tx`; Dutiful's take the
//! transaction, `&mut tx`. A function that is given `tx: &mut Transaction<'_, Postgres>` passes
//! `&mut *tx` to Dutiful and `&mut **tx` to sqlx.
//!
//! The client's store must be the same database (`postgres://…`); another one is refused before
//! anything is written. What is no transaction does not compile:
//!
//! ```compile_fail,E0277
//! # use dutiful_sqlx as _;
//! async fn wrong(mut pool: sqlx::PgPool, client: &dutiful::Client) {
//!     let _ = client.enqueue_raw("confirm_order", "{}").within(&mut pool).await;
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use dutiful_sqlx as _;
//! async fn wrong(connection: &mut sqlx::PgConnection, client: &dutiful::Client) {
//!     let _ = client.enqueue_raw("confirm_order", "{}").within(connection).await;
//! }
//! ```

use dutiful::{Asked, Transaction, TransactionError};
use sqlx::{AssertSqlSafe, Postgres};

/// The driver, for the compiler; it is never made.
#[derive(Debug)]
pub enum Sqlx {}

impl Transaction<Sqlx> for sqlx::Transaction<'_, Postgres> {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        // The statement is Dutiful's own text; what varies goes in as the parameter.
        let query = sqlx::query_scalar::<_, String>(AssertSqlSafe(statement.to_owned()));
        Box::pin(async move {
            let answer = query.bind(parameter).persistent(false).fetch_one(&mut **self).await;
            answer.map_err(|error| why(&error))
        })
    }
}

fn why(error: &sqlx::Error) -> TransactionError {
    match error.as_database_error() {
        Some(said) => TransactionError::said(said.code().unwrap_or_default(), said.message()),
        None => TransactionError::new(error),
    }
}
