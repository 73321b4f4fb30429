//! The embedded store: one SQLite file, one writer thread with group commit, readers apart.

mod backup;
mod change;
mod claim;
mod count;
mod disk;
mod doctor;
mod doorbell;
mod enqueue;
mod errors;
mod finish;
mod inbox;
mod kept;
mod list;
mod look;
mod migrate;
mod note;
mod open;
mod operate;
mod partial;
mod presence;
mod readers;
mod restore;
mod rows;
mod silence;
mod statements;
mod tally;
mod turns;
mod upkeep;
mod verbs;
mod wal;
mod within;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::oneshot;

pub(crate) use self::restore::restore;
pub use self::within::{CompleteWithin, EnqueueAllWithin, EnqueueWithin, Rusqlite};

use self::doorbell::Doorbell;
use self::errors::Trouble;
use self::readers::Readers;
use self::silence::Silence;
use self::statements::prepare;
use self::upkeep::Suspects;
use self::writer::{Time, Txn, Writer, lock};
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::store::{Facts, Reply};

/// Threads that read beside the writer.
const READERS: usize = 2;

/// Jobs in a SQLite file (or in memory, for tests).
pub struct SqliteStore {
    writer: Writer,
    /// `None` in memory, where the one connection does everything.
    readers: Option<Readers>,
    /// Counts all live jobs, which takes long where there are millions: no page waits for that.
    counter: Option<Readers>,
    bell: Arc<Doorbell>,
    /// Canonical; `None` in memory.
    path: Option<PathBuf>,
    file: Option<open::Identity>,
    facts: Facts,
    /// The file may not grow over so many bytes.
    max_bytes: Option<i64>,
    /// For work inside the user's own transactions.
    time: Mutex<Time>,
    suspects: Arc<Mutex<Suspects>>,
    silence: Arc<Mutex<Silence>>,
    /// A store does not survive fork(): the child would share locks and descriptors.
    pid: u32,
}

impl SqliteStore {
    /// Opens `sqlite:FILE` or `sqlite::memory:`, makes or migrates the schema, checks a file whose
    /// last worker did not end in order.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::Open`], [`StoreError::Newer`], [`StoreError::Corrupt`]
    /// say what is wrong with the place; nothing is changed then.
    pub fn open(url: &str, clock: Clock) -> Result<Self, StoreError> {
        Self::open_target(open::Target::parse(url)?, clock)
    }

    /// The same for a file that must be there already.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and [`StoreError::Open`] when there is no such file.
    pub fn open_existing(url: &str, clock: Clock) -> Result<Self, StoreError> {
        let target = open::Target { must_exist: true, ..open::Target::parse(url)? };
        Self::open_target(target, clock)
    }

    fn open_target(target: open::Target, clock: Clock) -> Result<Self, StoreError> {
        let path = match &target.path {
            Some(path) => Some(open::prepare_file(path, &target)?),
            None => None,
        };
        let conn = open::writer(&target, path.as_deref())?;
        let explained = |trouble: Trouble| open::explain(trouble.into(), path.as_deref());
        migrate::migrate(&conn, None).map_err(explained)?;
        if let Some(path) = &path {
            check_after_crash(&conn, path)?;
        }
        let facts = facts(&conn, path.as_deref()).map_err(explained)?;
        let mut store = Self::start(conn, path.clone(), facts, clock)?;
        store.max_bytes = target.max_bytes;
        Ok(store)
    }

    fn start(
        conn: Connection,
        path: Option<PathBuf>,
        facts: Facts,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let no_thread = |error: std::io::Error| StoreError::Unavailable(error.to_string());
        let bell = Doorbell::new();
        let (mut readers, mut counter) = (None, None);
        let file = path.as_deref().map(open::Identity::of).transpose().map_err(no_thread)?;
        if let Some(path) = &path {
            let conns: Result<Vec<_>, _> = (0..READERS).map(|_| open::reader(path)).collect();
            readers = Some(Readers::start(conns?, &clock).map_err(no_thread)?);
            let conns = vec![open::reader(path)?];
            counter = Some(Readers::start(conns, &clock).map_err(no_thread)?);
            bell.watch(open::reader(path)?).map_err(no_thread)?;
        }
        Ok(Self {
            writer: Writer::start(conn, file.clone(), clock.clone(), bell.clone())
                .map_err(no_thread)?,
            readers,
            counter,
            bell,
            path,
            file,
            facts,
            max_bytes: None,
            time: Mutex::new(Time { clock, last: Timestamp::default() }),
            suspects: Arc::default(),
            silence: Arc::default(),
            pid: std::process::id(),
        })
    }

    fn check_process(&self) -> Result<(), StoreError> {
        if std::process::id() == self.pid { Ok(()) } else { Err(StoreError::Forked) }
    }

    /// Runs work of about so many rows in the writer's next transaction.
    fn write<T: Send + 'static>(
        &self,
        rows: usize,
        run: impl FnMut(&mut Txn<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Reply<'_, T> {
        let asked = self.check_process().map(|()| self.writer.ask(rows, run));
        Box::pin(async move { answer(asked?).await })
    }

    /// Runs work ahead of everything that waits.
    fn write_first<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Txn<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Reply<'_, T> {
        let asked = self.check_process().map(|()| self.writer.ask_first(run));
        Box::pin(async move { answer(asked?).await })
    }

    /// Looks, in one snapshot.
    fn read<T: Send + 'static>(
        &self,
        look: impl FnMut(&Connection, Timestamp) -> Result<T, Trouble> + Send + 'static,
    ) -> Reply<'_, T> {
        self.read_by(self.readers.as_ref(), look)
    }

    /// Counts, in one snapshot.
    fn count<T: Send + 'static>(
        &self,
        look: impl FnMut(&Connection, Timestamp) -> Result<T, Trouble> + Send + 'static,
    ) -> Reply<'_, T> {
        self.read_by(self.counter.as_ref(), look)
    }

    fn read_by<T: Send + 'static>(
        &self,
        readers: Option<&Readers>,
        mut look: impl FnMut(&Connection, Timestamp) -> Result<T, Trouble> + Send + 'static,
    ) -> Reply<'_, T> {
        let asked = self.check_process().map(|()| match readers {
            Some(readers) => readers.ask(look),
            None => self.writer.ask(1, move |txn| look(txn.conn, txn.now)),
        });
        Box::pin(async move { answer(asked?).await })
    }
}

async fn answer<T>(asked: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    asked.await.unwrap_or(Err(StoreError::Closed))
}

fn facts(conn: &Connection, path: Option<&Path>) -> Result<Facts, Trouble> {
    let pragma = |name: &str| -> Result<String, Trouble> {
        Ok(conn.query_row(&format!("PRAGMA {name}"), [], |row| {
            row.get::<_, rusqlite::types::Value>(0).map(|value| match value {
                rusqlite::types::Value::Integer(n) => n.to_string(),
                rusqlite::types::Value::Text(text) => text,
                _ => String::new(),
            })
        })?)
    };
    let synchronous = match pragma("synchronous")?.as_str() {
        "0" => "off",
        "1" => "normal",
        "2" => "full",
        _ => "extra",
    };
    Ok(Facts {
        store: "sqlite",
        version: rusqlite::version().to_string(),
        durability: format!("{}, synchronous={synchronous}", pragma("journal_mode")?),
        place: path.map_or(":memory:".into(), |path| path.display().to_string()),
    })
}

/// A worker that is on record as running, but whose process is gone, crashed: look at the file.
fn check_after_crash(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let crashed = || -> Result<Vec<i64>, Trouble> {
        let mut running = prepare(conn, "leave", "running")?;
        let rows = running.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows: Vec<(i64, i32)> = rows.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().filter(|(_, pid)| !is_alive(*pid)).map(|(id, _)| id).collect())
    };
    let explained = |trouble: Trouble| open::explain(trouble.into(), Some(path));
    let crashed = crashed().map_err(explained)?;
    if crashed.is_empty() {
        return Ok(());
    }
    open::quick_check(conn, path)?;
    for worker in crashed {
        let noted = prepare(conn, "leave", "crashed")
            .and_then(|mut crashed| Ok(crashed.execute([worker])?));
        noted.map_err(explained)?;
    }
    Ok(())
}

fn is_alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| {
        // "Not permitted" means that somebody else's process has this number: alive.
        rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
    })
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Not waited for: the threads end when they have done what was asked.
        for readers in [&self.readers, &self.counter].into_iter().flatten() {
            drop(readers.close());
        }
        drop(self.bell.close());
    }
}

/// Lets go of the file: refuses new work at once, waits (on a thread of its own, for it can take
/// as long as a lock is held) until all that was asked is done.
async fn close(store: &SqliteStore) {
    let writer = store.writer.close();
    let mut readers = store.readers.as_ref().map(Readers::close).unwrap_or_default();
    readers.extend(store.counter.as_ref().map(Readers::close).unwrap_or_default());
    readers.extend(store.bell.close());
    lock(&store.suspects).clear();
    let (to, closed) = oneshot::channel();
    let wait = move || {
        for thread in readers {
            // A panic in a thread was reported already.
            let _ = thread.join();
        }
        // The writer's connection goes last, for the last one leaves no WAL behind.
        drop(writer.map(std::thread::JoinHandle::join));
        let _ = to.send(());
    };
    if std::thread::Builder::new().name("dutiful-close".into()).spawn(wait).is_ok() {
        let _ = closed.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store as _;

    #[tokio::test]
    async fn a_store_from_before_a_fork_is_refused() {
        let mut store =
            SqliteStore::open("sqlite::memory:", Clock::machine()).expect("memory is there");
        assert!(store.stats().await.is_ok());
        // What a child process would see: the same memory under another number.
        store.pid = store.pid.wrapping_add(1);
        assert!(matches!(store.stats().await, Err(StoreError::Forked)), "reads");
        assert!(matches!(store.enqueue(Vec::new()).await, Err(StoreError::Forked)), "writes");
        assert!(matches!(store.close().await, Err(StoreError::Forked)), "the parent's threads");
    }
}
