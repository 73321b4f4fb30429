//! T29: no space is left while producers and a worker go on; nothing acknowledged is lost, leases
//! survive, observers are not flooded, and all goes on by itself when there is space again.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dutiful::{Client, Context, Error, Event, Job, JobId, Observer, State, StoreError, Worker};
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

const LEASE: Duration = Duration::from_millis(1500);
/// The store stays full for this long: more than a lease, and than a self-fence.
const FULL_FOR: Duration = Duration::from_secs(4);
/// Anything that takes longer never happens.
const NEVER: Duration = Duration::from_secs(60);
const PAYLOAD: usize = 20_000;

#[derive(Serialize, Deserialize)]
struct Task {
    text: String,
}

impl Job for Task {
    const TYPE: &'static str = "task";
}

/// A job that waits until there is space again.
#[derive(Serialize, Deserialize)]
struct Long {}

impl Job for Long {
    const TYPE: &'static str = "long";
    const QUEUE: &'static str = "long";
}

#[derive(Default)]
struct Told {
    troubles: Mutex<HashMap<&'static str, u64>>,
    fenced: AtomicU64,
    rescued: AtomicU64,
}

impl Observer for Told {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::StoreTrouble { verb, .. } => {
                let mut all = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
                *all.entry(*verb).or_default() += 1;
            }
            Event::SelfFenced { .. } => drop(self.fenced.fetch_add(1, Ordering::SeqCst)),
            Event::Rescued { .. } => drop(self.rescued.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
    }
}

/// A small file system in memory, unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` when this user may not mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(dir.path());
        let mounted = mount.stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A mount that stays behind is cleared with the machine; the test has its verdict already.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

async fn is_completed(client: &Client, id: JobId) -> bool {
    let job = client.job(id).await.expect("reading goes on").expect("it is on record");
    job.state == State::Completed
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < NEVER, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// Enqueues while the store is full: each call must say so soon. Returns what was stored.
async fn press_on(client: &Client, stored: &mut Vec<JobId>) -> Result<(u64, Duration), Error> {
    let (begun, mut refused, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < FULL_FOR {
        let asked = Instant::now();
        match client.enqueue(Task { text: "x".repeat(PAYLOAD) }).queue("idle").await {
            Ok(one) => stored.push(one.id),
            Err(Error::Store(StoreError::Full)) => {
                refused += 1;
                slowest = slowest.max(asked.elapsed());
            }
            Err(other) => return Err(other),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((refused, slowest))
}

/// Fills the store until it stays full.
async fn fill(client: &Client, stored: &mut Vec<JobId>) -> Result<(), Error> {
    for bytes in [PAYLOAD, 1] {
        loop {
            match client.enqueue(Task { text: "x".repeat(bytes) }).queue("idle").await {
                Ok(one) => stored.push(one.id),
                Err(Error::Store(StoreError::Full)) => break,
                Err(other) => return Err(other),
            }
        }
    }
    Ok(())
}

/// The whole story; `free` makes space.
async fn outlasts_a_full_store(
    client: &Client,
    is_told: bool,
    free: impl AsyncFnOnce(&mut Vec<JobId>) -> Kept,
) -> Result<String, Box<dyn std::error::Error>> {
    let (told, space) = (Arc::new(Told::default()), Arc::new(tokio::sync::Semaphore::new(0)));
    let long = client.enqueue(Long {}).await?.id;
    let handler = async |_: Long, cx: Context<tokio::sync::Semaphore>| -> dutiful::Result<()> {
        let _space = cx.app.acquire().await?;
        Ok(())
    };
    let worker = Worker::new(client, space.clone()).job(handler).lease(LEASE);
    let worker = worker.observer(told.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    until("the long job runs", async || {
        client.stats().await.expect("it is answered").totals.active == 1
    })
    .await;
    let mut stored = Vec::new();
    fill(client, &mut stored).await?;
    let (refused, slowest) = press_on(client, &mut stored).await?;
    assert!(refused > 10 && slowest < Duration::from_secs(2), "{refused}, {slowest:?}");
    let heard = told.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(!heard.is_empty() || !is_told, "nobody was told");
    assert!(heard.values().all(|times| *times <= 3), "{heard:?}");
    free(&mut stored).await?;
    space.add_permits(1);
    let took = until("the long job is done", async || is_completed(client, long).await).await;
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    client.enqueue(Task { text: "x".repeat(PAYLOAD) }).queue("idle").await?;
    for id in &stored {
        assert!(client.job(*id).await?.is_some(), "nothing acknowledged is lost");
    }
    handle.stop();
    let done = running.await??;
    assert_eq!((done.completed, done.lost), (1, 0));
    let alarms = [&told.fenced, &told.rescued].map(|n| n.load(Ordering::SeqCst));
    assert_eq!(alarms, [0, 0], "fenced, rescued");
    client.close().await?;
    let jobs = stored.len();
    Ok(format!(
        "{jobs} jobs fit, {refused} were refused within {slowest:?}; heard in {FULL_FOR:?}: \
         {heard:?}; all went on {took:?} after there was space"
    ))
}

fn is_sound(path: &Path) {
    let conn = rusqlite::Connection::open(path).expect("the file opens");
    let verdict: String =
        conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it is checked");
    assert_eq!(verdict, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_outlasted_by_worker_and_producers() -> Kept {
    let Some(disk) = Tmpfs::mount() else {
        println!("skipped: this user may not mount a small file system");
        return Ok(());
    };
    let path = disk.0.path().join("jobs.db");
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 2 * 1024 * 1024])?;
    let client = Client::connect(&format!("sqlite:{}", path.display())).await?;
    let free = async |_: &mut Vec<JobId>| Ok(std::fs::remove_file(&ballast)?);
    println!("{}", outlasts_a_full_store(&client, true, free).await?);
    is_sound(&path);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_its_limit_is_outlasted_by_worker_and_producers() -> Kept {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("jobs.db");
    let url = format!("sqlite:{}?max_bytes={}", path.display(), 2 * 1024 * 1024);
    let client = Client::connect(&url).await?;
    // A renewal needs no space in the file, so a worker with nothing else to do notices nothing.
    let free = async |stored: &mut Vec<JobId>| {
        for id in stored.drain(..20) {
            client.delete(id).await?;
        }
        Ok(())
    };
    println!("{}", outlasts_a_full_store(&client, false, free).await?);
    is_sound(&path);
    Ok(())
}
