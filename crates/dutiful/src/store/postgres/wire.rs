//! The store's own thread and its connections: one for each line of work, made when needed, made
//! anew when lost.
//!
//! Everything that touches a socket runs on one thread with a runtime of its own, so that handlers
//! which block the application's threads hold up neither a heartbeat nor an answer. Each line is
//! one connection on which statements follow each other without waiting (pipelining). Every
//! statement is a transaction of its own: a connection is never left inside one.

use std::future::Future;
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tokio_util::task::TaskTracker;

use super::Db;
use super::errors::Trouble;
use super::pooler::Manner;
use super::session::{Hear, Session};
use super::target::Target;
use crate::error::StoreError;

/// How long a statement may take.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The first pause, for all connections together, after a connection could not be made, doubling …
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// … up to this one; each is drawn between nothing and itself.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A statement that met a deadlock or a conflict is tried so often.
const TRIES: u32 = 6;
/// A statement that was not sent, for its connection had ended, is sent on another so often.
const UNSENT_MAX: u32 = 2;

/// What a connection is for: one kind of work does not wait behind another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// New jobs.
    Enqueue = 0,
    /// Claims.
    Claim = 1,
    /// Ends of attempts.
    Finish = 2,
    /// Heartbeats, which must not wait.
    Beat = 3,
    /// Everything else.
    Look = 4,
    /// The chores of whoever leads, some of which take seconds.
    Upkeep = 5,
    /// New jobs with unique keys, which may have to wait for somebody's open transaction.
    Keyed = 6,
    /// Large batches of new jobs, each a transaction of several statements.
    Copy = 7,
    /// Looks at where lanes begin, some of which read much; one after the other (floors.rs).
    Lanes = 8,
    /// Counts of all live jobs, which take seconds where there are millions: no page waits for one.
    Count = 9,
}

const LINES: usize = 10;

/// The thread and its connections.
pub(super) struct Wire {
    target: Arc<Target>,
    manner: OnceLock<Manner>,
    lines: [Mutex<Option<Arc<Session>>>; LINES],
    outage: Mutex<Outage>,
    handle: Handle,
    /// What was asked and is not answered yet; closed with the store.
    running: TaskTracker,
    /// Ends the thread when it goes.
    stop: std::sync::Mutex<Option<oneshot::Sender<()>>>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// While the server takes no connection, one at a time is tried for all lines.
#[derive(Default)]
struct Outage {
    failures: u32,
    not_before: Option<Instant>,
}

impl Wire {
    pub(super) fn start(target: Target) -> Result<Self, StoreError> {
        let no_thread = |error: std::io::Error| StoreError::Unavailable(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(no_thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("dutiful-postgres".into())
            .spawn(move || {
                // The sender goes with the store, or sends when it is closed.
                let _ = runtime.block_on(stopped);
            })
            .map_err(no_thread)?;
        Ok(Self {
            target: Arc::new(target),
            manner: OnceLock::new(),
            lines: Default::default(),
            outage: Mutex::default(),
            handle,
            running: TaskTracker::new(),
            stop: std::sync::Mutex::new(Some(stop)),
            thread: std::sync::Mutex::new(Some(thread)),
        })
    }

    /// Runs work on the store's thread, to its end even if nobody waits for it any more.
    pub(super) fn run<T, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let open = !self.running.is_closed();
        let running = open.then(|| self.running.spawn_on(work, &self.handle));
        async move {
            let Some(running) = running else { return Err(StoreError::Closed) };
            match running.await {
                Ok(answer) => answer.map_err(StoreError::from),
                Err(error) if error.is_panic() => Err(StoreError::Mistake("a panic".into())),
                Err(_) => Err(StoreError::Closed),
            }
        }
    }

    /// Returns the connection of a line; makes one where there is none.
    pub(super) async fn session(&self, line: Line) -> Result<Arc<Session>, Trouble> {
        let mut slot = self.lines[line as usize].lock().await;
        if let Some(session) = &*slot
            && !session.is_closed()
        {
            return Ok(session.clone());
        }
        *slot = None;
        let session = Arc::new(self.connect(None).await?);
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Makes a connection that is nobody else's. While the server refuses them, whoever comes waits
    /// for a while drawn at random, and only one tries at a time: a server that comes back is not
    /// met by all connections of all processes at once.
    pub(super) async fn connect(&self, hear: Option<Hear>) -> Result<Session, Trouble> {
        let mut outage = self.outage.lock().await;
        if outage.failures == 0 {
            drop(outage);
            let made = Session::connect(&self.target, self.manner(), hear).await;
            if made.is_err() {
                self.outage.lock().await.failed();
            }
            return made;
        }
        if let Some(at) = outage.not_before {
            tokio::time::sleep_until(at).await;
        }
        let made = Session::connect(&self.target, self.manner(), hear).await;
        match &made {
            Ok(_) => *outage = Outage::default(),
            Err(_) => outage.failed(),
        }
        made
    }

    /// Says, once, how connections may be used here.
    pub(super) fn settle(&self, manner: Manner) {
        // Who found it out twice found the same.
        let _ = self.manner.set(manner);
    }

    /// Returns how connections may be used here.
    pub(super) fn manner(&self) -> Manner {
        self.manner.get().copied().unwrap_or(Manner::POOLED_TRANSACTION)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Begins work on the store's thread that nobody waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(work));
    }

    /// Returns the name of our schema.
    pub(super) fn schema(&self) -> String {
        self.target.schema.clone()
    }

    /// Takes no more work, waits until what was asked is done, ends the thread and returns it.
    pub(super) async fn close(&self) -> Option<JoinHandle<()>> {
        self.running.close();
        self.running.wait().await;
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            let _ = stop.send(());
        }
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Outage {
    fn failed(&mut self) {
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause.mul_f64(fastrand::f64()));
    }
}

impl Db {
    /// Runs one statement, which is a transaction of its own, and returns its rows. What met a
    /// deadlock, or a connection that had ended before anything was sent, is tried again; a
    /// statement without an answer in time costs the connection, and its outcome is unknown.
    pub(super) async fn query(
        &self,
        line: Line,
        verb: &'static str,
        name: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Trouble> {
        let (mut tries, mut unsent) = (1, 0);
        loop {
            let session = self.wire.session(line).await?;
            match self.ask(&session, (verb, name), params, ANSWER_MAX).await {
                Err(Trouble::Again(_)) if tries < TRIES => {
                    let pause = Duration::from_millis(u64::from(tries * tries) * 4);
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                    tries += 1;
                }
                Err(Trouble::Unsent(_) | Trouble::Outdated(_)) if unsent < UNSENT_MAX => {
                    unsent += 1;
                }
                other => return other,
            }
        }
    }

    /// Runs one statement on this connection, once.
    pub(super) async fn ask(
        &self,
        session: &Session,
        (verb, name): (&'static str, &'static str),
        params: &[&(dyn ToSql + Sync)],
        within: Duration,
    ) -> Result<Vec<Row>, Trouble> {
        let statement = self.statements.get(verb, name);
        let asked = session.query((verb, name), &statement, params);
        let answer = tokio::time::timeout(within, asked).await.unwrap_or_else(|_| {
            session.give_up();
            Err(Trouble::Unknown(StoreError::Timeout(within)))
        });
        if matches!(answer, Err(Trouble::Refused(StoreError::ReadOnly(_)))) {
            // The primary may be elsewhere by now, behind the same name.
            session.close();
        }
        answer
    }
}
