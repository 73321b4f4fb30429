//! The store's own thread and its connections: one for each line of work, made when needed, made
//! anew when lost.
//!
//! Everything that touches a socket runs on one thread with a runtime of its own, so that handlers
//! which block the application's threads hold up neither a heartbeat nor an answer. Each line is one
//! connection on which statements follow each other without waiting (pipelining). Every statement
//! is a transaction of its own: a connection is never left inside one.

use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::session::Session;
use super::target::Target;
use crate::error::StoreError;

/// How long a statement may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The first pause after a connection could not be made, doubling …
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// … up to this one; each is drawn between nothing and itself.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A statement that met a deadlock or a conflict is tried so often.
const TRIES: u32 = 6;

/// What a connection is for: one kind of work does not wait behind another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// New jobs.
    Enqueue = 0,
    /// Claims.
    Claim = 1,
    /// Ends of attempts.
    Finish = 2,
    /// Heartbeats, leadership: what must not wait.
    Beat = 3,
    /// Everything else.
    Look = 4,
}

const LINES: usize = 5;

/// The thread and its connections.
pub(super) struct Wire {
    target: Arc<Target>,
    lines: [Mutex<Slot>; LINES],
    handle: Handle,
    /// Ends the thread when it goes.
    stop: std::sync::Mutex<Option<oneshot::Sender<()>>>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Slot {
    session: Option<Arc<Session>>,
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
            lines: Default::default(),
            handle,
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
        let running = self.handle.spawn(work);
        async move {
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
        if let Some(session) = &slot.session
            && !session.is_closed()
        {
            return Ok(session.clone());
        }
        slot.session = None;
        if let Some(at) = slot.not_before {
            tokio::time::sleep_until(at).await;
        }
        match Session::connect(&self.target).await {
            Ok(session) => {
                let session = Arc::new(session);
                *slot = Slot { session: Some(session.clone()), ..Slot::default() };
                Ok(session)
            }
            Err(trouble) => {
                let pause = PAUSE_MIN.saturating_mul(1 << slot.failures.min(10)).min(PAUSE_MAX);
                slot.failures = slot.failures.saturating_add(1);
                slot.not_before = Some(Instant::now() + pause.mul_f64(fastrand::f64()));
                Err(trouble)
            }
        }
    }

    /// Returns the name of our schema.
    pub(super) fn schema(&self) -> String {
        self.target.schema.clone()
    }

    /// Makes a connection that is nobody else's.
    pub(super) async fn connect(&self) -> Result<Session, Trouble> {
        Session::connect(&self.target).await
    }

    /// Makes a connection that is nobody else's and prepares nothing, so that it works whatever
    /// stands between us and the server.
    pub(super) async fn connect_plain(&self) -> Result<Session, Trouble> {
        let target = Target { prepared: Some(false), ..(*self.target).clone() };
        Session::connect(&target).await
    }

    /// Says whether statements are prepared.
    pub(super) fn prepares(&self) -> bool {
        self.target.prepared.unwrap_or(true)
    }

    /// Ends the thread; what was asked and not answered is lost.
    pub(super) fn close(&self) -> Option<JoinHandle<()>> {
        let taken = |stop: &std::sync::Mutex<Option<oneshot::Sender<()>>>| {
            stop.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
        };
        if let Some(stop) = taken(&self.stop) {
            let _ = stop.send(());
        }
        self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

impl Db {
    /// Runs one statement, which is a transaction of its own, and returns its rows. What met a
    /// deadlock is tried again; a statement without an answer in time costs the connection.
    pub(super) async fn query(
        &self,
        line: Line,
        verb: &'static str,
        name: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Trouble> {
        let statement = self.statements.get(verb, name);
        let mut tries = 1;
        loop {
            let session = self.wire.session(line).await?;
            let asked = session.query((verb, name), &statement, params);
            let answer = match tokio::time::timeout(ANSWER_MAX, asked).await {
                Ok(answer) => answer,
                Err(_) => {
                    session.close();
                    return Err(Trouble::Unknown(StoreError::Timeout(ANSWER_MAX)));
                }
            };
            match answer {
                Err(Trouble::Again(_)) if tries < TRIES => {
                    let pause = Duration::from_millis(u64::from(tries * tries) * 4);
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }
}
