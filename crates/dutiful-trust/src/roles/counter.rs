//! The user's own data beside the jobs: a counter in the same file, raised with each completion.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::final_state::statement;

/// How long a transaction waits for the file's write lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const SQL: &str = include_str!("../sql/counter.sql");

/// Connections of the application, kept between jobs.
pub(super) struct Counter {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Counter {
    /// Makes the table if it is not there.
    pub(super) fn open(file: PathBuf) -> rusqlite::Result<Self> {
        let counter = Self { file, idle: Mutex::default() };
        let conn = counter.connect()?;
        conn.execute(statement(SQL, "create"), [])?;
        conn.execute(statement(SQL, "zero"), [])?;
        Ok(counter)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(&self.file)?;
        conn.busy_timeout(LOCK_WAIT)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        Ok(conn)
    }

    /// Raises the counter and does the rest of the transaction, which commits if that succeeds.
    pub(super) fn raise<T>(
        &self,
        rest: impl FnOnce(&Transaction<'_>) -> dutiful::Result<T>,
    ) -> dutiful::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => self.connect()?,
        };
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.prepare_cached(statement(SQL, "raise"))?.execute([])?;
        let done = rest(&tx)?;
        tx.commit()?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        Ok(done)
    }
}
