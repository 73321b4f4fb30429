//! The one writer of a file in this process, with group commit, and the threads that read.
//!
//! Many callers hand in work; the writer takes all that waits, runs it in one transaction, commits
//! with one fsync, and only then answers each. If one piece of work fails, everything is rolled
//! back and runs again with a savepoint for each piece (and, if even that cannot be committed, each
//! in a transaction of its own), so that a failure stays with its caller. Work must therefore be
//! repeatable: it is `FnMut` and keeps nothing from a run that failed. A panic is a failure too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::doorbell::Doorbell;
use super::errors::Trouble;
use super::inbox::{Inbox, Waiting};
use super::open::Identity;
use super::rows::Names;
use super::tally::Tally;
use super::turns::Turns;
use super::wal::Wal;
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;

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

pub(super) trait Work: Send {
    fn run(&mut self, txn: &mut Txn<'_>) -> Result<(), Trouble>;
    /// Answers the caller: with the value of the last run, or with why it was not committed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
    #[cfg(bug = "open_when_dropped")]
    fn is_gone(&self) -> bool;
}

struct Ask<T, F> {
    run: F,
    value: Option<T>,
    to: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&mut Txn<'_>) -> Result<T, Trouble> + Send> Work for Ask<T, F> {
    fn run(&mut self, txn: &mut Txn<'_>) -> Result<(), Trouble> {
        self.value = None;
        self.value = Some(survive(|| (self.run)(txn))?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { value, to, .. } = *self;
        let answer = committed.and_then(|()| value.ok_or(StoreError::Closed));
        // A caller that went away no longer wants the answer; what it asked for is done all the
        // same.
        let _ = to.send(answer);
    }

    #[cfg(bug = "open_when_dropped")]
    fn is_gone(&self) -> bool {
        self.to.is_closed()
    }
}

/// Turns a panic into an error of its caller: the thread belongs to all of them.
pub(super) fn survive<T>(run: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(StoreError::Mistake(text.unwrap_or_else(|| "a panic".into())).into())
    })
}

/// The callers' side of the writer thread.
pub(super) struct Writer {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<Connection>>>,
}

impl Writer {
    pub(super) fn start(
        conn: Connection,
        file: Option<Identity>,
        clock: Clock,
        bell: Arc<Doorbell>,
    ) -> std::io::Result<Self> {
        let inbox = Arc::new(Inbox::default());
        let desk = Desk {
            conn,
            inbox: inbox.clone(),
            wal: file.as_ref().map(|file| Wal::of(file.path())),
            file,
            time: Time { clock, last: Timestamp::default() },
            tally: Tally::default(),
            names: Names::default(),
            bell,
        };
        let thread = std::thread::Builder::new()
            .name("dutiful-writer".into())
            .spawn(move || desk.serve())?;
        Ok(Self { inbox, thread: Mutex::new(Some(thread)) })
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
        if let Err(refused) = self.inbox.put(work, first) {
            refused.work.answer(Err(StoreError::Closed));
        }
        answer
    }

    /// Takes no more work. The thread does what was asked so far and hands its connection back.
    pub(super) fn close(&self) -> Option<JoinHandle<Connection>> {
        self.inbox.close();
        lock(&self.thread).take()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox.close();
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
    inbox: Arc<Inbox>,
    wal: Option<Wal>,
    file: Option<Identity>,
    time: Time,
    tally: Tally,
    names: Names,
    bell: Arc<Doorbell>,
}

impl Desk {
    fn serve(mut self) -> Connection {
        let mut turns = Turns::new();
        loop {
            let (batch, waited) = self.inbox.next_batch();
            if batch.is_empty() {
                return self.conn;
            }
            if waited {
                turns.idle();
            }
            self.commit_all(batch);
            turns.between_commits(&self.conn);
            if let Some(wal) = &mut self.wal {
                wal.keep_short(&mut self.conn);
            }
        }
    }

    fn commit_all(&mut self, mut batch: Vec<Waiting>) {
        let committed = self.transact(&mut batch);
        #[cfg(bug = "open_when_dropped")]
        if batch.iter().any(|one| one.work.is_gone()) {
            let _ = self.conn.execute_batch("BEGIN IMMEDIATE");
        }
        match committed {
            Ok(()) => batch.into_iter().for_each(|one| one.work.answer(Ok(()))),
            // Whoever keeps us from beginning keeps each of them: to wait as long again for each
            // would hold up everybody behind them, heartbeats first.
            Err(Failed::ToBegin(error)) => refuse(batch, &error),
            Err(Failed::Inside(error)) if batch.len() == 1 => refuse(batch, &error),
            Err(Failed::Inside(_)) => self.commit_what_can(batch),
        }
        #[cfg(bug = "ack_before_commit")]
        {
            // As long as a commit takes on a busy disk.
            std::thread::sleep(std::time::Duration::from_millis(4));
            let _ = self.conn.execute_batch("COMMIT");
        }
    }

    /// Commits a batch of which something failed: together what succeeds, else each alone.
    fn commit_what_can(&mut self, mut batch: Vec<Waiting>) {
        let mut answers = Vec::with_capacity(batch.len());
        if self.in_transaction(|desk, ring| desk.run_apart(&mut batch, &mut answers, ring)).is_ok()
        {
            batch.into_iter().zip(answers).for_each(|(one, answer)| one.work.answer(answer));
            return;
        }
        let mut batch = batch.into_iter();
        while let Some(one) = batch.next() {
            let mut alone = vec![one];
            match self.transact(&mut alone) {
                Ok(()) => alone.into_iter().for_each(|one| one.work.answer(Ok(()))),
                Err(Failed::Inside(error)) => refuse(alone, &error),
                Err(Failed::ToBegin(error)) => {
                    refuse(alone, &error);
                    return refuse(batch, &error);
                }
            }
        }
    }

    fn transact(&mut self, batch: &mut Vec<Waiting>) -> Result<(), Failed> {
        self.in_transaction(|desk, ring| desk.run_all(batch, ring))
    }

    fn in_transaction(
        &mut self,
        run: impl FnOnce(&mut Self, &mut bool) -> Result<(), Trouble>,
    ) -> Result<(), Failed> {
        self.tally.clear();
        self.begin().map_err(|trouble| Failed::ToBegin(trouble.into()))?;
        let mut ring = false;
        let done = run(self, &mut ring).and_then(|()| self.commit());
        if let Err(trouble) = done {
            self.roll_back();
            return Err(Failed::Inside(trouble.into()));
        }
        if ring {
            self.bell.ring();
        }
        Ok(())
    }

    fn begin(&self) -> Result<(), Trouble> {
        self.roll_back();
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        // Under the lock: whoever replaces the file takes it too, so it stays what it is until the
        // commit.
        let checked = self.file.as_ref().map_or(Ok(()), |file| file.check());
        if checked.is_err() {
            self.roll_back();
        }
        Ok(checked?)
    }

    fn commit(&self) -> Result<(), Trouble> {
        if cfg!(not(bug = "ack_before_commit")) {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// SQLite ends a transaction itself when the disk is full or fails, but not always.
    fn roll_back(&self) {
        if !self.conn.is_autocommit() {
            // If even this fails, the next BEGIN says so to its caller.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    fn run_all(&mut self, batch: &mut Vec<Waiting>, ring: &mut bool) -> Result<(), Trouble> {
        let now = self.time.now();
        let mut ran = 0;
        while ran < batch.len() {
            for one in &mut batch[ran..] {
                ran += 1;
                one.work.run(&mut self.txn(now, ring))?;
            }
            // A worker that was woken for these rows claims them in this very transaction.
            if *ring && self.bell.woke_somebody() {
                self.inbox.join_batch(batch);
            }
        }
        self.tally.write(&self.conn)
    }

    /// Runs each piece under a savepoint, so that what fails leaves nothing behind.
    fn run_apart(
        &mut self,
        batch: &mut [Waiting],
        answers: &mut Vec<Result<(), StoreError>>,
        ring: &mut bool,
    ) -> Result<(), Trouble> {
        let now = self.time.now();
        for one in batch {
            self.conn.prepare_cached("SAVEPOINT piece")?.execute([])?;
            self.tally.clear();
            let ran = one.work.run(&mut self.txn(now, ring));
            let ran = ran.and_then(|()| self.tally.write(&self.conn));
            if ran.is_err() {
                // Fails when SQLite has ended the whole transaction: then each runs alone.
                self.conn.prepare_cached("ROLLBACK TO piece")?.execute([])?;
            }
            self.conn.prepare_cached("RELEASE piece")?.execute([])?;
            answers.push(ran.map_err(StoreError::from));
        }
        Ok(())
    }

    fn txn<'a>(&'a mut self, now: Timestamp, ring: &'a mut bool) -> Txn<'a> {
        Txn { conn: &self.conn, now, tally: &mut self.tally, names: &mut self.names, ring }
    }
}

/// How far a transaction came.
enum Failed {
    ToBegin(StoreError),
    Inside(StoreError),
}

fn refuse(batch: impl IntoIterator<Item = Waiting>, error: &StoreError) {
    batch.into_iter().for_each(|one| one.work.answer(Err(error.clone())));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::id::Name;

    fn connections() -> (Connection, Connection, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let open = || Connection::open(dir.path().join("t.db")).expect("it opens");
        let (conn, other) = (open(), open());
        conn.execute_batch(
            "PRAGMA journal_mode = wal; CREATE TABLE t (n UNIQUE); CREATE TABLE dutiful_tally
             (seq INTEGER PRIMARY KEY, queue, type, event, n, ran, waited);",
        )
        .expect("the tables are made");
        conn.busy_timeout(Duration::from_millis(300)).expect("it is set");
        (conn, other, dir)
    }

    fn desk() -> (Writer, Connection, tempfile::TempDir) {
        let (conn, other, dir) = connections();
        let writer =
            Writer::start(conn, None, Clock::machine(), Doorbell::new()).expect("it starts");
        (writer, other, dir)
    }

    type Answer = oneshot::Receiver<Result<Timestamp, StoreError>>;

    /// The answer is the time of its transaction: that of all who share a commit.
    fn insert(writer: &Writer, n: i64) -> Answer {
        writer.ask(1, move |txn| {
            txn.conn.execute("INSERT INTO t VALUES (?1)", [n])?;
            let name = Name::stored("x");
            txn.tally.count(&name, &name, super::super::tally::Event::Enqueued);
            Ok(txn.now)
        })
    }

    fn answer<T>(asked: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        asked.blocking_recv().expect("the writer answers")
    }

    fn count(conn: &Connection, what: &str) -> i64 {
        conn.query_row(&format!("SELECT {what}"), [], |row| row.get(0)).expect("it is counted")
    }

    #[test]
    fn a_panic_fails_its_caller_and_nobody_else() {
        let (writer, other, _dir) = desk();
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
        let first = insert(&writer, 1);
        let wrong = writer.ask(1, |txn| -> Result<(), Trouble> {
            txn.conn.execute("INSERT INTO t VALUES (99)", [])?;
            panic!("a mistake")
        });
        let second = insert(&writer, 2);
        other.execute_batch("COMMIT").expect("it ends");
        assert!(answer(first).is_ok() && answer(second).is_ok());
        let why = answer(wrong).expect_err("it panicked").to_string();
        assert!(why.contains("a mistake"), "{why}");
        assert!(answer(insert(&writer, 3)).is_ok(), "the writer goes on");
        assert_eq!(count(&other, "sum(n) FROM t"), 6, "and the panic left nothing behind");
        assert_eq!(count(&other, "sum(n) FROM dutiful_tally"), 3, "each is counted once");
    }

    #[test]
    fn many_callers_behind_a_failing_one_still_share_a_commit() {
        let (writer, other, _dir) = desk();
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
        let all: Vec<_> = (0..50).map(|n| insert(&writer, if n == 30 { 7 } else { n })).collect();
        other.execute_batch("COMMIT").expect("it ends");
        let commits: Vec<_> = all.into_iter().map(answer).collect();
        let failed = commits.iter().filter(|answer| answer.is_err()).count();
        assert_eq!((failed, count(&other, "count(*) FROM t")), (1, 49));
        let commits: HashSet<_> = commits.into_iter().flatten().collect();
        assert!(commits.len() <= 2, "{} commits for 50 callers", commits.len());
    }

    #[test]
    fn a_lock_held_for_long_costs_the_waiting_time_once_not_once_a_caller() {
        let (writer, other, _dir) = desk();
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
        let all: Vec<_> = (0..20).map(|n| insert(&writer, n)).collect();
        let begun = std::time::Instant::now();
        for asked in all {
            assert!(matches!(answer(asked), Err(StoreError::Busy { .. })));
        }
        // The first comes alone, the others wait together behind it.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        other.execute_batch("COMMIT").expect("it ends");
        assert!(answer(insert(&writer, 1)).is_ok(), "by itself again");
    }

    /// A desk behind a lock that is taken, and a worker that sleeps beside it.
    fn woken_desk() -> (Writer, Connection, Arc<Doorbell>, tempfile::TempDir) {
        let (conn, other, dir) = connections();
        let bell = Doorbell::new();
        let writer = Writer::start(conn, None, Clock::machine(), bell.clone()).expect("it starts");
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
        (writer, other, bell, dir)
    }

    /// Hands in rows that wake a sleeper, and waits until the writer stands before the lock.
    async fn wake(writer: &Writer, bell: &Doorbell) -> Answer {
        let (_, [asked]) = tokio::join!(bell.wait(1), async {
            let asked = writer.ask(1, |txn| {
                *txn.ring = true;
                Ok(txn.conn.execute("INSERT INTO t VALUES (1)", []).map(|_| txn.now)?)
            });
            bell.ring_ahead();
            [asked]
        });
        while !writer.inbox.is_empty() {
            std::thread::yield_now();
        }
        asked
    }

    #[tokio::test]
    async fn who_is_woken_by_rows_claims_them_in_their_commit() {
        let (writer, other, bell, _dir) = woken_desk();
        let enqueued = wake(&writer, &bell).await;
        let claimed = insert(&writer, 2);
        other.execute_batch("COMMIT").expect("it ends");
        let enqueued = enqueued.await.expect("an answer").expect("it succeeds");
        assert_eq!(claimed.await.expect("an answer").expect("it succeeds"), enqueued);
    }

    #[tokio::test]
    async fn what_joins_a_commit_and_fails_leaves_the_others_alone() {
        let (writer, other, bell, _dir) = woken_desk();
        let enqueued = wake(&writer, &bell).await;
        let wrong = insert(&writer, 1);
        other.execute_batch("COMMIT").expect("it ends");
        assert!(enqueued.await.expect("an answer").is_ok());
        assert!(wrong.await.expect("an answer").is_err(), "the same number twice");
        assert_eq!(count(&other, "count(*) FROM t"), 1);
    }
}
