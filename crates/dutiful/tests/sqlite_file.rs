//! The embedded store's file among others: locks kept, many openers at once, a file taken away, and
//! transactions of the user's own that cannot go on.
#![cfg(feature = "sqlite")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dutiful::{Client, Error, Job, StoreError};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

#[derive(Serialize, Deserialize)]
struct Task {}

impl Job for Task {
    const TYPE: &'static str = "task";
}

fn place() -> (tempfile::TempDir, PathBuf, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("jobs.db");
    let url = format!("sqlite:{}", path.display());
    (dir, path, url)
}

/// Runs a test of this file in a process of its own, which sees the path.
fn child(test: &str, path: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child.args(["--exact", test, "--ignored"]).env("DUTIFUL_TEST_FILE", path);
    child.stdout(Stdio::null());
    child
}

fn given() -> Option<PathBuf> {
    std::env::var_os("DUTIFUL_TEST_FILE").map(PathBuf::from)
}

fn jobs(path: &Path) -> rusqlite::Result<i64> {
    let conn = Connection::open(path)?;
    conn.query_row("SELECT count(*) FROM dutiful_job", [], |row| row.get(0))
}

#[test]
#[ignore = "run by others as a process of its own"]
fn child_that_reads_and_closes() {
    if let Some(path) = given() {
        assert!(jobs(&path).is_ok_and(|n| n > 0));
    }
}

#[tokio::test]
#[ignore = "run by others as a process of its own"]
async fn child_that_opens_and_enqueues() -> Kept {
    let Some(path) = given() else { return Ok(()) };
    let client = Client::connect(&format!("sqlite:{}", path.display())).await?;
    client.enqueue(Task {}).await?;
    client.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_client_leaves_the_first_its_locks() -> Kept {
    let (_dir, path, url) = place();
    let first = Client::connect(&url).await?;
    first.enqueue(Task {}).await?;
    let second = Client::connect(&url).await?;
    #[cfg(target_os = "linux")]
    {
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path)?);
        let held = std::fs::read_to_string("/proc/locks")?;
        assert!(held.contains(&format!(":{inode} ")), "the lock on the file itself:\n{held}");
    }
    // Whoever is the last connection to close takes the WAL away; this one must not be it.
    assert!(child("child_that_reads_and_closes", &path).status()?.success());
    assert!(path.with_extension("db-wal").exists(), "it belongs to those who are here still");
    first.enqueue(Task {}).await?;
    assert!(child("child_that_reads_and_closes", &path).status()?.success());
    assert_eq!(second.stats().await?.totals.pending, 2);
    second.close().await?;
    first.close().await?;
    assert_eq!(jobs(&path)?, 2, "what was acknowledged is in the file");
    Ok(())
}

#[test]
fn many_processes_open_a_new_file_at_once() -> Kept {
    for _ in 0..5 {
        let (_dir, path, _) = place();
        let all: Result<Vec<_>, _> = (0..8)
            .map(|_| child("child_that_opens_and_enqueues", &path).stderr(Stdio::inherit()).spawn())
            .collect();
        for mut one in all? {
            assert!(one.wait()?.success());
        }
        assert_eq!(jobs(&path)?, 8);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_open_a_new_file_at_once() -> Kept {
    for _ in 0..5 {
        let (_dir, path, url) = place();
        let all: Vec<_> = (0..8)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { Client::connect(&url).await?.enqueue(Task {}).await })
            })
            .collect();
        for one in all {
            one.await??;
        }
        assert_eq!(jobs(&path)?, 8);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_taken_away_is_noticed_at_the_next_write() -> Kept {
    let (dir, path, url) = place();
    let client = Client::connect(&url).await?;
    client.enqueue(Task {}).await?;
    let aside = dir.path().join("aside.db");
    std::fs::rename(&path, &aside)?;
    for _ in 0..2 {
        let Err(Error::Store(why)) = client.enqueue(Task {}).await else {
            panic!("acknowledged, and nobody would ever see it");
        };
        assert!(
            !why.is_passing() && why.to_string().contains("deleted, moved or replaced"),
            "{why}"
        );
    }
    std::fs::write(&path, b"")?;
    assert!(client.enqueue(Task {}).await.is_err(), "another file of this name is not ours");
    std::fs::rename(&aside, &path)?;
    client.enqueue(Task {}).await?;
    assert_eq!(client.stats().await?.totals.pending, 2);
    Ok(())
}

#[tokio::test]
async fn closing_leaves_no_log_behind() -> Kept {
    let (dir, _path, url) = place();
    let client = Client::connect(&url).await?;
    client.enqueue(Task {}).await?;
    let heard = client.store().doorbell(0).await;
    let asleep = tokio::time::timeout(Duration::from_millis(50), client.store().doorbell(heard));
    assert!(asleep.await.is_ok() || client.stats().await?.totals.pending == 1);
    client.close().await?;
    let left: Vec<_> = std::fs::read_dir(dir.path())?.filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "{left:?}: the log was worked off, and nobody holds the file");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_calls_under_way_without_holding_up_the_program() -> Kept {
    let (_dir, path, url) = place();
    let client = Client::connect(&url).await?;
    let mut other = Connection::open(&path)?;
    let tx = other.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let asked = client.store().pause(dutiful::Name::new("queue", "mail")?, true);
    let close = client.close();
    tokio::pin!(close);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut close).await;
    assert!(early.is_err(), "a call waits for the lock still, and this thread goes on meanwhile");
    drop(tx);
    close.await?;
    assert!(asked.await?, "it was done before the end");
    assert!(matches!(client.stats().await, Err(Error::Store(StoreError::Closed))));
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_read_first_is_told_to_begin_immediate() -> Kept {
    let (_dir, path, url) = place();
    let client = Client::connect(&url).await?;
    let mut mine = Connection::open(&path)?;
    let tx = mine.transaction()?;
    tx.query_row("SELECT count(*) FROM dutiful_job", [], |row| row.get::<_, i64>(0))?;
    client.enqueue(Task {}).await?;
    let begun = std::time::Instant::now();
    let Err(Error::Store(why)) = client.enqueue(Task {}).within(&tx).now() else {
        panic!("a snapshot of before cannot be written to");
    };
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(matches!(why, StoreError::Stale), "{why}");
    assert!(why.to_string().contains("TransactionBehavior::Immediate"), "{why}");
    drop(tx);
    let tx = mine.transaction_with_behavior(TransactionBehavior::Immediate)?;
    client.enqueue(Task {}).within(&tx).now()?;
    tx.commit()?;
    assert_eq!(client.stats().await?.totals.pending, 2);
    Ok(())
}

#[tokio::test]
async fn a_failure_within_a_transaction_leaves_nothing_half_done_in_it() -> Kept {
    let (_dir, path, url) = place();
    let client = Client::connect(&url).await?;
    let mut mine = Connection::open(&path)?;
    mine.execute_batch(
        "CREATE TABLE orders (n); CREATE TRIGGER broken BEFORE INSERT ON dutiful_ready
         BEGIN SELECT RAISE(ABORT, 'no such luck'); END",
    )?;
    let tx = mine.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute("INSERT INTO orders VALUES (1)", [])?;
    assert!(client.enqueue(Task {}).unique("k").within(&tx).now().is_err());
    tx.commit()?;
    let left = |table: &str| -> rusqlite::Result<i64> {
        mine.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
    };
    assert_eq!((left("orders")?, left("dutiful_job")?, left("dutiful_unique_key")?), (1, 0, 0));
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_cannot_write_says_why() -> Kept {
    let (dir, path, url) = place();
    let client = Client::connect(&url).await?;
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let mut reads = Connection::open_with_flags(&path, flags)?;
    let tx = reads.transaction()?;
    let why = client.enqueue(Task {}).within(&tx).now().expect_err("it only reads").to_string();
    assert!(why.contains("connection") && why.contains("read-only"), "{why}");
    let mut main = Connection::open(dir.path().join("main.db"))?;
    main.execute("ATTACH ?1 AS jobs", [path.to_string_lossy()])?;
    let tx = main.transaction()?;
    let why = client.enqueue(Task {}).within(&tx).now();
    assert!(matches!(why, Err(Error::Store(StoreError::Elsewhere { .. }))), "{why:?}");
    Ok(())
}
