//! Backups of a file under load, and restores into the place of a store that somebody still uses.
#![cfg(feature = "sqlite")]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dutiful::store::{ClaimRequest, End, Finish, HeartbeatRequest, Held, Lane};
use dutiful::{Client, Error, Job, JobId, Name, StoreError, WorkerId};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

const WORKER: WorkerId = WorkerId(1);
const LEASE: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct Task {}

impl Job for Task {
    const TYPE: &'static str = "task";
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    fn names(&self) -> Vec<String> {
        let all = self.dir.path().read_dir().expect("it is a folder").filter_map(Result::ok);
        let mut names: Vec<_> =
            all.map(|one| one.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn ask(limit: usize) -> ClaimRequest {
    let name = |text| Name::new("name", text).expect("it is a valid name");
    ClaimRequest {
        worker: WORKER,
        lanes: vec![Lane { queue: name("default"), limit, at_most_once: limit }],
        types: Arc::new(HashSet::from([name("task")])),
        lease: LEASE,
        limit,
        bytes: usize::MAX,
        crashed: limit,
    }
}

fn end(job: &dutiful::store::Claimed) -> Finish {
    job.unstarted(End::Completed(None))
}

/// Returns in how many places each job of a file stands, and what the integrity check says.
fn places(path: &Path) -> rusqlite::Result<(HashMap<Vec<u8>, usize>, String)> {
    let conn = Connection::open(path)?;
    let mut found = HashMap::new();
    let mut ids = conn.prepare("SELECT id FROM dutiful_job")?;
    for id in ids.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        found.insert(id?, 0);
    }
    for place in ["ready", "scheduled", "lease", "done", "dead"] {
        let mut ids = conn.prepare(&format!("SELECT id FROM dutiful_{place}"))?;
        for id in ids.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
            *found.entry(id?).or_insert(100) += 1;
        }
    }
    let whole = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    Ok((found, whole))
}

/// Enqueues and completes until it is told to stop; gives each acknowledged id at once.
async fn storm(client: Client, over: Arc<AtomicBool>, told: std::sync::mpsc::Sender<JobId>) {
    while !over.load(Ordering::SeqCst) {
        for stored in client.enqueue_all((0..7).map(|_| Task {})).await.expect("it is stored") {
            told.send(stored.id).expect("the test listens");
        }
        let claimed = client.store().claim(ask(5)).await.expect("the claim is answered");
        let ends = claimed.iter().map(end).collect();
        client.store().finish(WORKER, ends).await.expect("the finish is answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_in_a_storm_is_whole_and_has_all_that_was_acknowledged_before() -> Kept {
    let place = Place::new();
    let client = Client::connect(&place.url("jobs.db")).await?;
    let over = Arc::new(AtomicBool::new(false));
    let (to, told) = std::sync::mpsc::channel();
    let storms: Vec<_> =
        (0..3).map(|_| tokio::spawn(storm(client.clone(), over.clone(), to.clone()))).collect();
    let mut acknowledged = Vec::new();
    for n in 0..8 {
        // Each backup is taken after something new was acknowledged.
        acknowledged.push(told.recv_timeout(Duration::from_secs(60))?);
        acknowledged.extend(told.try_iter());
        let name = format!("backup-{n}.db");
        let backup = client.backup(place.path(&name)).await?;
        let (found, whole) = places(&place.path(&name))?;
        assert_eq!(whole, "ok");
        assert_eq!(found.len() as u64, backup.jobs);
        let stray = found.iter().find(|(_, places)| **places != 1);
        assert!(stray.is_none(), "each job stands in exactly one place: {stray:?}");
        for id in &acknowledged {
            assert!(found.contains_key(&id.as_bytes()[..]), "{id} was acknowledged before");
        }
    }
    over.store(true, Ordering::SeqCst);
    for one in storms {
        one.await?;
    }
    assert!(acknowledged.len() > 8, "there was a storm");
    Ok(())
}

#[tokio::test]
async fn a_process_with_the_replaced_file_open_is_refused() -> Kept {
    let place = Place::new();
    let url = place.url("jobs.db");
    let client = Client::connect(&url).await?;
    client.enqueue(Task {}).await?;
    let old = client.store().claim(ask(1)).await?.remove(0);
    client.backup(place.path("backup.db")).await?;
    let after = client.enqueue(Task {}).await?.id;
    let refused = Client::restore(&url, place.path("backup.db")).await;
    let Err(Error::Store(why)) = refused else { panic!("it stands there already") };
    assert!(why.to_string().contains("exists already"), "{why}");
    client.enqueue(Task {}).await?;
    let mut mine = Connection::open(place.path("jobs.db"))?;
    let done = Client::builder().restore_over(&url, place.path("backup.db")).await?;
    assert_eq!((done.jobs, done.leases_ended), (1, 1));
    let tx = mine.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let why = client.enqueue(Task {}).within(&tx).now().expect_err("it writes to the old file");
    assert!(why.to_string().contains("deleted, moved or replaced"), "{why}");
    drop(tx);
    for asked in [
        client.enqueue(Task {}).await.map(drop),
        client.store().finish(WORKER, vec![end(&old)]).await.map(drop).map_err(Error::from),
        client.store().claim(ask(1)).await.map(drop).map_err(Error::from),
    ] {
        let Err(Error::Store(why)) = asked else { panic!("the old file is nobody's store") };
        assert!(why.to_string().contains("deleted, moved or replaced"), "{why}");
    }
    let now = Client::connect(&url).await?;
    assert!(now.job(after).await?.is_none(), "it came after the backup");
    let ask_beat = HeartbeatRequest { worker: WORKER, fences: vec![old.fence], lease: LEASE };
    assert_eq!(now.store().heartbeat(ask_beat).await?[0].held, Held::Lost);
    // The old process ends at last; the log of the new store is not its to take away.
    now.enqueue(Task {}).await?;
    client.close().await?;
    assert_eq!(Client::connect(&url).await?.stats().await?.totals.pending, 2);
    now.close().await?;
    let aside = done.aside.ok_or("the old file is kept")?;
    let aside = Client::connect(&format!("sqlite:{}", aside.display())).await?;
    assert_eq!(aside.stats().await?.totals.pending, 2, "all of the old store is aside");
    Ok(())
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_changes_nothing() -> Kept {
    let place = Place::new();
    let url = place.url("jobs.db");
    let client = Client::connect(&place.url("old.db")).await?;
    client.enqueue_all((0..500).map(|_| Task {})).await?;
    client.backup(place.path("whole.db")).await?;
    let whole = std::fs::read(place.path("whole.db"))?;
    std::fs::write(place.path("cut.db"), &whole[..whole.len() / 2])?;
    let mut noise = whole.clone();
    noise[4096..whole.len() - 4096].fill(0xA5);
    std::fs::write(place.path("noise.db"), noise)?;
    // One page of records, which nothing reads before a job of it is claimed.
    let mut leaf = whole.clone();
    let pages: Vec<_> = (0..leaf.len()).step_by(4096).filter(|at| leaf[*at] == 0x0D).collect();
    let at = pages[pages.len() / 2];
    leaf[at..at + 4096].fill(0xA5);
    std::fs::write(place.path("leaf.db"), leaf)?;
    std::fs::write(place.path("notes.db"), "these are notes and no database\n".repeat(100))?;
    std::fs::write(place.path("empty.db"), "")?;
    Connection::open(place.path("other.db"))?.execute_batch("CREATE TABLE t (n)")?;
    std::fs::write(place.path("newer.db"), &whole)?;
    let newer = Connection::open(place.path("newer.db"))?;
    newer.execute("UPDATE dutiful_schema SET version = 999", [])?;
    drop(newer);
    let before = place.names();
    for (name, says) in [
        ("none.db", "name a backup"),
        ("cut.db", "damaged"),
        ("noise.db", "damaged"),
        ("leaf.db", "damaged"),
        ("notes.db", "damaged"),
        ("empty.db", "no store of Dutiful"),
        ("other.db", "no store of Dutiful"),
        ("newer.db", "upgrade dutiful"),
        ("old.db", "a log lies beside it"),
        (".", "not a regular file"),
    ] {
        let Err(Error::Store(why)) = Client::restore(&url, place.path(name)).await else {
            panic!("{name} was restored");
        };
        assert!(why.to_string().contains(says), "{name}: {why}");
        assert_eq!(place.names(), before, "{name} left nothing");
    }
    let memory = Client::restore("sqlite::memory:", place.path("whole.db")).await;
    assert!(matches!(memory, Err(Error::Store(StoreError::Unsupported { .. }))), "{memory:?}");
    Client::restore(&url, place.path("whole.db")).await?;
    assert_eq!(Client::connect(&url).await?.stats().await?.totals.pending, 500);
    Ok(())
}

#[tokio::test]
async fn a_backup_of_an_older_schema_is_brought_up_to_date() -> Kept {
    let place = Place::new();
    let client = Client::connect(&place.url("jobs.db")).await?;
    let id = client.enqueue(Task {}).await?.id;
    let newest = client.migrate(Some(1)).await?.from;
    client.backup(place.path("old.db")).await?;
    let url = place.url("new.db");
    Client::restore(&url, place.path("old.db")).await?;
    // Before anybody opens the store, which would bring it up too.
    let version = Connection::open(place.path("new.db"))?.query_row(
        "SELECT version FROM dutiful_schema",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    assert_eq!(version, newest);
    assert!(Client::connect(&url).await?.job(id).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_log_left_by_an_older_store_is_never_taken_into_a_new_one() -> Kept {
    let place = Place::new();
    let url = place.url("jobs.db");
    let client = Client::connect(&url).await?;
    client.enqueue(Task {}).await?;
    client.backup(place.path("backup.db")).await?;
    client.enqueue(Task {}).await?;
    let log = std::fs::read(place.path("jobs.db-wal"))?;
    client.close().await?;
    std::fs::remove_file(place.path("jobs.db"))?;
    std::fs::write(place.path("jobs.db-wal"), log)?;
    let Err(Error::Store(why)) = Client::restore(&url, place.path("backup.db")).await else {
        panic!("the old log would be replayed");
    };
    assert!(why.to_string().contains("lies beside it"), "{why}");
    let done = Client::builder().restore_over(&url, place.path("backup.db")).await?;
    assert!(done.aside.is_some(), "the log is kept");
    let client = Client::connect(&url).await?;
    assert_eq!(client.stats().await?.totals.pending, 1);
    let sound = client.doctor(true).await?;
    assert!(sound.iter().any(|one| one.check == "places" && one.advice.is_none()), "{sound:?}");
    Ok(())
}

#[tokio::test]
async fn a_write_that_waited_while_the_file_was_replaced_is_refused() -> Kept {
    let place = Place::new();
    let client = Client::connect(&place.url("jobs.db")).await?;
    client.enqueue(Task {}).await?;
    let other = Connection::open(place.path("jobs.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let mut asked = client.store().pause(Name::new("queue", "mail")?, true);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut asked).await;
    assert!(early.is_err(), "it waits for the lock");
    std::fs::rename(place.path("jobs.db"), place.path("aside.db"))?;
    other.execute_batch("ROLLBACK")?;
    let Err(why) = asked.await else { panic!("acknowledged, and nobody would ever see it") };
    assert!(why.to_string().contains("deleted, moved or replaced"), "{why}");
    std::fs::rename(place.path("aside.db"), place.path("jobs.db"))?;
    client.enqueue(Task {}).await?;
    assert_eq!(client.stats().await?.totals.pending, 2);
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_being_written_is_not_replaced() -> Kept {
    let place = Place::new();
    let url = place.url("jobs.db");
    let client = Client::connect(&url).await?;
    client.enqueue(Task {}).await?;
    client.backup(place.path("backup.db")).await?;
    client.close().await?;
    let other = Connection::open(place.path("jobs.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let before = place.names();
    let Err(Error::Store(why)) =
        Client::builder().restore_over(&url, place.path("backup.db")).await
    else {
        panic!("somebody is writing to it");
    };
    assert!(why.to_string().contains("another program has held its lock"), "{why}");
    assert_eq!(place.names(), before);
    Ok(())
}
