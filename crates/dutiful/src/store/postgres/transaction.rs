//! What the crate of a foreign driver implements for its transaction: run one statement.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// What a transaction answers: a text, or why there is none.
pub type Asked<'t> = Pin<Box<dyn Future<Output = Result<String, TransactionError>> + Send + 't>>;

/// An open transaction of some driver of Postgres. A driver's crate owns the type `Driver`, an empty
/// one, and implements this for the driver's transaction; the compiler finds `Driver` at the call.
///
/// ```compile_fail,E0277
/// # async fn enqueue(client: dutiful::Client, pool: String) -> Result<(), dutiful::Error> {
/// # let mut pool = pool;
/// client.enqueue_raw("greet", "1").within(&mut pool).await?; // a pool is no transaction
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no transaction of a driver that Dutiful knows",
    label = "not an open transaction",
    note = "begin a transaction and pass `&mut tx`",
    note = "each driver has a crate, which `use dutiful_sqlx as _;` makes known"
)]
pub trait Transaction<Driver>: Send {
    /// Runs a statement with one parameter, a text, and returns the text in the only column of its
    /// only row. The statement differs from call to call only in its name: there are two. It should
    /// not be prepared for longer than this, for a pooler may stand between.
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t>;
}

/// Why a statement in somebody's transaction failed.
#[derive(Debug)]
pub struct TransactionError {
    code: Option<String>,
    text: String,
}

impl TransactionError {
    /// A failure of which the server said nothing, such as a lost connection.
    pub fn new(why: &(dyn Error + 'static)) -> Self {
        Self { code: None, text: super::errors::chain(why) }
    }

    /// What the server said: the SQLSTATE (`40001`) and its message.
    pub fn said(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: Some(code.into()), text: message.into() }
    }

    /// The driver's connection is not inside a transaction.
    pub fn outside() -> Self {
        Self::said(OUTSIDE, "begin it first: this connection is in none")
    }

    /// Returns the SQLSTATE, if the server sent one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

/// no_active_sql_transaction
pub(super) const OUTSIDE: &str = "25P01";

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for TransactionError {}
