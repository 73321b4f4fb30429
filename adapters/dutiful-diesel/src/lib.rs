//! Dutiful's jobs in your own transaction of `diesel-async` on Postgres: both commit, or neither.
//!
//! ```no_run
//! use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
//! use dutiful::{Client, Completed, Context, HandlerError, Job, Result};
//! use dutiful_diesel as _; // once in the program: makes the transaction known to Dutiful
//! # #[derive(serde::Serialize, serde::Deserialize)] struct ConfirmOrder { order: i64 }
//! # impl Job for ConfirmOrder { const TYPE: &'static str = "confirm_order"; }
//! # struct Shop;
//! # impl Shop {
//! #     async fn database(&self) -> Result<AsyncPgConnection> { todo() }
//! # }
//! # fn todo<T>() -> T { std::process::abort() }
//!
//! // In the application: the order and its job, or neither.
//! async fn order(db: &mut AsyncPgConnection, client: &Client, order: i64) -> Result<()> {
//!     db.transaction::<_, HandlerError, _>(async |tx| {
//!         let insert = diesel::sql_query("INSERT INTO orders (id) VALUES ($1)");
//!         insert.bind::<diesel::sql_types::BigInt, _>(order).execute(tx).await?;
//!         client.enqueue(ConfirmOrder { order }).within(tx).await?;
//!         Ok(())
//!     })
//!     .await
//! }
//!
//! // In the handler: the effect and the completion, or neither.
//! async fn confirm(job: ConfirmOrder, cx: Context<Shop>) -> Result<Completed> {
//!     let mut db = cx.app.database().await?;
//!     db.transaction::<_, HandlerError, _>(async |tx| {
//!         let update = diesel::sql_query("UPDATE orders SET confirmed = true WHERE id = $1");
//!         update.bind::<diesel::sql_types::BigInt, _>(job.order).execute(tx).await?;
//!         Ok(cx.complete_within(tx).await?) // fails if the job is no longer ours
//!     })
//!     .await
//! }
//! # dutiful::Worker::new(todo(), Shop).job(confirm);
//! ```
//!
//! Diesel's transaction has no type of its own: its closure is given the connection. So whether a
//! transaction is open is seen only at the call, by the count that Diesel keeps. Outside of one it
//! is refused as [`StoreError::Transaction`](dutiful::StoreError::Transaction), and nothing is sent;
//! a `BEGIN` that Diesel does not know of does not count. A pooled connection is passed as
//! `&mut **tx`. In a transaction within a transaction, a savepoint, do not call `complete_within`:
//! Diesel would take back the savepoint alone.
//!
//! The client's store must be the same database (`postgres://…`); another one is refused before
//! anything is written. What is no connection does not compile:
//!
//! ```compile_fail,E0277
//! # use dutiful_diesel as _;
//! async fn wrong(mut url: String, client: &dutiful::Client) {
//!     let _ = client.enqueue_raw("confirm_order", "{}").within(&mut url).await;
//! }
//! ```

use diesel::connection::TransactionManagerStatus;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};
use dutiful::{Asked, Transaction, TransactionError};

/// The driver, for the compiler; it is never made.
#[derive(Debug)]
pub enum Diesel {}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    answer: String,
}

impl Transaction<Diesel> for AsyncPgConnection {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(async move {
            if !is_inside(AnsiTransactionManager::transaction_manager_status_mut(self)) {
                return Err(TransactionError::outside());
            }
            // Diesel reads the columns of a plain query by their names.
            let named = format!("SELECT t.answer FROM ({statement}) t (answer)");
            let answer = sql_query(named).bind::<Text, _>(parameter).get_result(self).await;
            answer.map(|row: Answer| row.answer).map_err(|error| why(&error))
        })
    }
}

fn is_inside(status: &TransactionManagerStatus) -> bool {
    // One that only a rollback can end is open still: the server says so itself.
    !matches!(status.transaction_depth(), Ok(None))
}

/// Diesel drops the SQLSTATE. Dutiful's own codes come in a field that it keeps; what is wrong with
/// a place in the statement itself is that its function is not there.
fn why(error: &Error) -> TransactionError {
    let Error::DatabaseError(kind, said) = error else {
        return TransactionError::new(error);
    };
    let code = match (kind, said.constraint_name()) {
        (DatabaseErrorKind::SerializationFailure, _) => "40001",
        (DatabaseErrorKind::ReadOnlyTransaction, _) => "25006",
        (_, Some(code)) => code,
        (_, None) if said.statement_position().is_some() => "42883",
        (_, None) => "",
    };
    TransactionError::said(code, said.message())
}
