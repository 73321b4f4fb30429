//! The threads that read, each with a connection and a snapshot of its own for each question.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::errors::Trouble;
use super::writer::{lock, survive};
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;

type Look = Box<dyn FnOnce(&Connection, Timestamp) + Send>;

/// Threads with read-only connections; a reader never holds a snapshot between two questions.
pub(super) struct Readers {
    to: Mutex<Option<Sender<Look>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn start(conns: Vec<Connection>, clock: &Clock) -> std::io::Result<Self> {
        let (to, from) = channel::<Look>();
        let from = Arc::new(Mutex::new(from));
        let mut threads = Vec::with_capacity(conns.len());
        for conn in conns {
            let (from, clock) = (from.clone(), clock.clone());
            let thread = std::thread::Builder::new().name("dutiful-reader".into());
            threads.push(thread.spawn(move || serve_reads(&conn, &from, &clock))?);
        }
        Ok(Self { to: Mutex::new(Some(to)), threads: Mutex::new(threads) })
    }

    pub(super) fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection, Timestamp) -> Result<T, Trouble> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        let (to, answer) = oneshot::channel();
        let look: Look = Box::new(move |conn, now| {
            if to.is_closed() {
                return;
            }
            // A caller that went away no longer wants the answer.
            let _ = to.send(in_snapshot(conn, |conn| look(conn, now)).map_err(StoreError::from));
        });
        if let Some(readers) = &*lock(&self.to) {
            // Fails only when the threads ended; then the dropped sender answers for us.
            let _ = readers.send(look);
        }
        answer
    }

    /// Takes no more questions; the threads answer those they have, then end.
    pub(super) fn close(&self) -> Vec<JoinHandle<()>> {
        lock(&self.to).take();
        std::mem::take(&mut *lock(&self.threads))
    }
}

/// Runs several reads of one answer in one snapshot, which ends with it whatever happens: one left
/// open would keep the WAL from ever being cut back.
fn in_snapshot<T>(
    conn: &Connection,
    look: impl FnOnce(&Connection) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let answer = survive(|| look(conn));
    // After some errors SQLite has ended it already.
    if !conn.is_autocommit() {
        conn.prepare_cached("ROLLBACK")?.execute([])?;
    }
    answer
}

fn serve_reads(conn: &Connection, from: &Mutex<Receiver<Look>>, clock: &Clock) {
    loop {
        let next = lock(from).recv();
        match next {
            Ok(look) => look(conn, clock.now()),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_survives_a_panic_and_an_error_without_keeping_its_snapshot() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let open = || Connection::open(dir.path().join("t.db")).expect("it opens");
        let (other, conn) = (open(), open());
        other.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (n)").expect("it is made");
        let readers = Readers::start(vec![conn], &Clock::machine()).expect("they start");
        let wrong = readers.ask(|conn, _| -> Result<i64, Trouble> {
            conn.query_row("SELECT count(*) FROM t", [], |_| Ok(()))?;
            panic!("a mistake")
        });
        let answer = |asked: oneshot::Receiver<_>| asked.blocking_recv().expect("it is answered");
        assert!(answer(wrong).is_err());
        other.execute("INSERT INTO t VALUES (1)", []).expect("it is stored");
        let seen = readers
            .ask(|conn, _| Ok(conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?));
        assert_eq!(answer(seen).expect("it reads on"), 1, "in a new snapshot");
    }
}
