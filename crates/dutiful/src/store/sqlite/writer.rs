//! The one writer of a file in this process, with group commit, and the threads that read.
//!
//! Many callers hand in work; the writer takes all that waits, runs it in one transaction, commits
//! with one fsync, and only then answers each. If one piece of work fails, everything is rolled
//! back and each piece runs again in a transaction of its own, so that a failure stays with its
//! caller. Work must therefore be repeatable: it is `FnMut` and keeps nothing from a run that
//! failed.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::doorbell::Doorbell;
use super::errors::Trouble;
use super::tally::Tally;
use super::turns::Turns;
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::id::Name;

/// Most rows (as callers estimate them) in one commit.
const ROWS_PER_COMMIT: usize = 8000;

/// What a verb sees inside a transaction.
pub(super) struct Txn<'c> {
    pub(super) conn: &'c Connection,
    /// The store's time; never goes back within a process by less than a jump of the clock.
    pub(super) now: Timestamp,
    pub(super) tally: &'c mut Tally,
    pub(super) names: &'c mut Names,
    /// Set when something became claimable.
    pub(super) ring: &'c mut bool,
}

/// Names seen lately, so that each is allocated once.
#[derive(Default)]
pub(super) struct Names(std::collections::HashSet<Name>);

impl Names {
    const KEPT_MAX: usize = 10_000;

    pub(super) fn get(&mut self, text: &str) -> Name {
        if let Some(name) = self.0.get(text) {
            return name.clone();
        }
        if self.0.len() >= Self::KEPT_MAX {
            self.0.clear();
        }
        let name = Name::stored(text);
        self.0.insert(name.clone());
        name
    }
}

trait Work: Send {
    fn run(&mut self, txn: &mut Txn<'_>) -> Result<(), Trouble>;
    /// Answers the caller: with the value of the last run, or with why it was not committed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Ask<T, F> {
    run: F,
    value: Option<T>,
    to: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&mut Txn<'_>) -> Result<T, Trouble> + Send> Work for Ask<T, F> {
    fn run(&mut self, txn: &mut Txn<'_>) -> Result<(), Trouble> {
        self.value = Some((self.run)(txn)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { value, to, .. } = *self;
        let answer = committed.and_then(|()| value.ok_or(StoreError::Closed));
        // A caller that went away no longer wants the answer; what it asked for is done all the
        // same.
        let _ = to.send(answer);
    }
}

struct Waiting {
    rows: usize,
    work: Box<dyn Work>,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

/// The callers' side of the writer thread.
pub(super) struct Writer {
    shared: Arc<(Mutex<Inbox>, Condvar)>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        conn: Connection,
        clock: Clock,
        bell: Arc<Doorbell>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new((Mutex::new(Inbox::default()), Condvar::new()));
        let theirs = shared.clone();
        let desk = Desk {
            conn,
            time: Time { clock, last: Timestamp::default() },
            tally: Tally::default(),
            names: Names::default(),
            bell,
        };
        let thread = std::thread::Builder::new()
            .name("dutiful-writer".into())
            .spawn(move || desk.serve(&theirs))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Hands in work of about so many rows; the answer comes after the commit.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        rows: usize,
        run: impl FnMut(&mut Txn<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        self.hand_in(rows, run, false)
    }

    /// The same, ahead of all that waits: a heartbeat behind a bulk load would cost the lease.
    pub(super) fn ask_first<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Txn<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        self.hand_in(1, run, true)
    }

    fn hand_in<T: Send + 'static>(
        &self,
        rows: usize,
        run: impl FnMut(&mut Txn<'_>) -> Result<T, Trouble> + Send + 'static,
        first: bool,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        let (to, answer) = oneshot::channel();
        let work = Waiting { rows, work: Box::new(Ask { run, value: None, to }) };
        let (inbox, bell) = &*self.shared;
        let mut inbox = lock(inbox);
        if inbox.closed {
            work.work.answer(Err(StoreError::Closed));
            return answer;
        }
        if first {
            inbox.waiting.push_front(work);
        } else {
            inbox.waiting.push_back(work);
        }
        drop(inbox);
        bell.notify_one();
        answer
    }

    /// Does what was asked so far, then ends the thread and closes the connection.
    pub(super) fn close(&self) {
        let (inbox, bell) = &*self.shared;
        lock(inbox).closed = true;
        bell.notify_one();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // The thread answers every caller before it ends; a panic in it was reported already.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (inbox, bell) = &*self.shared;
        lock(inbox).closed = true;
        bell.notify_one();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store's clock in this process: small steps back are held, jumps are followed.
pub(super) struct Time {
    pub(super) clock: Clock,
    pub(super) last: Timestamp,
}

impl Time {
    const JUMP: Duration = Duration::from_secs(1);

    pub(super) fn now(&mut self) -> Timestamp {
        let now = self.clock.now();
        if now < self.last && self.last.since(now) < Self::JUMP {
            return self.last;
        }
        self.last = now;
        now
    }
}

/// The writer thread's side.
struct Desk {
    conn: Connection,
    time: Time,
    tally: Tally,
    names: Names,
    bell: Arc<Doorbell>,
}

impl Desk {
    fn serve(mut self, shared: &(Mutex<Inbox>, Condvar)) {
        let mut turns = Turns::new();
        loop {
            let (batch, waited) = next_batch(shared);
            if batch.is_empty() {
                return;
            }
            if waited {
                turns.idle();
            }
            self.commit_all(batch);
            turns.between_commits(&self.conn);
        }
    }

    fn commit_all(&mut self, mut batch: Vec<Waiting>) {
        let committed = self.transact(&mut batch);
        match committed {
            Ok(()) => batch.into_iter().for_each(|one| one.work.answer(Ok(()))),
            Err(error) if batch.len() == 1 => {
                batch.into_iter().for_each(|one| one.work.answer(Err(error.clone())));
            }
            Err(_) => {
                for one in batch {
                    let mut alone = vec![one];
                    let committed = self.transact(&mut alone);
                    alone.into_iter().for_each(|one| one.work.answer(committed.clone()));
                }
            }
        }
        #[cfg(bug = "ack_before_commit")]
        let _ = self.conn.execute_batch("COMMIT");
    }

    fn transact(&mut self, batch: &mut [Waiting]) -> Result<(), StoreError> {
        self.tally.clear();
        let mut ring = false;
        let done = self.run_and_commit(batch, &mut ring);
        if let Err(trouble) = done {
            if !self.conn.is_autocommit() {
                // If even this fails, the next BEGIN says so to its caller.
                let _ = self.conn.execute_batch("ROLLBACK");
            }
            return Err(trouble.into());
        }
        if ring {
            self.bell.ring();
        }
        Ok(())
    }

    fn run_and_commit(&mut self, batch: &mut [Waiting], ring: &mut bool) -> Result<(), Trouble> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let now = self.time.now();
        let mut txn =
            Txn { conn: &self.conn, now, tally: &mut self.tally, names: &mut self.names, ring };
        for one in batch {
            one.work.run(&mut txn)?;
        }
        self.tally.write(&self.conn)?;
        if cfg!(not(bug = "ack_before_commit")) {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
}

/// Returns all that waits (or nothing when closed), and whether we had to wait for it.
fn next_batch(shared: &(Mutex<Inbox>, Condvar)) -> (Vec<Waiting>, bool) {
    let (inbox, bell) = shared;
    let mut inbox = lock(inbox);
    let mut waited = false;
    while inbox.waiting.is_empty() {
        if inbox.closed {
            return (Vec::new(), waited);
        }
        waited = true;
        inbox = bell.wait(inbox).unwrap_or_else(PoisonError::into_inner);
    }
    let (mut batch, mut rows) = (Vec::new(), 0);
    while rows < ROWS_PER_COMMIT {
        let Some(next) = inbox.waiting.pop_front() else { break };
        rows += next.rows;
        batch.push(next);
    }
    (batch, waited)
}

type Look = Box<dyn FnOnce(&Connection, Timestamp) + Send>;

/// Threads with read-only connections; a reader never holds a snapshot between two questions.
pub(super) struct Readers {
    to: Mutex<Option<Sender<Look>>>,
}

impl Readers {
    pub(super) fn start(conns: Vec<Connection>, clock: &Clock) -> std::io::Result<Self> {
        let (to, from) = channel::<Look>();
        let from = Arc::new(Mutex::new(from));
        for conn in conns {
            let (from, clock) = (from.clone(), clock.clone());
            std::thread::Builder::new()
                .name("dutiful-reader".into())
                .spawn(move || serve_reads(&conn, &from, &clock))?;
        }
        Ok(Self { to: Mutex::new(Some(to)) })
    }

    pub(super) fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection, Timestamp) -> Result<T, Trouble> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        let (to, answer) = oneshot::channel();
        let look: Look = Box::new(move |conn, now| {
            // A caller that went away no longer wants the answer.
            let _ = to.send(in_snapshot(conn, |conn| look(conn, now)).map_err(StoreError::from));
        });
        if let Some(readers) = &*lock(&self.to) {
            // Fails only when the threads ended; then the dropped sender answers for us.
            let _ = readers.send(look);
        }
        answer
    }

    pub(super) fn close(&self) {
        lock(&self.to).take();
    }
}

/// Runs several reads of one answer in one snapshot.
fn in_snapshot<T>(
    conn: &Connection,
    look: impl FnOnce(&Connection) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let answer = look(conn);
    conn.prepare_cached("COMMIT")?.execute([])?;
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
