//! Enqueue and completion inside the user's own transaction: both commit, or neither.
//!
//! Which types are transactions, and what a call on them returns, is up to the stores: a
//! `&rusqlite::Transaction` on SQLite, a `&mut` of a driver's transaction on Postgres.

use crate::context::{Attempt, Context};
use crate::enqueue::{Enqueue, EnqueueAll};

/// What `.within(…)` and `complete_within(…)` take: an open transaction of the caller's own.
///
/// On SQLite it is `&tx`, a `&rusqlite::Transaction`, and what comes back has a method `.now()`. On
/// Postgres it is `&mut tx` of any driver that has a crate beside Dutiful (`dutiful-sqlx`,
/// `dutiful-tokio-postgres`, …), and what comes back is awaited. `Driver` is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no transaction that Dutiful can write in",
    label = "not an open transaction",
    note = "begin a transaction and pass `&mut tx` (a `rusqlite::Transaction`: `&tx`)",
    note = "each driver of Postgres has a crate: `use dutiful_sqlx as _;` makes it known"
)]
pub trait Within<'a, Driver>: Sized {
    /// An enqueue in this transaction.
    type Enqueue;
    /// An enqueue of many in this transaction.
    type EnqueueAll;
    /// A completion in this transaction.
    type Complete;

    #[doc(hidden)]
    fn enqueue(self, job: Enqueue<'a>) -> Self::Enqueue;
    #[doc(hidden)]
    fn enqueue_all(self, jobs: EnqueueAll<'a>) -> Self::EnqueueAll;
    #[doc(hidden)]
    fn complete(self, ending: Ending<'a>) -> Self::Complete;
}

/// An attempt that is to be completed in a transaction.
#[doc(hidden)]
pub struct Ending<'a> {
    pub(crate) attempt: &'a Attempt,
}

impl<'a> Enqueue<'a> {
    /// Stores it in the caller's own transaction: it exists when that commits, or never.
    ///
    /// On SQLite `.within(&tx).now()?`: a `rusqlite::Transaction` cannot cross an await. A type's
    /// settings that only the store knows do not apply there; those beside the Rust type do. On
    /// Postgres `.within(&mut tx).await?`, with the crate of the driver.
    ///
    /// # Errors
    /// [`Error::InvalidJob`](crate::Error::InvalidJob) before anything is written;
    /// [`StoreError::Elsewhere`](crate::StoreError::Elsewhere) when the transaction is in another
    /// file or database; what the database says. The caller rolls back.
    pub fn within<Driver, Tx: Within<'a, Driver>>(self, tx: Tx) -> Tx::Enqueue {
        tx.enqueue(self)
    }
}

impl<'a> EnqueueAll<'a> {
    /// Stores all of them in the caller's own transaction, as [`Enqueue::within`] does one.
    ///
    /// # Errors
    /// As [`Enqueue::within`].
    pub fn within<Driver, Tx: Within<'a, Driver>>(self, tx: Tx) -> Tx::EnqueueAll {
        tx.enqueue_all(self)
    }
}

impl<A> Context<A> {
    /// Completes the job in the caller's own transaction: its effects there and the completion
    /// commit together, once. Return the [`Completed`](crate::Completed) after the commit.
    ///
    /// On SQLite `cx.complete_within(&tx).now()?`, on Postgres `cx.complete_within(&mut tx).await?`.
    /// Call it in the outermost transaction, after its writes: what a savepoint takes back, the
    /// refusal too, is gone. Under REPEATABLE READ and above, call it first.
    ///
    /// # Errors
    /// [`Error::LeaseLost`](crate::Error::LeaseLost): the job is no longer ours, and the transaction
    /// is rolled back (SQLite) or can only be rolled back (Postgres);
    /// [`StoreError::Elsewhere`](crate::StoreError::Elsewhere); what the database says.
    pub fn complete_within<'a, Driver, Tx>(&'a self, tx: Tx) -> Tx::Complete
    where
        Tx: Within<'a, Driver>,
    {
        tx.complete(Ending { attempt: &self.attempt })
    }
}
