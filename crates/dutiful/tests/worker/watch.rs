//! What the tests share: a store, jobs, and an observer whose events can be awaited.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dutiful::{Client, Event, Job, JobId, JobInfo, Observer};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Runs every promise of a file on each of these stores; `on n` gives it so many threads.
macro_rules! stores {
    ($($store:ident: $open:path),* $(,)?) => { stores!(@ ($) $($store: $open),*); };
    (@ ($d:tt) $($store:ident: $open:path),*) => {
        macro_rules! promises {
            ($d($d promise:ident $d(on $d threads:literal)?),* $d(,)?) => {
                $(mod $store {
                    $d(#[test]
                    fn $d promise() {
                        let threads = [0 $d(, $d threads)?];
                        crate::watch::keep(&threads, $open, super::$d promise);
                    })*
                })*
            };
        }
    };
}

pub(crate) type Kept = Result<(), Box<dyn std::error::Error>>;

/// How long a test waits for something before it counts as never happening.
const NEVER: Duration = Duration::from_secs(20);

/// A job that tells its handler what to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) n: i64,
}

impl Job for Task {
    const TYPE: &'static str = "task";
}

/// A SQLite file that goes away with the test.
pub(crate) struct Shop {
    pub(crate) client: Client,
    pub(crate) path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("shop.db");
        let url = format!("sqlite:{}", path.display());
        let client = Client::connect(&url).await.expect("the store opens");
        Self { client, path, _dir: dir }
    }

    /// Opens the file once more, as another program would.
    pub(crate) async fn elsewhere(&self) -> Client {
        let url = format!("sqlite:{}", self.path.display());
        Client::connect(&url).await.expect("the store opens again")
    }

    /// Opens a plain connection to the file.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(&self.path).expect("the file opens");
        conn.busy_timeout(Duration::from_secs(10)).expect("a pragma");
        conn
    }
}

/// Opens a store in memory.
pub(crate) async fn memory() -> Client {
    Client::connect("sqlite::memory:").await.expect("the store opens")
}

/// Opens a schema of its own on a server that all tests share.
pub(crate) async fn postgres() -> Client {
    let server = dutiful_fixture::Postgres::shared(dutiful_fixture::Version::System);
    let server = server.expect("a private server starts").url("postgres");
    let schema = JobId::new().to_string().replace('-', "");
    let url = format!("{server}?schema=t{schema}");
    Client::builder().migrate(true).connect(&url).await.expect("the store opens")
}

/// Runs one promise on a new store; on the test's own thread unless more are named.
pub(crate) fn keep<O: Future<Output = Client>, F: Future<Output = Kept>>(
    threads: &[usize],
    open: impl FnOnce() -> O,
    promise: impl FnOnce(Client) -> F,
) {
    let mut runtime = match threads.last() {
        None | Some(0) => tokio::runtime::Builder::new_current_thread(),
        Some(_) => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(threads @ 1..) = threads.last() {
        runtime.worker_threads(*threads);
    }
    let runtime = runtime.enable_all().build().expect("a runtime");
    let kept = runtime.block_on(async { promise(open().await).await });
    kept.unwrap_or_else(|error| panic!("failed to {error}"));
    // Who left a handler behind does not wait for it.
    runtime.shutdown_background();
}

/// Returns a job that must be on record.
pub(crate) async fn show(client: &Client, id: JobId) -> JobInfo {
    client.job(id).await.expect("the look is answered").expect("the job is on record")
}

/// Waits for a future that must resolve.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(NEVER, future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

/// An observer that keeps every event as a line of text.
#[derive(Default)]
pub(crate) struct Watch {
    lines: Mutex<Vec<String>>,
    news: Notify,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self, word: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(word)).count()
    }

    /// Waits until so many events began with this word.
    pub(crate) async fn hears(&self, word: &str, times: usize) {
        let heard = async {
            loop {
                let news = self.news.notified();
                if self.count(word) >= times {
                    return;
                }
                news.await;
            }
        };
        if tokio::time::timeout(NEVER, heard).await.is_err() {
            panic!("heard no {times} × {word:?}, but {:?}", self.lines());
        }
    }
}

impl Observer for Watch {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Enqueued { job_type, .. } => format!("enqueued {job_type}"),
            Event::Claimed { run } => format!("claimed {} {}", run.job_type, run.fence.attempt),
            Event::Started { run, .. } => format!("started {} {}", run.job_type, run.fence.attempt),
            Event::Completed { run, .. } => {
                format!("completed {} {}", run.job_type, run.fence.attempt)
            }
            Event::Failed { failure, retry_in, .. } => {
                format!("failed {} {retry_in:?}", failure.class)
            }
            Event::Dead { failure, reason, .. } => format!("dead {} {reason:?}", failure.class),
            Event::Snoozed { wait, .. } => format!("snoozed {wait:?}"),
            Event::Released { run } => format!("released {}", run.job_type),
            Event::Cancelled { run } => format!("cancelled {}", run.job_type),
            Event::LeaseLost { run } => format!("lost {}", run.job_type),
            Event::Rescued { crashes, dead, .. } => format!("rescued {crashes} {dead}"),
            Event::SelfFenced { leases } => format!("self-fenced {leases}"),
            Event::Overdue { run, .. } => format!("overdue {}", run.job_type),
            Event::StoreTrouble { verb, .. } => format!("trouble {verb}"),
            _ => return,
        };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        // Every waiter looks at all lines again, and one that is about to wait is counted too.
        self.news.notify_waiters();
    }
}

/// A list that handlers write to and tests await.
#[derive(Default)]
pub(crate) struct Diary {
    entries: Mutex<VecDeque<i64>>,
    news: Notify,
}

impl Diary {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn note(&self, n: i64) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push_back(n);
        self.news.notify_waiters();
    }

    pub(crate) fn all(&self) -> Vec<i64> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Waits until it has so many entries.
    pub(crate) async fn reaches(&self, len: usize) -> Vec<i64> {
        let reached = async {
            loop {
                let news = self.news.notified();
                let all = self.all();
                if all.len() >= len {
                    return all;
                }
                news.await;
            }
        };
        match tokio::time::timeout(NEVER, reached).await {
            Ok(all) => all,
            Err(_) => panic!("{len} entries never came, but {:?}", self.all()),
        }
    }
}
