//! T30 in its small form: several programs on one file, one of them not ours, none ever told that
//! the file is locked; the log stays bounded, and each job is done once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dutiful::{Client, Completed, Context, Event, Filter, Job, Observer, StoreError, Worker};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

/// How long all of them work against each other.
const TOGETHER: Duration = Duration::from_secs(7);
/// How long a program that is not ours waits for the lock before it says that it is busy.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Each program has so many transactions of its own under way.
const SLOTS: usize = 2;
/// The log may not grow beyond this.
const LOG_MAX: u64 = 64 * 1024 * 1024;
/// A program waits with more jobs while so many are there.
const BACKLOG_MAX: u64 = 60;
const FILE: &str = "DUTIFUL_TRUST_FILE";

#[derive(Serialize, Deserialize)]
struct Task {
    n: i64,
}

impl Job for Task {
    const TYPE: &'static str = "task";
}

/// Runs a test of this file as a program of its own on the file.
fn program(test: &str, path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child.args(["--exact", test, "--ignored", "--nocapture"]).env(FILE, path);
    child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a program starts")
}

fn given() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(LOCK_WAIT)?;
    Ok(conn)
}

/// Counts what is told about locks.
#[derive(Default)]
struct Busy(AtomicU64);

impl Observer for Busy {
    fn event(&self, event: &Event<'_>) {
        if let Event::StoreTrouble { error: StoreError::Busy { .. }, .. } = event {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Writes the job's id to a table of the application, where no id can stand twice.
fn work(_: Task, cx: Context<PathBuf>) -> dutiful::Result<Completed> {
    let mut conn = open(&cx.app)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute("INSERT INTO ran VALUES (?1)", [cx.id().as_bytes()])?;
    let done = cx.complete_within(&tx).now()?;
    tx.commit()?;
    Ok(done)
}

async fn left(client: &Client) -> Result<u64, dutiful::Error> {
    let totals = client.stats().await?.totals;
    Ok(totals.pending + totals.scheduled + totals.active + totals.failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test as a program of its own"]
async fn program_that_enqueues_and_works() -> Kept {
    let Some(path) = given() else { return Ok(()) };
    let client = Client::connect(&format!("sqlite:{}", path.display())).await?;
    let busy = Arc::new(Busy::default());
    let worker = Worker::new(&client, path).job_blocking(work).queue("default", SLOTS);
    let worker = worker.observer(busy.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let begun = Instant::now();
    while begun.elapsed() < TOGETHER {
        if client.stats().await?.totals.pending < BACKLOG_MAX {
            client.enqueue_all((0..20).map(|n| Task { n })).await?;
            client.enqueue(Task { n: 1 }).delay(Duration::from_millis(100)).await?;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while left(&client).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    handle.stop();
    running.await??;
    assert_eq!(busy.0.load(Ordering::SeqCst), 0, "told that the file is locked");
    Ok(client.close().await?)
}

#[tokio::test]
#[ignore = "run by another test as a program of its own"]
async fn program_that_reads_long_lists_and_checkpoints() -> Kept {
    let Some(path) = given() else { return Ok(()) };
    let client = Client::connect(&format!("sqlite:{}", path.display())).await?;
    let conn = open(&path)?;
    let begun = Instant::now();
    while begun.elapsed() < TOGETHER {
        let mut filter = Filter { limit: Some(dutiful::PAGE_MAX), ..Filter::default() };
        while begun.elapsed() < TOGETHER {
            let page = client.jobs(filter.clone()).await?;
            filter.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(client.close().await?)
}

#[test]
#[ignore = "run by another test as a program of its own"]
fn program_that_is_not_ours() -> Kept {
    let Some(path) = given() else { return Ok(()) };
    let mut conn = open(&path)?;
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < TOGETHER {
        let asked = Instant::now();
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        slowest = slowest.max(asked.elapsed());
        for n in 0..10 {
            tx.execute("INSERT INTO theirs VALUES (?1)", [n])?;
        }
        std::thread::sleep(Duration::from_millis(2));
        tx.commit()?;
        std::thread::sleep(Duration::from_millis(3));
    }
    conn.execute("INSERT INTO slowest VALUES (?1)", [slowest.as_millis() as i64])?;
    Ok(())
}

#[test]
fn programs_that_share_a_file_are_never_told_that_it_is_locked() -> Kept {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("shared.db");
    let conn = open(&path)?;
    let tables = "CREATE TABLE ran (id BLOB PRIMARY KEY); CREATE TABLE theirs (n INTEGER);
        CREATE TABLE slowest (ms INTEGER);";
    conn.execute_batch(tables)?;
    drop(dutiful::blocking::Client::connect(&format!("sqlite:{}", path.display()))?);
    let mut programs: Vec<_> = [
        "program_that_enqueues_and_works",
        "program_that_enqueues_and_works",
        "program_that_reads_long_lists_and_checkpoints",
        "program_that_is_not_ours",
    ]
    .map(|test| (test, program(test, &path)))
    .into();
    let mut log_max = 0;
    while programs.iter_mut().any(|(_, child)| matches!(child.try_wait(), Ok(None))) {
        let log = std::fs::metadata(path.with_extension("db-wal"));
        log_max = log_max.max(log.map_or(0, |log| log.len()));
        std::thread::sleep(Duration::from_millis(20));
    }
    for (test, child) in &mut programs {
        assert!(child.wait()?.success(), "{test} was told that the file is locked, or worse");
    }
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (jobs, ran) = ("SELECT count(*) FROM dutiful_job", "SELECT count(*) FROM ran");
    let done = "SELECT count(*) FROM dutiful_done WHERE outcome = 1";
    let counts = (number(jobs)?, number(ran)?, number(done)?);
    let (theirs, slowest) =
        (number("SELECT count(*) / 10 FROM theirs")?, number("SELECT max(ms) FROM slowest")?);
    println!("{} jobs, {theirs} transactions of others, the slowest waited {slowest} ms", counts.0);
    println!("the log had at most {log_max} bytes");
    assert!(counts.0 > 50 && counts == (counts.0, counts.0, counts.0), "{counts:?}");
    assert!(theirs > 20, "only {theirs} transactions of others");
    assert!(log_max < LOG_MAX, "the log grew to {log_max} bytes");
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    Ok(())
}
