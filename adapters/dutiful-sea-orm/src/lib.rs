//! Dutiful's jobs in your own transaction of SeaORM on Postgres: both commit, or neither.
//!
//! ```no_run
//! use dutiful::{Client, Completed, Context, Job, Result};
//! use dutiful_sea_orm as _; // once in the program: makes the transaction known to Dutiful
//! use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
//! # #[derive(serde::Serialize, serde::Deserialize)] struct ConfirmOrder { order: i64 }
//! # impl Job for ConfirmOrder { const TYPE: &'static str = "confirm_order"; }
//!
//! // In the application: the order and its job, or neither.
//! async fn order(db: &DatabaseConnection, client: &Client, order: i64) -> Result<()> {
//!     let mut tx = db.begin().await?;
//!     tx.execute_unprepared("INSERT INTO orders (id) VALUES (1)").await?; // or an entity's insert
//!     client.enqueue(ConfirmOrder { order }).within(&mut tx).await?;
//!     tx.commit().await?;
//!     Ok(())
//! }
//!
//! // In the handler: the effect and the completion, or neither.
//! async fn confirm(_: ConfirmOrder, cx: Context<DatabaseConnection>) -> Result<Completed> {
//!     let mut tx = cx.app.begin().await?;
//!     tx.execute_unprepared("UPDATE orders SET confirmed = true").await?;
//!     let done = cx.complete_within(&mut tx).await?; // fails if the job is no longer ours
//!     tx.commit().await?;
//!     Ok(done)
//! }
//! # async fn work(client: &Client, db: DatabaseConnection) { let _ = dutiful::Worker::new(client, db).job(confirm); }
//! ```
//!
//! A closure of `db.transaction(|tx| …)` is given `tx: &DatabaseTransaction`; pass `&mut &*tx`.
//!
//! The client's store must be the same database (`postgres://…`); another one is refused before
//! anything is written, and so is a transaction of MySQL or SQLite. What is no transaction does not
//! compile:
//!
//! ```compile_fail,E0277
//! # use dutiful_sea_orm as _;
//! async fn wrong(mut db: sea_orm::DatabaseConnection, client: &dutiful::Client) {
//!     let _ = client.enqueue_raw("confirm_order", "{}").within(&mut db).await;
//! }
//! ```

use dutiful::{Asked, Transaction, TransactionError};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, Statement};

/// The driver, for the compiler; it is never made.
#[derive(Debug)]
pub enum SeaOrm {}

impl Transaction<SeaOrm> for DatabaseTransaction {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(ask(self, statement, parameter))
    }
}

impl Transaction<SeaOrm> for &DatabaseTransaction {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(ask(self, statement, parameter))
    }
}

async fn ask(
    tx: &DatabaseTransaction,
    statement: &str,
    parameter: &str,
) -> Result<String, TransactionError> {
    let backend = tx.get_database_backend();
    if backend != DbBackend::Postgres {
        let text = format!("it is one of {backend:?}, and the jobs are in Postgres");
        return Err(TransactionError::said("3D000", text));
    }
    let asked = Statement::from_sql_and_values(backend, statement, [parameter.into()]);
    let row = tx.query_one_raw(asked).await.map_err(|error| why(&error))?;
    let row = row.ok_or_else(|| TransactionError::said("02000", "the server answered nothing"))?;
    row.try_get_by_index(0).map_err(|error| why(&error))
}

fn why(error: &DbErr) -> TransactionError {
    let (DbErr::Query(inner) | DbErr::Exec(inner) | DbErr::Conn(inner)) = error else {
        return TransactionError::new(error);
    };
    let RuntimeErr::SqlxError(inner) = inner else {
        return TransactionError::new(error);
    };
    match inner.as_database_error() {
        Some(said) => TransactionError::said(said.code().unwrap_or_default(), said.message()),
        None => TransactionError::new(error),
    }
}
