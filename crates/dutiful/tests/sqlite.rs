//! What the embedded store promises beyond the seam: a private, durable file, group commit, a full
//! disk survived, several programs on one file, and a start after a crash.
#![cfg(feature = "sqlite")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dutiful::{Client, EnqueueOutcome, Error, Filter, Job, JobId, StoreError};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

#[derive(Serialize, Deserialize)]
struct Task {
    text: String,
}

impl Job for Task {
    const TYPE: &'static str = "task";
}

fn task(bytes: usize) -> Task {
    Task { text: "x".repeat(bytes) }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// A directory with the path of a store that is not there yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("jobs.db");
    (dir, path)
}

async fn pending(client: &Client) -> u64 {
    client.stats().await.expect("the numbers are read").totals.pending
}

#[tokio::test]
async fn a_new_file_is_readable_by_its_owner_alone() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    client.enqueue(task(1)).await?;
    for file in [path.clone(), path.with_extension("db-wal"), path.with_extension("db-shm")] {
        let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    Ok(())
}

#[tokio::test]
async fn the_writer_syncs_every_commit_and_says_so() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    let facts = client.facts();
    assert_eq!((facts.store, facts.durability.as_str()), ("sqlite", "wal, synchronous=full"));
    let mode: String =
        Connection::open(&path)?.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    assert_eq!(mode, "wal", "the file itself says so too");
    Ok(())
}

#[tokio::test]
async fn an_acknowledged_job_is_seen_by_every_other_connection() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    let raw = Connection::open(&path)?;
    for n in 1..=50_i64 {
        let id = client.enqueue(task(1)).await?.id;
        let count = "SELECT count(*), max(id) FROM dutiful_job";
        let seen: (i64, [u8; 16]) =
            raw.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        assert_eq!(seen, (n, *id.as_bytes()), "acknowledged after its commit");
    }
    Ok(())
}

#[tokio::test]
async fn many_callers_share_a_commit_and_each_is_answered_after_it() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    let raw = Connection::open(&path)?;
    let version = || raw.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
    // A first transaction of somebody else holds the lock, so that all callers gather behind it.
    let mut other = Connection::open(&path)?;
    let tx = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let enqueues: Vec<_> = (0..200)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.enqueue(task(1)).await })
        })
        .collect();
    // All of them have handed in their work once the runtime has nothing else to run.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let before = version()?;
    drop(tx);
    let mut ids = Vec::new();
    for enqueue in enqueues {
        ids.push(enqueue.await??.id);
        let stored: i64 =
            raw.query_row("SELECT count(*) FROM dutiful_job", [], |row| row.get(0))?;
        assert!(stored as usize >= ids.len(), "answered after the commit");
    }
    let tallies: i64 = raw.query_row("SELECT count(*) FROM dutiful_tally", [], |row| row.get(0))?;
    assert!(tallies <= 20, "one tally row a commit: {tallies} commits for 200 enqueues");
    assert_ne!(version()?, before);
    assert_eq!(pending(&client).await, 200);
    Ok(())
}

#[tokio::test]
async fn one_failing_caller_does_not_spoil_the_commit_of_others() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    let raw = Connection::open(&path)?;
    // A trigger stands for whatever may go wrong with one row.
    raw.execute_batch(
        "CREATE TRIGGER broken BEFORE INSERT ON dutiful_job WHEN new.queue = 'broken'
         BEGIN SELECT RAISE(ABORT, 'no such luck'); END",
    )?;
    let mut other = Connection::open(&path)?;
    let tx = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let enqueues: Vec<_> = (0..30)
        .map(|n| {
            let client = client.clone();
            let queue = if n % 10 == 5 { "broken" } else { "fine" };
            tokio::spawn(async move { (queue, client.enqueue(task(1)).queue(queue).await) })
        })
        .collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop(tx);
    for enqueue in enqueues {
        let (queue, answer) = enqueue.await?;
        assert_eq!(answer.is_ok(), queue == "fine", "{answer:?}");
    }
    assert_eq!(pending(&client).await, 27);
    Ok(())
}

/// Fills a store until it says that it is full; returns what was acknowledged.
async fn fill(client: &Client) -> Result<Vec<JobId>, Error> {
    let mut stored = Vec::new();
    loop {
        match client.enqueue(task(20_000)).await {
            Ok(one) => stored.push(one.id),
            Err(Error::Store(StoreError::Full)) => return Ok(stored),
            Err(other) => return Err(other),
        }
        assert!(stored.len() < 10_000, "the limit is never reached");
    }
}

async fn survives_a_full_disk(client: &Client, room: impl FnOnce()) -> Kept {
    let running = client.enqueue(Task { text: "running".into() }).priority(0).await?.id;
    let stored = fill(client).await?;
    assert!(stored.len() > 10, "{} jobs fit", stored.len());
    for _ in 0..3 {
        let again = client.enqueue(task(20_000)).await;
        let Err(Error::Store(why)) = again else { panic!("{again:?}") };
        assert!(matches!(why, StoreError::Full) && why.is_passing(), "{why}");
        assert!(why.to_string().contains("no space is left"), "{why}");
    }
    assert_eq!(pending(client).await, stored.len() as u64 + 1, "reading goes on");
    for id in stored.iter().chain([&running]) {
        assert!(client.job(*id).await?.is_some(), "nothing acknowledged is lost");
    }
    room();
    assert_eq!(client.enqueue(task(20_000)).await?.outcome, EnqueueOutcome::New, "by itself");
    Ok(())
}

fn is_sound(path: &Path) -> Kept {
    let conn = Connection::open(path)?;
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    Ok(())
}

#[tokio::test]
async fn a_store_at_its_size_limit_refuses_clearly_and_recovers_when_jobs_go() -> Kept {
    let (_dir, path) = place();
    let limited = format!("{}?max_bytes={}", url(&path), 2 * 1024 * 1024);
    let client = Client::connect(&limited).await?;
    let stored = fill(&client).await?;
    assert!(stored.len() > 10, "{} jobs fit", stored.len());
    assert_eq!(pending(&client).await, stored.len() as u64, "reading goes on");
    let again = client.enqueue(task(20_000)).await;
    assert!(matches!(again, Err(Error::Store(StoreError::Full))), "{again:?}");
    for id in &stored[..5] {
        client.delete(*id).await?;
    }
    assert_eq!(client.enqueue(task(20_000)).await?.outcome, EnqueueOutcome::New);
    assert_eq!(pending(&client).await, stored.len() as u64 - 4);
    client.close().await?;
    is_sound(&path)
}

/// A small file system in memory, unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` when this user may not mount.
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().ok()?;
        let size = format!("size={megabytes}m");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .stderr(std::process::Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A mount that stays behind is cleared with the machine; the test has its verdict already.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_survived_and_recovered_from() -> Kept {
    let Some(disk) = Tmpfs::mount(4) else {
        println!("skipped: this user may not mount a small file system");
        return Ok(());
    };
    let path = disk.0.path().join("jobs.db");
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1024 * 1024])?;
    let client = Client::connect(&url(&path)).await?;
    survives_a_full_disk(&client, || std::fs::remove_file(&ballast).expect("it is there")).await?;
    client.close().await?;
    is_sound(&path)
}

#[tokio::test]
async fn two_clients_on_one_file_see_the_same_jobs() -> Kept {
    let (_dir, path) = place();
    let (one, two) = (Client::connect(&url(&path)).await?, Client::connect(&url(&path)).await?);
    let (a, b) = tokio::join!(async { one.enqueue_all((0..2000).map(|_| task(1))).await }, async {
        two.enqueue_all((0..2000).map(|_| task(1))).await
    },);
    assert_eq!((a?.len(), b?.len()), (2000, 2000));
    assert_eq!((pending(&one).await, pending(&two).await), (4000, 4000));
    let first = one.enqueue(task(1)).unique("k").await?;
    let twin = two.enqueue(task(1)).unique("k").await?;
    assert_eq!((twin.id, twin.outcome), (first.id, EnqueueOutcome::Duplicate));
    one.pause("default").await?;
    assert!(two.queues().await?[0].paused);
    Ok(())
}

#[tokio::test]
async fn a_write_elsewhere_wakes_a_sleeper() -> Kept {
    let (_dir, path) = place();
    let (one, two) = (Client::connect(&url(&path)).await?, Client::connect(&url(&path)).await?);
    for _ in 0..5 {
        let heard = one.store().doorbell(0).await;
        let (rung, stored) =
            tokio::join!(one.store().doorbell(heard), async { two.enqueue(task(1)).await });
        stored?;
        assert!(rung > heard);
    }
    Ok(())
}

#[tokio::test]
async fn a_readers_snapshot_does_not_block_writers() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    client.enqueue(task(1)).await?;
    let mut reader = Connection::open(&path)?;
    let snapshot = reader.transaction()?;
    let count = || snapshot.query_row("SELECT count(*) FROM dutiful_job", [], |r| r.get(0));
    let before: i64 = count()?;
    client.enqueue_all((0..3000).map(|_| task(100))).await?;
    assert_eq!((count()?, before), (1, 1), "the snapshot stands still");
    assert_eq!(pending(&client).await, 3001);
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_before_an_unclean_end_is_there_after_it() -> Kept {
    let (dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    let ids: Vec<_> = client
        .enqueue_all((0..500).map(|_| task(100)))
        .await?
        .iter()
        .map(|stored| stored.id)
        .collect();
    // The files as a power loss would leave them: nothing was closed, the WAL is not checkpointed.
    let after = dir.path().join("after");
    std::fs::create_dir(&after)?;
    for name in ["jobs.db", "jobs.db-wal"] {
        std::fs::copy(dir.path().join(name), after.join(name))?;
    }
    let again = Client::connect(&url(&after.join("jobs.db"))).await?;
    assert_eq!(pending(&again).await, 500);
    for id in ids {
        assert!(again.job(id).await?.is_some());
    }
    again.close().await?;
    is_sound(&after.join("jobs.db"))
}

#[tokio::test]
async fn a_torn_tail_of_the_log_costs_only_what_was_not_acknowledged() -> Kept {
    let (dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    client.enqueue_all((0..100).map(|_| task(100))).await?;
    let acknowledged = std::fs::metadata(path.with_extension("db-wal"))?.len();
    client.enqueue_all((0..100).map(|_| task(100))).await?;
    let wal = std::fs::read(path.with_extension("db-wal"))?;
    assert!(wal.len() as u64 > acknowledged);
    let after = dir.path().join("after");
    std::fs::create_dir(&after)?;
    for torn in [acknowledged as usize, acknowledged as usize + 1000, wal.len() - 1] {
        std::fs::copy(&path, after.join("jobs.db"))?;
        std::fs::write(after.join("jobs.db-wal"), &wal[..torn])?;
        let again = Client::connect(&url(&after.join("jobs.db"))).await?;
        assert_eq!(pending(&again).await, 100, "torn at {torn}: the last commit is all or nothing");
        again.close().await?;
        is_sound(&after.join("jobs.db"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_file_is_refused_after_a_crash() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    client.enqueue_all((0..2000).map(|_| task(100))).await?;
    client.close().await?;
    // A worker on record that never left, of a process that is gone.
    let raw = Connection::open(&path)?;
    raw.execute(
        "INSERT INTO dutiful_worker (id, name, pid, queues, types, started_at, beat_at)
         VALUES (1, 'gone', 2147483646, '{}', '[]', 0, 0)",
        [],
    )?;
    drop(raw);
    let mut bytes = std::fs::read(&path)?;
    let (from, to) = (bytes.len() / 2, bytes.len() / 2 + 16 * 4096);
    bytes[from..to].fill(0xA5);
    std::fs::write(&path, &bytes)?;
    match Client::connect(&url(&path)).await {
        Err(Error::Store(why @ (StoreError::Corrupt(_) | StoreError::Open { .. }))) => {
            assert!(!why.is_passing(), "{why}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_sound_file_is_opened_after_a_crash_and_checked_once() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    client.enqueue(task(1)).await?;
    Connection::open(&path)?.execute(
        "INSERT INTO dutiful_worker (id, name, pid, queues, types, started_at, beat_at)
         VALUES (1, 'gone', 2147483646, '{}', '[]', 0, 7)",
        [],
    )?;
    let again = Client::connect(&url(&path)).await?;
    assert_eq!(pending(&again).await, 1);
    let stopped: Option<i64> = Connection::open(&path)?.query_row(
        "SELECT stopped_at FROM dutiful_worker WHERE id = 1",
        [],
        |row| row.get(0),
    )?;
    assert_eq!(stopped, Some(7), "noted, so that the next start need not check again");
    Ok(())
}

#[tokio::test]
async fn closing_leaves_one_file_behind() -> Kept {
    let (dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    client.enqueue(task(1)).await?;
    client.stats().await?;
    client.close().await?;
    let mut left: Vec<_> = std::fs::read_dir(dir.path())?
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    left.sort();
    // The thread that listens for others' commits may hold the log for a moment longer.
    left.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    assert_eq!(left, ["jobs.db"]);
    let again = Client::connect(&url(&path)).await?;
    assert_eq!(again.jobs(Filter::default()).await?.jobs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_users_own_tables_live_beside_the_jobs() -> Kept {
    let (_dir, path) = place();
    Connection::open(&path)?
        .execute_batch("CREATE TABLE orders (id); INSERT INTO orders VALUES (7)")?;
    let client = Client::connect(&url(&path)).await?;
    client.enqueue(task(1)).await?;
    client.migrate(Some(0)).await?;
    client.migrate(None).await?;
    let orders: i64 =
        Connection::open(&path)?.query_row("SELECT id FROM orders", [], |row| row.get(0))?;
    assert_eq!(orders, 7);
    Ok(())
}

#[tokio::test]
async fn users_get_their_turn_beside_a_bulk_load() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    let load = tokio::spawn(async move {
        client.enqueue_all((0..50_000).map(|_| task(10))).await.map(|stored| stored.len())
    });
    let theirs = std::thread::spawn(move || -> rusqlite::Result<u32> {
        let conn = Connection::open(&path)?;
        conn.busy_timeout(Duration::from_secs(10))?;
        conn.execute_batch("CREATE TABLE IF NOT EXISTS own (n)")?;
        for n in 0..20 {
            conn.execute("INSERT INTO own VALUES (?1)", [n])?;
        }
        conn.query_row("SELECT count(*) FROM own", [], |row| row.get(0))
    });
    assert_eq!(load.await??, 50_000);
    let written = theirs.join().expect("the thread ends in order")?;
    assert_eq!(written, 20);
    Ok(())
}

#[tokio::test]
async fn a_queue_with_a_damaged_row_can_be_cleared() -> Kept {
    let (_dir, path) = place();
    let client = Client::connect(&url(&path)).await?;
    client.enqueue_all((0..3).map(task)).await?;
    let damage = "INSERT INTO dutiful_ready VALUES ('default', 0, 0, x'FF', 'task', 0, 0, 0, 0)";
    Connection::open(&path)?.execute(damage, [])?;
    assert_eq!(client.clear("default").await?, 3);
    Ok(())
}
