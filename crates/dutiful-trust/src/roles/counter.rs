//! The user's own data beside the jobs: a counter in the same database, raised as jobs complete.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dutiful::{Completed, Context, Error, HandlerError, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::database::{Database, is_away, may_pass};
use crate::final_state::{file_of, is_postgres, statement};

/// How long a transaction waits for the file's write lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The rows of the counter in Postgres: a few, so that not all wait for one that stands still.
const ROWS: i32 = 32;
/// While the server is away, a job asks so much later again, uncharged.
const AWAY_WAIT: Duration = Duration::from_millis(100);
const SQLITE: &str = include_str!("../sql/counter_sqlite.sql");
const POSTGRES: &str = include_str!("../sql/counter_postgres.sql");

/// The counter where the jobs are.
pub(super) enum Counter {
    /// In the same file.
    Sqlite(InFile),
    /// In the same schema.
    Postgres(OnServer),
}

impl Counter {
    /// Opens the counter beside the store, and makes it where the file has none.
    pub(super) fn open(store: &str) -> anyhow::Result<Self> {
        if is_postgres(store) {
            return Ok(Self::Postgres(OnServer(Database::of(store)?.into())));
        }
        Ok(Self::Sqlite(InFile::open(file_of(store)?)?))
    }
}

/// Makes the counter in a schema of Postgres, at zero, before there are workers.
///
/// # Errors
/// What the server says.
pub async fn make_counter(store: &str) -> anyhow::Result<()> {
    let database = Database::of(store)?;
    let client = database.connect().await?;
    client.execute(&database.sql(POSTGRES, "create"), &[]).await?;
    client.execute(&database.sql(POSTGRES, "zero"), &[&ROWS]).await?;
    Ok(())
}

/// A counter in a file, and connections of the application, kept between jobs.
pub(super) struct InFile {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl InFile {
    fn open(file: PathBuf) -> rusqlite::Result<Self> {
        let counter = Self { file, idle: Mutex::default() };
        let conn = counter.connect()?;
        conn.execute(statement(SQLITE, "create"), [])?;
        conn.execute(statement(SQLITE, "zero"), [])?;
        Ok(counter)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(&self.file)?;
        conn.busy_timeout(LOCK_WAIT)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        Ok(conn)
    }

    /// Raises the counter and does the rest of the transaction, which commits if that succeeds.
    pub(super) fn raise<T>(&self, rest: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => self.connect()?,
        };
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.prepare_cached(statement(SQLITE, "raise"))?.execute([])?;
        let done = rest(&tx)?;
        tx.commit()?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        Ok(done)
    }
}

/// What comes first in the transaction: both must be fenced alike.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// The counter: the completion waits for the counter's row before it locks the lease.
    Raise,
    /// The completion: the lease is locked while the transaction waits for the counter's row.
    Complete,
}

/// A counter on a server.
pub(super) struct OnServer(Box<Database>);

impl OnServer {
    /// Raises the counter and completes the job in one transaction, and says so before the commit:
    /// after it, a kill could leave a completion without its effect.
    pub(super) async fn complete<A>(
        &self,
        cx: &Context<A>,
        first: First,
        say: impl FnOnce(),
    ) -> Result<Completed> {
        let mut client = self.0.take().await.map_err(later)?;
        let mut tx = client.transaction().await.map_err(later)?;
        let row = i32::from(cx.id().as_bytes()[15]) % ROWS;
        let raise = self.0.sql(POSTGRES, "raise");
        if first == First::Raise {
            tx.execute(&raise, &[&row]).await.map_err(later)?;
        }
        let done = cx.complete_within(&mut tx).await.map_err(ours)?;
        if first == First::Complete {
            tx.execute(&raise, &[&row]).await.map_err(later)?;
        }
        say();
        tx.commit().await.map_err(later)?;
        // Not after an error: a connection whose transaction was dropped may be anywhere.
        self.0.keep(client);
        Ok(done)
    }
}

/// A server that is away is no failure of the job.
fn later(error: tokio_postgres::Error) -> HandlerError {
    if is_away(&error) { HandlerError::snooze(AWAY_WAIT, error) } else { error.into() }
}

fn ours(error: Error) -> HandlerError {
    if may_pass(&error) { HandlerError::snooze(AWAY_WAIT, error) } else { error.into() }
}
