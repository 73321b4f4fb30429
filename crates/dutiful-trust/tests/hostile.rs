//! T5 and T6: thousands of orphans are rescued in seconds, and rows that somebody damaged keep
//! nobody else's jobs from being claimed, rescued, listed and counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dutiful::store::{ClaimRequest, Lane};
use dutiful::{
    Client, Context, Event, Filter, Job, JobId, Name, Observer, State, Worker, WorkerId,
};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

const LEASE: Duration = Duration::from_millis(900);
/// So many jobs lose their worker at once.
const ORPHANS: u64 = 10_000;
/// So many jobs run for long and must not be touched.
const LONG: usize = 10_000;
/// Anything that takes longer never happens.
const NEVER: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Task {}

impl Job for Task {
    const TYPE: &'static str = "task";
}

async fn work(_: Task, _: Context<()>) -> dutiful::Result<()> {
    Ok(())
}

#[derive(Default)]
struct Count {
    rescued: AtomicU64,
    trouble: AtomicU64,
}

impl Observer for Count {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Rescued { .. } => self.rescued.fetch_add(1, Ordering::SeqCst),
            Event::StoreTrouble { .. } => self.trouble.fetch_add(1, Ordering::SeqCst),
            _ => return,
        };
    }
}

fn place() -> (tempfile::TempDir, PathBuf, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("jobs.db");
    let url = format!("sqlite:{}", path.display());
    (dir, path, url)
}

/// Claims all that is due in a queue for a worker that is never heard of again.
async fn claim_and_vanish(client: &Client, queue: &str, jobs: usize, lease: Duration) -> Kept {
    let queue = Name::new("queue", queue)?;
    let ask = ClaimRequest {
        worker: WorkerId(77),
        lanes: vec![Lane { queue, limit: jobs, at_most_once: 0 }],
        types: Arc::new([Name::new("type", "task")?].into()),
        lease,
        limit: jobs,
        bytes: usize::MAX,
        crashed: 0,
    };
    assert_eq!(client.store().claim(ask).await?.len(), jobs);
    Ok(())
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < NEVER, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_orphans_are_rescued_within_ten_seconds() -> Kept {
    let (_dir, _path, url) = place();
    let client = Client::connect(&url).await?;
    client.enqueue_all((0..ORPHANS).map(|_| Task {})).await?;
    claim_and_vanish(&client, "default", ORPHANS as usize, LEASE).await?;
    tokio::time::sleep(LEASE).await;
    let count = Arc::new(Count::default());
    // It rescues, and works elsewhere.
    let worker = Worker::new(&client, ()).job(work).queue("elsewhere", 1);
    let worker = worker.lease(LEASE).observer(count.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let rescued = || count.rescued.load(Ordering::SeqCst);
    let took = until("the rescue of all", async || rescued() == ORPHANS).await;
    println!("{ORPHANS} orphans rescued in {took:?}, with a lease of {LEASE:?}");
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    handle.stop();
    running.await??;
    assert_eq!((rescued(), client.stats().await?.totals.pending), (ORPHANS, ORPHANS));
    Ok(())
}

/// Rows as no version of the library writes them, in every place, some with a whole record.
fn damage(path: &Path) -> rusqlite::Result<()> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(NEVER)?;
    conn.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TEMP TABLE odd (id BLOB, n INTEGER);
         INSERT INTO odd VALUES (x'', 1), (x'00', 2), (x'FF', 3), (zeroblob(15), 4),
             (zeroblob(17), 5), (CAST('text' AS BLOB), 6), (randomblob(1000), 7),
             (x'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF', 8),
             (randomblob(16), 9), (randomblob(16), 10), (zeroblob(16), 11);
         INSERT INTO dutiful_ready SELECT 'default', -5 + n % 3, n * 1000000000000, id, 'task', n, n,
             -n, -n FROM odd;
         UPDATE odd SET id = randomblob(16) WHERE length(id) = 16;
         INSERT INTO dutiful_scheduled SELECT -n, randomblob(iif(n < 8, n, 16)), 'default', n, 'task', n, -n, -n, n, n
             FROM odd;
         UPDATE odd SET id = randomblob(16) WHERE length(id) = 16;
         INSERT INTO dutiful_lease SELECT id, iif(n < 9, n, -n), n, 77, n, -n, 'default', n, 'task',
             0, -n, 0, n % 3 FROM odd;
         INSERT INTO dutiful_done SELECT id, -n, n, n, n, -n, n, -n, x'FF' FROM odd WHERE n < 4;
         INSERT INTO dutiful_attempt SELECT id, -n, n, n, n, n, CAST(x'FF' AS TEXT),
             CAST(x'00FF' AS TEXT) FROM odd;
         COMMIT;",
    )
}

/// Jobs with a record whose content is nothing that a handler, or a reader, expects.
fn damage_records(path: &Path) -> rusqlite::Result<()> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(NEVER)?;
    conn.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TEMP TABLE bad (id BLOB, payload BLOB, type TEXT, text TEXT);
         INSERT INTO bad VALUES (randomblob(16), x'', 'task', NULL),
             (randomblob(16), x'FF00FE', 'task', ''), (randomblob(16), '{', 'task', 'NULL'),
             (randomblob(16), zeroblob(2000000), 'task', char(0)),
             (randomblob(16), '[]', 'task', CAST(x'C328FF' AS TEXT)),
             (randomblob(16), '{}', 'nobody_knows_it', 'x'), (randomblob(16), '{}', '', 'x'),
             (randomblob(16), '{}', CAST(x'FFFE' AS TEXT), CAST(x'FFFE' AS TEXT));
         INSERT INTO dutiful_job (id, type, queue, priority, created_at, max_attempts, timeout_ms,
             correlation_id, trace_parent, group_key, unique_key, tags, delivery, payload)
         SELECT id, type, 'default', 10, -1, 1, 1000, text, text, text, text, text, 9,
             CAST(payload AS BLOB) FROM bad;
         INSERT INTO dutiful_ready SELECT 'default', 10, -1, id, type, 0, 0, -2, -1 FROM bad;
         INSERT INTO dutiful_worker SELECT 5, CAST(x'FF' AS TEXT), -1, '{', 'no json', -1, 1 << 60,
             NULL, 7;
         INSERT INTO dutiful_queue VALUES (CAST(x'FF' AS TEXT), 1);
         COMMIT;",
    )
}

/// Asks for everything that a person can look at.
async fn look_at_all(client: &Client) -> Kept {
    client.stats().await?;
    client.queues().await?;
    let states = [State::Pending, State::Scheduled, State::Failed, State::Active, State::Stalled];
    let ended = [State::Completed, State::Cancelled, State::Dead];
    for state in states.into_iter().chain(ended).map(Some).chain([None]) {
        let mut filter = Filter { state, limit: Some(500), ..Filter::default() };
        loop {
            let page = client.jobs(filter.clone()).await?;
            for job in page.jobs.iter().take(20) {
                client.job(job.id).await?;
            }
            match page.next {
                Some(_) => filter.before = page.next,
                None => break,
            }
        }
    }
    Ok(())
}

fn number(path: &Path, sql: &str) -> i64 {
    let conn = Connection::open(path).expect("the file opens");
    conn.query_row(sql, [], |row| row.get(0)).expect("it is counted")
}

/// Rows that no claim or rescue has dealt with: expired leases, and due rows that can be claimed.
const LEFT: &str =
    "SELECT (SELECT count(*) FROM dutiful_lease WHERE length(id) <> 16 OR until < 100)
     + (SELECT count(*) FROM dutiful_ready WHERE type = 'task')
     + (SELECT count(*) FROM dutiful_scheduled WHERE reason <> 3)";
/// How often a job was counted dead.
const DEATHS: &str = "SELECT ifnull(sum(n), 0) FROM (SELECT n, event FROM dutiful_tally
     UNION ALL SELECT n, event FROM dutiful_total) WHERE event = 3";

#[tokio::test(flavor = "multi_thread")]
async fn damaged_rows_stand_in_nobodys_way() -> Kept {
    let (_dir, path, url) = place();
    let client = Client::connect(&url).await?;
    client.enqueue_many((0..LONG).map(|_| in_queue("long")).collect()).await?;
    claim_and_vanish(&client, "long", LONG, Duration::from_secs(3600)).await?;
    damage(&path)?;
    damage_records(&path)?;
    let stuck = client.enqueue(Task {}).queue("stuck").await?.id;
    claim_and_vanish(&client, "stuck", 1, Duration::from_millis(300)).await?;
    let later = client.enqueue(Task {}).priority(1000).await?.id;
    look_at_all(&client).await?;

    let count = Arc::new(Count::default());
    let worker = Worker::new(&client, ()).job(work).queue("default", 2).queue("stuck", 2);
    let worker = worker.lease(LEASE).observer(count.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    for (what, id) in [("a job behind damaged rows", later), ("a stuck job", stuck)] {
        let took = until(what, async || is_completed(&client, id).await).await;
        println!("{what} was done after {took:?}");
    }
    until("the end of all damaged rows", async || number(&path, LEFT) == 0).await;
    let deaths = number(&path, DEATHS);
    // A sweep and a claim more, which must count nobody again.
    let last = client.enqueue(Task {}).await?.id;
    until("one more", async || is_completed(&client, last).await).await;
    tokio::time::sleep(LEASE / 2).await;
    handle.stop();
    running.await??;
    assert_eq!(number(&path, DEATHS), deaths, "each is counted once");
    assert_eq!(deaths, number(&path, "SELECT count(*) FROM dutiful_dead"), "and kept once");
    assert_eq!(count.trouble.load(Ordering::SeqCst), 0, "the store never failed");
    assert_eq!(number(&path, "SELECT count(*) FROM dutiful_lease"), LONG as i64, "long jobs run");
    look_at_all(&client).await
}

async fn is_completed(client: &Client, id: JobId) -> bool {
    let job = client.job(id).await.expect("the look is answered").expect("it is on record");
    job.state == State::Completed
}

fn in_queue(queue: &str) -> dutiful::NewJob {
    let settings = dutiful::Settings { queue: Some(queue.to_owned()), ..Default::default() };
    dutiful::NewJob { job_type: "task".to_owned(), payload: b"{}".to_vec(), settings }
}
