//! The schema goes to the next version and back while programs of this version work on it: nobody
//! has to stop, nobody waits for long, nothing is lost.
#![cfg(feature = "postgres")]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dutiful::store::{ClaimRequest, End, Failure, HeartbeatRequest, Held, Lane, RescueRequest};
use dutiful::{Client, Context, Error, Job, JobId, Name, Result, StoreError, Worker, WorkerId};
use dutiful_fixture::{Postgres, Version};
use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;

type Kept = std::result::Result<(), Box<dyn std::error::Error>>;

/// The next version: it adds to every table of the hot path, and takes it away again.
const NEXT: &[(&str, &str)] = &[(
    "ALTER TABLE dutiful.job ADD COLUMN origin text;
     ALTER TABLE dutiful.ready ADD COLUMN weight smallint NOT NULL DEFAULT 1;
     ALTER TABLE dutiful.scheduled ADD COLUMN weight smallint NOT NULL DEFAULT 1;
     ALTER TABLE dutiful.lease ADD COLUMN weight smallint NOT NULL DEFAULT 1;
     ALTER TABLE dutiful.done ADD COLUMN origin text;
     CREATE TABLE dutiful.budget (queue text PRIMARY KEY, n bigint NOT NULL);",
    "DROP TABLE dutiful.budget;
     ALTER TABLE dutiful.done DROP COLUMN origin;
     ALTER TABLE dutiful.lease DROP COLUMN weight;
     ALTER TABLE dutiful.scheduled DROP COLUMN weight;
     ALTER TABLE dutiful.ready DROP COLUMN weight;
     ALTER TABLE dutiful.job DROP COLUMN origin;",
)];

/// Programs that enqueue, each after so long again: some 300 jobs a second.
const PRODUCERS: usize = 4;
const PACE: Duration = Duration::from_millis(15);
/// Who waits for a lock behind a migration goes on after 200 ms, and a busy machine adds to that.
const WAIT_MAX: Duration = Duration::from_millis(1000);
/// How long anything may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Task {}

impl Job for Task {
    const TYPE: &'static str = "task";
}

/// What producers were told, what handlers saw, and how long it took.
#[derive(Default)]
struct Seen {
    stored: Mutex<HashSet<JobId>>,
    rolled_back: Mutex<HashSet<JobId>>,
    runs: Mutex<HashMap<JobId, u32>>,
    ran: AtomicU64,
    longest_call_us: AtomicU64,
    longest_wait_us: AtomicU64,
    tries: Mutex<HashSet<i32>>,
    over: AtomicBool,
}

impl Seen {
    fn took(&self, since: Instant) {
        self.longest_call_us.fetch_max(since.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits until so many more jobs have run.
    async fn more(&self, n: u64) {
        let aim = self.ran.load(Ordering::Relaxed) + n;
        until(|| self.ran.load(Ordering::Relaxed) >= aim).await;
    }

    fn tries(&self) -> usize {
        self.tries.lock().expect("nobody panicked").len()
    }
}

async fn until(so: impl Fn() -> bool) {
    let asking = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(asking).await;
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HUNG, what).await.expect("it hangs")
}

async fn raw(url: &str) -> tokio_postgres::Client {
    let (raw, connection) = tokio_postgres::connect(url, NoTls).await.expect("it connects");
    tokio::spawn(connection);
    raw
}

fn database() -> String {
    let server = Postgres::shared(Version::System).expect("a private server starts");
    server.fresh_database().expect("a database is made")
}

/// Enqueues by the library until it is over.
async fn produce(client: Client, seen: Arc<Seen>) {
    let mut pace = tokio::time::interval(PACE);
    while !seen.is_over() {
        pace.tick().await;
        let since = Instant::now();
        let stored = client.enqueue(Task {}).await.expect("no enqueue fails");
        seen.took(since);
        seen.stored.lock().expect("nobody panicked").insert(stored.id);
    }
}

/// Enqueues in transactions of the application's own; every third is rolled back.
async fn produce_within(url: String, seen: Arc<Seen>) {
    let mut raw = raw(&url).await;
    let mut pace = tokio::time::interval(PACE);
    for n in 0.. {
        if seen.is_over() {
            return;
        }
        pace.tick().await;
        let since = Instant::now();
        let tx = raw.transaction().await.expect("it begins");
        tx.execute("INSERT INTO orders VALUES ($1)", &[&n]).await.expect("it is inserted");
        let call = "SELECT dutiful.enqueue('task', '{}')::text";
        let id: String = tx.query_one(call, &[]).await.expect("no transaction fails").get(0);
        let told = if n % 3 == 0 { tx.rollback().await } else { tx.commit().await };
        told.expect("it ends as it was asked to");
        seen.took(since);
        let place = if n % 3 == 0 { &seen.rolled_back } else { &seen.stored };
        place.lock().expect("nobody panicked").insert(id.parse().expect("an id"));
    }
}

/// Watches who waits for a table that a migration has or wants, and counts its tries.
async fn watch_locks(url: String, seen: Arc<Seen>) {
    let raw = raw(&url).await;
    let waits = "SELECT pid, mode = 'AccessExclusiveLock',
             coalesce(extract(epoch FROM clock_timestamp() - waitstart) * 1000000, 0)::bigint
         FROM pg_locks
         WHERE NOT granted AND locktype = 'relation'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let waits = raw.prepare(waits).await.expect("it is prepared");
    while !seen.is_over() {
        for row in raw.query(&waits, &[]).await.expect("the locks are read") {
            let (pid, migrates, us): (i32, bool, i64) = (row.get(0), row.get(1), row.get(2));
            match migrates {
                true => drop(seen.tries.lock().expect("nobody panicked").insert(pid)),
                false => drop(seen.longest_wait_us.fetch_max(us as u64, Ordering::Relaxed)),
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn task(_: Task, cx: Context<Seen>) -> Result<()> {
    *cx.app.runs.lock().expect("nobody panicked").entry(cx.id()).or_default() += 1;
    cx.app.ran.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// A worker of the version that its client is of.
fn worker(client: &Client, seen: &Arc<Seen>) -> Worker<Seen> {
    Worker::new(client, seen.clone()).job(task).queue("default", 8)
}

/// Migrates while somebody reads our tables for long: the migration tries, gives way, and gets
/// through when the reader is gone.
async fn migrate_beside_reader(url: &str, next: &Client, to: i64, seen: &Seen) -> Kept {
    let mut reader = raw(url).await;
    let reading = reader.transaction().await?;
    reading.query("SELECT count(*) FROM dutiful.ready, dutiful.job", &[]).await?;
    let tried = seen.tries();
    let migrating = tokio::spawn({
        let next = next.clone();
        async move { next.migrate(Some(to)).await }
    });
    until(|| seen.tries() >= tried + 3).await;
    seen.more(50).await;
    assert!(!migrating.is_finished(), "the reader reads on");
    reading.commit().await?;
    assert_eq!(soon(migrating).await??.to, to);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_before_work_on_while_the_schema_goes_up_and_down() -> Kept {
    let (url, seen) = (database(), Arc::new(Seen::default()));
    let old = Client::builder().migrate(true).connect(&url).await?;
    let ours = old.migrate(None).await?.to;
    raw(&url).await.batch_execute("CREATE TABLE orders (id int PRIMARY KEY)").await?;
    let worker_of_before = worker(&old, &seen);
    let handle = worker_of_before.handle();
    let working = tokio::spawn(worker_of_before.run());
    let mut loads: Vec<_> =
        (0..PRODUCERS).map(|_| tokio::spawn(produce(old.clone(), seen.clone()))).collect();
    loads.push(tokio::spawn(produce_within(url.clone(), seen.clone())));
    loads.push(tokio::spawn(watch_locks(url.clone(), seen.clone())));
    seen.more(100).await;

    let of_next = || Client::builder().further_versions(NEXT);
    let next = of_next().as_it_is().connect(&url).await?;
    for to in [ours + 1, ours] {
        soon(next.migrate(Some(to))).await?;
        seen.more(100).await;
    }
    migrate_beside_reader(&url, &next, ours + 1, &seen).await?;
    // A program of before runs on, but none starts; one of the next version works beside it.
    let refused = Client::connect(&url).await.expect_err("the schema is newer");
    let newer = Error::Store(StoreError::Newer { found: ours + 1, known: ours });
    assert_eq!(refused.to_string(), newer.to_string());
    let worker_of_next = worker(&of_next().connect(&url).await?, &seen);
    let handle_of_next = worker_of_next.handle();
    let (done, ()) = tokio::join!(worker_of_next.run(), async {
        seen.more(200).await;
        handle_of_next.stop();
    });
    assert!(done?.completed > 0, "both work");
    migrate_beside_reader(&url, &next, ours, &seen).await?;
    seen.more(100).await;

    seen.over.store(true, Ordering::Relaxed);
    for load in loads {
        soon(load).await?;
    }
    let stored = seen.stored.lock().expect("nobody panicked").len();
    until(|| seen.runs.lock().expect("nobody panicked").len() == stored).await;
    handle.stop();
    soon(working).await??;
    judge(&seen, &Client::connect(&url).await?).await
}

/// Whatever was told is so: each job that was stored ran once, and no other.
async fn judge(seen: &Seen, client: &Client) -> Kept {
    let stored = seen.stored.lock().expect("nobody panicked").clone();
    let runs = seen.runs.lock().expect("nobody panicked").clone();
    assert!(runs.keys().all(|id| stored.contains(id)), "only what was stored ran");
    assert!(runs.values().all(|n| *n == 1), "each job ran once");
    let totals = client.stats().await?.totals;
    assert_eq!(totals.completed as usize, stored.len());
    assert_eq!((totals.pending, totals.active, totals.dead), (0, 0, 0));
    assert!(!seen.rolled_back.lock().expect("nobody panicked").is_empty());
    let us = |one: &AtomicU64| Duration::from_micros(one.load(Ordering::Relaxed));
    let (call, wait) = (us(&seen.longest_call_us), us(&seen.longest_wait_us));
    assert!(wait < WAIT_MAX, "somebody waited {wait:?} behind a migration");
    assert!(call < 2 * WAIT_MAX, "an enqueue took {call:?}");
    Ok(())
}

#[tokio::test]
async fn leases_are_renewed_and_rescued_in_the_version_before() -> Kept {
    const LEASE: Duration = Duration::from_millis(300);
    let url = database();
    let client = Client::builder().migrate(true).connect(&url).await?;
    let (store, worker) = (client.store(), WorkerId(1));
    let newest = client.migrate(None).await?.to;
    client.migrate(Some(newest - 1)).await?;
    client.enqueue(Task {}).await?;
    let ask = ClaimRequest {
        worker,
        lanes: vec![Lane { queue: Name::new("queue", "default")?, limit: 1, at_most_once: 0 }],
        types: Arc::new([Name::new("type", Task::TYPE)?].into()),
        lease: LEASE,
        limit: 1,
        bytes: usize::MAX,
        crashed: 1,
    };
    let fence = store.claim(ask).await?[0].fence;
    let holder = raw(&url).await;
    holder.batch_execute("BEGIN; SELECT FROM dutiful.lease FOR UPDATE").await?;
    let beat = || HeartbeatRequest { worker, fences: vec![fence], lease: LEASE };
    assert_eq!(store.heartbeat(beat()).await?[0].held, Held::Yes, "somebody has it");
    holder.batch_execute("ROLLBACK").await?;
    assert_eq!(store.heartbeat(beat()).await?[0].held, Held::Yes);
    let term = store.lead(WorkerId(2), HUNG).await?.term;
    let ask = RescueRequest { crashes_max: 3, limit: 10, patience: Duration::ZERO };
    let rescued = async {
        while store.rescue(term, ask).await.expect("an answer").is_empty() {
            tokio::time::sleep(PACE).await;
        }
    };
    soon(rescued).await;
    assert_eq!(store.heartbeat(beat()).await?[0].held, Held::Lost);
    client.migrate(None).await?;
    assert_eq!(client.stats().await?.totals.pending, 1);
    Ok(())
}

/// Enqueues a job, claims it and ends it.
async fn end_one(client: &Client, end: End) -> Kept {
    let (store, worker) = (client.store(), WorkerId(1));
    client.enqueue(Task {}).await?;
    let ask = ClaimRequest {
        worker,
        lanes: vec![Lane { queue: Name::new("queue", "default")?, limit: 1, at_most_once: 0 }],
        types: Arc::new([Name::new("type", Task::TYPE)?].into()),
        lease: HUNG,
        limit: 1,
        bytes: usize::MAX,
        crashed: 1,
    };
    let claimed = store.claim(ask).await?.remove(0);
    assert_eq!(store.finish(worker, vec![claimed.unstarted(end)]).await?, [Held::Yes]);
    Ok(())
}

#[tokio::test]
async fn what_a_batch_counted_stays_counted_on_the_way_down() -> Kept {
    let url = database();
    let client = Client::builder().migrate(true).connect(&url).await?;
    let raw = raw(&url).await;
    for end in [End::Completed(None), End::Completed(None), End::Cancelled] {
        end_one(&client, end).await?;
    }
    let rows = async |table: &str| {
        let sql = format!("SELECT count(*) FROM dutiful.{table} WHERE event::text <> '0'");
        raw.query_one(&sql, &[]).await.expect("they are counted").get::<_, i64>(0)
    };
    assert_eq!((rows("tally").await, rows("tally_batch").await), (0, 3));
    let before = client.totals().await?;
    assert_eq!((before[0].completed, before[0].cancelled), (2, 1));
    assert_eq!(before[0].ran.buckets.iter().sum::<u64>(), 2);
    let seen = "SELECT completed, cancelled FROM dutiful.queues";
    client.migrate(Some(3)).await?;
    assert_eq!(rows("tally").await, 3, "as a program of version 3 reads and folds them");
    let row = raw.query_one(seen, &[]).await?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 1));
    client.migrate(None).await?;
    let row = raw.query_one(seen, &[]).await?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 1));
    assert_eq!(client.totals().await?, before);
    end_one(&client, End::Completed(None)).await?;
    let term = client.store().lead(WorkerId(2), HUNG).await?.term;
    assert!(client.store().fold(term).await? > 0);
    assert_eq!((rows("tally").await, rows("tally_batch").await), (0, 0));
    let after = client.totals().await?;
    assert_eq!((after[0].completed, after[0].cancelled), (3, 1));
    assert_eq!(after[0].ran.buckets.iter().sum::<u64>(), 3);
    Ok(())
}

#[tokio::test]
async fn failures_whose_class_nobody_counted_are_other() -> Kept {
    let url = database();
    let client = Client::builder().migrate(true).connect(&url).await?;
    let (store, raw) = (client.store(), raw(&url).await);
    let failure = Failure { class: "Smtp".into(), message: String::new() };
    end_one(&client, End::Failed(failure, HUNG)).await?;
    // As a worker of version 2 writes it: it knows of no classes.
    let before =
        "INSERT INTO dutiful.tally (queue, type, event, n) VALUES ('default', 'task', 2, 3)";
    raw.batch_execute(before).await?;
    let failed = async || -> std::result::Result<_, Error> {
        let one = client.totals().await?.remove(0);
        Ok((one.failed, Vec::from_iter(one.error_classes)))
    };
    let other = |n| ("other".to_owned(), n);
    assert_eq!(failed().await?, (4, vec![("Smtp".into(), 1), other(3)]));
    // Whoever leads folds in either version, and what was counted before is not lost.
    client.migrate(Some(2)).await?;
    let term = store.lead(WorkerId(2), HUNG).await?.term;
    assert!(store.fold(term).await? > 0);
    client.migrate(None).await?;
    assert_eq!(failed().await?, (4, vec![other(4)]));
    assert_eq!(store.fold(term).await?, 0);
    Ok(())
}

#[tokio::test]
async fn functions_of_a_newer_program_are_not_replaced_by_an_older_ones() -> Kept {
    let url = database();
    let client = Client::builder().migrate(true).connect(&url).await?;
    let raw = raw(&url).await;
    let (theirs, ours) = ("a newer program's", "ours, or somebody's whom nobody knows");
    let marked = |mark: &str, note: &str| {
        format!(
            "UPDATE dutiful.schema SET functions = '{mark}';
             CREATE OR REPLACE FUNCTION dutiful.moment_(at timestamptz) RETURNS timestamptz
             LANGUAGE sql AS $$ SELECT coalesce(at, clock_timestamp()) /* {note} */ $$"
        )
    };
    let stands = async |note: &str| {
        let select = "SELECT prosrc FROM pg_proc WHERE proname = 'moment_'";
        let text: String = raw.query_one(select, &[]).await.expect("it is read").get(0);
        text.contains(note)
    };
    raw.batch_execute(&marked("99.0.0 1234", theirs)).await?;
    let starter = Client::builder().migrate(true).connect(&url).await?;
    starter.migrate(None).await?;
    starter.enqueue(Task {}).await?;
    assert!(stands(theirs).await, "a newer program's functions serve us too");
    let found = client.doctor(false).await?;
    let found = found.iter().find(|one| one.check == "functions").expect("it is looked at");
    assert!(found.verdict == dutiful::Verdict::Warning && found.value.contains("99.0.0"));
    for mark in ["0.0.1 1234", "1234"] {
        raw.batch_execute(&marked(mark, ours)).await?;
        Client::builder().migrate(true).connect(&url).await?;
        assert!(!stands(ours).await, "{mark}");
    }
    Ok(())
}
