//! Tells sleeping workers that something may have become claimable: at once within this process,
//! and by LISTEN and NOTIFY in others. It is a hint: polling goes on beneath, whatever happens.
//!
//! NOTIFY takes a lock of the whole cluster while it commits, so a ring is sent only when somebody
//! sleeps elsewhere. A sleeper says so by a mark in a table, and because a job may have come just
//! before the mark, it looks once more after its mark was committed. While it goes on to sleep the
//! mark is renewed, and each renewal proves that the connection it listens on is alive.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::session::{Hear, Session};
use super::wire::Line;
use crate::error::StoreError;

/// How long a mark says that somebody sleeps.
const MARK_FOR: Duration = Duration::from_secs(3);
/// How often it is renewed while somebody does.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// How often a connection that listens is tried while nobody sleeps …
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// … and how long it may take to answer, then and for a mark.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How soon it is rung again where nobody slept.
const RINGS_APART: Duration = Duration::from_millis(1);
/// When a user's transaction probably has committed: there is nobody to say so.
const AFTER_TRANSACTION: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(400),
];

/// Nothing is being sent …
const QUIET: u8 = 0;
/// … a ring is …
const RINGING: u8 = 1;
/// … and another is to follow it, for something came meanwhile.
const RINGING_AGAIN: u8 = 2;

/// A counter of rings that can be awaited.
pub(super) struct Doorbell {
    rings: watch::Sender<u64>,
    process: i64,
    asleep: AtomicUsize,
    /// Whether somebody slept elsewhere when it was looked last.
    elsewhere: AtomicBool,
    somebody: Notify,
    watched: AtomicBool,
    sending: AtomicU8,
    /// When to ring for users' transactions, soonest first.
    later: Mutex<Vec<Instant>>,
    /// Ends the wait of the task that listens: its connection ended.
    broken: Notify,
    deaf: Mutex<Option<String>>,
    /// How long the connection that listens took to answer when it was tried last.
    lag: Mutex<Option<Duration>>,
}

impl Doorbell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            rings: watch::Sender::new(1),
            process: fastrand::i64(1..),
            asleep: AtomicUsize::new(0),
            elsewhere: AtomicBool::new(false),
            somebody: Notify::new(),
            watched: AtomicBool::new(false),
            sending: AtomicU8::new(QUIET),
            later: Mutex::default(),
            broken: Notify::new(),
            deaf: Mutex::default(),
            lag: Mutex::default(),
        })
    }

    pub(super) fn ring_here(&self) {
        self.rings.send_modify(|n| *n += 1);
    }

    fn is_awaited(&self) -> bool {
        self.asleep.load(Ordering::SeqCst) > 0
    }

    /// Says whether somebody sleeps, here or, when it was rung for last, elsewhere.
    pub(super) fn is_anybody_asleep(&self) -> bool {
        self.is_awaited() || self.is_anybody_asleep_elsewhere()
    }

    pub(super) fn is_anybody_asleep_elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::Relaxed)
    }

    /// Says why sleepers are not woken by other processes at the moment, if so.
    pub(super) fn deaf(&self) -> Option<String> {
        self.deaf.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how long a word of the server takes to be heard, as the connection that listens was
    /// found when it was tried last; `None` while it does not listen.
    pub(super) fn lag(&self) -> Option<Duration> {
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_lag(&self, lag: Option<Duration>) {
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = lag;
    }

    /// Takes note of whether somebody sleeps elsewhere.
    pub(super) fn note_asleep(&self, elsewhere: bool) {
        self.elsewhere.store(elsewhere, Ordering::Relaxed);
    }

    /// Names this process among the sleepers.
    pub(super) fn process(&self) -> i64 {
        self.process
    }

    fn tell_deaf(&self, why: Option<String>) {
        *self.deaf.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// What the connection that listens tells: a ring of another process, or its own end.
    fn hear(self: &Arc<Self>) -> Hear {
        let (bell, ours) = (self.clone(), self.process.to_string());
        Arc::new(move |said| match said {
            Some(process) if process == ours => {}
            Some(_) => bell.ring_here(),
            None => bell.broken.notify_one(),
        })
    }
}

struct Asleep<'a>(&'a Doorbell);

impl<'a> Asleep<'a> {
    fn new(bell: &'a Doorbell) -> Self {
        bell.asleep.fetch_add(1, Ordering::SeqCst);
        bell.somebody.notify_one();
        Self(bell)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Db {
    /// Waits until the bell rang more often than `heard`; returns how often it rang.
    pub(super) async fn wait_for_ring(&self, heard: u64) -> u64 {
        let bell = &self.bell;
        let now = *bell.rings.borrow();
        if now > heard {
            return now;
        }
        if self.wire.manner().own && !bell.watched.swap(true, Ordering::SeqCst) {
            self.wire.spawn(listen(self.me.clone(), bell.clone()));
        }
        let _asleep = Asleep::new(bell);
        let mut rings = bell.rings.subscribe();
        rings.wait_for(|n| *n > heard).await.map_or(heard, |n| *n)
    }

    /// Wakes everybody who sleeps: something that may be claimable was committed. Cheap, and never
    /// waits: of rings that come together one is sent, and one more after it.
    pub(super) fn ring(&self) {
        self.bell.ring_here();
        let next = |now| Some(if now == QUIET { RINGING } else { RINGING_AGAIN });
        let before = self.bell.sending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        if before == Ok(QUIET) {
            self.spawn_on_itself(|db| async move { db.send_rings().await });
        }
    }

    fn spawn_on_itself<F>(&self, work: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // While somebody calls, it is there.
        if let Some(db) = self.me.upgrade() {
            self.wire.spawn(work(db));
        }
    }

    async fn send_rings(&self) {
        let (bell, channel) = (&self.bell, self.wire.schema());
        loop {
            let params: [&(dyn ToSql + Sync); 2] = [&bell.process, &channel];
            // A ring that gets lost is made up for by the poll beneath.
            if let Ok(woken) = self.query(Line::Enqueue, "doorbell", "ring", &params).await {
                bell.note_asleep(!woken.is_empty());
            }
            if !bell.is_anybody_asleep_elsewhere() {
                // Nobody slept a moment ago: one ring is enough for all that comes meanwhile.
                tokio::time::sleep(RINGS_APART).await;
            }
            let one_less = |now| (now != QUIET).then(|| now - 1);
            let before = bell.sending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
            if before != Ok(RINGING_AGAIN) {
                return;
            }
        }
    }

    /// Rings a few times while a user's transaction commits, or does not.
    pub(super) fn ring_after_transaction(&self) {
        let now = Instant::now();
        let mut later = self.bell.later.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = !later.is_empty();
        for wait in AFTER_TRANSACTION {
            // Rings for many transactions fall together.
            let near = |at: &Instant| *at >= now + wait && *at <= now + wait + wait / 4;
            if !later.iter().any(near) {
                later.push(now + wait + wait / 8);
            }
        }
        later.sort_unstable();
        if !begun {
            self.spawn_on_itself(|db| async move { db.ring_later().await });
        }
    }

    async fn ring_later(&self) {
        let first = || {
            let later = self.bell.later.lock().unwrap_or_else(PoisonError::into_inner);
            later.first().copied()
        };
        while let Some(at) = first() {
            tokio::time::sleep_until(at).await;
            let now = Instant::now();
            let mut later = self.bell.later.lock().unwrap_or_else(PoisonError::into_inner);
            later.retain(|at| *at > now);
            drop(later);
            self.ring();
        }
    }

    /// Says that this process sleeps; fails when the connection does not listen (any more).
    async fn mark(&self, session: &Session) -> Result<(), Trouble> {
        let until = MARK_FOR.as_millis() as i64;
        let (process, channel) = (self.bell.process, self.wire.schema());
        let key = ("doorbell", "mark");
        let rows = self.ask(session, key, &[&process, &until, &channel], ANSWER_MAX).await?;
        check_listens(&rows)
    }

    async fn probe(&self, session: &Session) -> Result<(), Trouble> {
        let channel = self.wire.schema();
        let rows = self.ask(session, ("doorbell", "listens"), &[&channel], ANSWER_MAX).await?;
        check_listens(&rows)
    }

    async fn connect_ear(&self) -> Result<Session, Trouble> {
        let session = self.wire.connect(Some(self.bell.hear())).await?;
        let channel = format!("\"{}\"", self.wire.schema());
        let sql = self.statements.get("doorbell", "listen").sql.replace("\"dutiful\"", &channel);
        let listening = tokio::time::timeout(ANSWER_MAX, session.batch(&sql)).await;
        listening.map_err(|_| StoreError::Timeout(ANSWER_MAX))??;
        Ok(session)
    }
}

fn check_listens(rows: &[Row]) -> Result<(), Trouble> {
    match rows.first().is_some_and(|row| row.get(0)) {
        true => Ok(()),
        false => Err(StoreError::Unavailable("the connection stopped to listen".into()).into()),
    }
}

/// Listens as long as the store is there, on one connection after the other.
async fn listen(db: Weak<Db>, bell: Arc<Doorbell>) {
    loop {
        let Some(there) = db.upgrade() else { return };
        let ear = there.connect_ear().await;
        drop(there);
        let trouble = match ear {
            Ok(session) => listen_on(&session, &db, &bell).await,
            Err(trouble) => Some(trouble),
        };
        let Some(trouble) = trouble else { return };
        bell.note_lag(None);
        bell.tell_deaf(Some(StoreError::from(trouble).to_string()));
        // A refusal to listen is not a failure to connect, which has its own pauses.
        tokio::time::sleep(MARK_EVERY.mul_f64(fastrand::f64())).await;
    }
}

/// Listens until the connection fails, or (`None`) the store is gone.
async fn listen_on(session: &Session, db: &Weak<Db>, bell: &Doorbell) -> Option<Trouble> {
    // What happened while nobody listened was not heard, and neither was what came before a mark:
    // whoever sleeps looks once more.
    let mut marked_until = None;
    let mut proved = Instant::now();
    loop {
        let sent = Instant::now();
        let (awaited, there) = (bell.is_awaited(), db.upgrade()?);
        let answer = match awaited {
            true => there.mark(session).await,
            false if proved + PROBE_EVERY <= sent => there.probe(session).await,
            false => Ok(()),
        };
        drop(there);
        if let Err(trouble) = answer {
            return Some(trouble);
        }
        bell.tell_deaf(None);
        if awaited {
            if marked_until.is_none_or(|until| until < Instant::now()) {
                bell.ring_here();
            }
            marked_until = Some(sent + MARK_FOR);
        }
        if awaited || proved + PROBE_EVERY <= sent {
            bell.note_lag(Some(sent.elapsed()));
            proved = sent;
        }
        wait_for_turn(proved, awaited, bell).await;
        if session.is_closed() {
            return Some(StoreError::Unavailable("the listening connection ended".into()).into());
        }
    }
}

/// Waits until it is time to renew a mark, to try the connection, or to see that it ended.
async fn wait_for_turn(proved: Instant, awaited: bool, bell: &Doorbell) {
    let renew = tokio::time::sleep_until(proved + MARK_EVERY);
    if awaited {
        tokio::select! {
            () = renew => {}
            () = bell.broken.notified() => return,
        }
    }
    if !bell.is_awaited() {
        tokio::select! {
            () = tokio::time::sleep_until(proved + PROBE_EVERY) => {}
            () = bell.somebody.notified() => {}
            () = bell.broken.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use dutiful_fixture::{Postgres, Version};

    use super::*;
    use crate::clock::Clock;
    use crate::store::postgres::PostgresStore;

    #[tokio::test]
    async fn many_transactions_ring_a_few_times_until_the_last_has_had_its_time() {
        let server = Postgres::shared(Version::System).expect("a server for tests");
        let url = server.fresh_database().expect("an empty database");
        let store = PostgresStore::open(&url, Clock::default(), &[]).await.expect("it opens");
        let (db, began) = (&store.db, Instant::now());
        for _ in 0..1000 {
            db.ring_after_transaction();
        }
        let last = Instant::now() + AFTER_TRANSACTION[3];
        let mut rings = 1;
        while !db.bell.later.lock().expect("nobody panicked").is_empty() {
            let ring = tokio::time::timeout(PROBE_EVERY, db.wait_for_ring(rings));
            rings = ring.await.expect("it rings");
        }
        assert!(Instant::now() >= last, "the last ring comes after all of them");
        // At most one for each span of 1 ms, whatever the machine does meanwhile.
        let most = began.elapsed().as_millis() as u64;
        assert!((3..=most).contains(&(rings - 1)), "{rings} in {most} ms");
    }
}
