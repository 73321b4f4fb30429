//! Users whose transactions stay open for up to five seconds, beside a worker that drains at full
//! speed: what they enqueued starts within a second of its commit, and what was rolled back never.
//!
//! The worker's claims begin past what it took long ago; a job that commits late stands before
//! that place unless the worker waited for its transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dutiful::{Asked, Client, Context, Job, Transaction, TransactionError, Worker};
use dutiful_fixture::{Options, Postgres};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

type Trouble = Box<dyn std::error::Error + Send + Sync>;
type Kept = Result<(), Trouble>;

/// Users who enqueue, each one transaction after the other.
const USERS: usize = 48;
/// They begin new ones for this long …
const BEGINS: Duration = Duration::from_secs(4);
/// … and each stays open for at most so long.
const OPEN_MAX_MS: u64 = 5000;
/// A job starts so soon after its commit.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Jobs that go in together to keep the worker busy.
const BATCH: i64 = 125;
/// So many ran at least, or the worker's claims never moved on.
const BUSY_MIN: i64 = 5000;
/// Anything that takes longer never happens.
const NEVER: Duration = Duration::from_secs(60);

/// A job that keeps the worker busy.
#[derive(Serialize, Deserialize)]
struct Busy {}

impl Job for Busy {
    const TYPE: &'static str = "busy";
}

/// A job of a user's transaction.
#[derive(Serialize, Deserialize)]
struct Late {
    n: i64,
}

impl Job for Late {
    const TYPE: &'static str = "late";
}

/// The transaction of this driver, for `within`.
enum Driver {}

impl Transaction<Driver> for tokio_postgres::Transaction<'_> {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(async move {
            let row = self.query_typed_one(statement, &[(&parameter, Type::TEXT)]).await;
            row.and_then(|row| row.try_get(0)).map_err(|error| TransactionError::new(&error))
        })
    }
}

/// What the handlers saw.
#[derive(Default)]
struct Seen {
    busy: AtomicI64,
    room: Notify,
    late: Mutex<HashMap<i64, Vec<Instant>>>,
}

async fn be_busy(_: Busy, cx: Context<Seen>) -> dutiful::Result<()> {
    cx.app.busy.fetch_add(1, Ordering::SeqCst);
    cx.app.room.notify_one();
    Ok(())
}

async fn start_late(job: Late, cx: Context<Seen>) -> dutiful::Result<()> {
    let now = Instant::now();
    cx.app.late.lock().expect("nobody panics with it").entry(job.n).or_default().push(now);
    cx.app.room.notify_one();
    Ok(())
}

/// What users did.
#[derive(Default)]
struct Done {
    committed: Vec<(i64, Instant)>,
    rolled_back: Vec<i64>,
}

struct Shop {
    server: Postgres,
    client: Client,
    seen: Arc<Seen>,
    done: Mutex<Done>,
    numbers: AtomicI64,
    closing: AtomicBool,
}

impl Shop {
    async fn open() -> Result<Self, Trouble> {
        // A server of its own: whoever holds a transaction number elsewhere holds up all.
        let server = Postgres::start(&Options::default())?;
        let url = server.create_database("shop")?;
        let client = Client::builder().migrate(true).connect(&url).await?;
        let (done, numbers) = (Mutex::default(), AtomicI64::new(0));
        let closing = AtomicBool::new(false);
        Ok(Self { server, client, seen: Arc::default(), done, numbers, closing })
    }

    async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (raw, connection) = tokio_postgres::connect(&self.server.url("shop"), NoTls).await?;
        tokio::spawn(connection);
        Ok(raw)
    }

    /// Begins transactions, enqueues in them, and ends them some time later.
    async fn use_transactions(self: Arc<Self>, user: usize) -> Kept {
        let mut raw = self.connect().await?;
        let mut rng = fastrand::Rng::with_seed(user as u64);
        let began = Instant::now();
        while began.elapsed() < BEGINS {
            let n = self.numbers.fetch_add(1, Ordering::SeqCst);
            let mut tx = raw.transaction().await?;
            if rng.bool() {
                self.client.enqueue(Late { n }).within(&mut tx).await?;
            } else {
                let sql = format!("SELECT dutiful.enqueue('late', '{{\"n\":{n}}}')");
                tx.batch_execute(&sql).await?;
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..=OPEN_MAX_MS))).await;
            if rng.u8(0..4) == 0 {
                tx.rollback().await?;
                self.done.lock().expect("nobody panics with it").rolled_back.push(n);
            } else {
                tx.commit().await?;
                let ended = (n, Instant::now());
                self.done.lock().expect("nobody panics with it").committed.push(ended);
            }
        }
        Ok(())
    }

    /// Keeps jobs of the same queue and priority before the worker, few at any moment, so that one
    /// that was just enqueued has its turn soon too.
    async fn keep_busy(self: Arc<Self>) -> Result<i64, dutiful::Error> {
        let mut put = 0;
        while !self.closing.load(Ordering::SeqCst) {
            let ran = self.seen.busy.load(Ordering::SeqCst);
            if put - ran < BATCH {
                self.client.enqueue_all((0..BATCH).map(|_| Busy {})).await?;
                put += BATCH;
            } else {
                self.seen.room.notified().await;
            }
        }
        Ok(put)
    }

    /// Waits until every committed job and all the others have run.
    async fn all_ran(&self, busy: i64) {
        let all_ran = || {
            let late = self.seen.late.lock().expect("nobody panics with it");
            let done = self.done.lock().expect("nobody panics with it");
            self.seen.busy.load(Ordering::SeqCst) >= busy
                && done.committed.iter().all(|(n, _)| late.contains_key(n))
        };
        while !all_ran() {
            self.seen.room.notified().await;
        }
    }

    /// Checks what ran when, and says how late the latest was.
    fn judge(&self, busy: i64) -> String {
        let late = self.seen.late.lock().expect("nobody panics with it");
        let done = self.done.lock().expect("nobody panics with it");
        let mut waits: Vec<Duration> = Vec::new();
        for (n, committed) in &done.committed {
            let started = &late[n];
            assert_eq!(started.len(), 1, "job {n} ran more than once");
            waits.push(started[0].saturating_duration_since(*committed));
        }
        waits.sort_unstable();
        let (usual, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        let tardy = waits.iter().filter(|wait| **wait > LATE_MAX).count();
        let said = format!(
            "{busy} jobs; {} committed late and started after {usual:?}, at worst {worst:?}; \
             {} rolled back",
            waits.len(),
            done.rolled_back.len()
        );
        assert_eq!(tardy, 0, "started more than {LATE_MAX:?} after their commit: {said}");
        let ghosts: Vec<_> = done.rolled_back.iter().filter(|n| late.contains_key(n)).collect();
        assert!(ghosts.is_empty(), "these were rolled back and ran: {ghosts:?}");
        assert_eq!(late.len(), waits.len(), "jobs that nobody committed");
        assert_eq!(self.seen.busy.load(Ordering::SeqCst), busy, "each of the others ran once");
        assert!(busy >= BUSY_MIN, "only {busy} others: the claims did not move on");
        assert!(waits.len() >= USERS && done.rolled_back.len() >= 5, "too few transactions");
        said
    }
}

/// Lets users and a worker work beside each other, and checks what came of it.
async fn work_beside_users(shop: Arc<Shop>) -> Result<String, Trouble> {
    let worker = Worker::new(&shop.client, shop.seen.clone()).job(be_busy).job(start_late);
    let worker = worker.queue("default", 32);
    let handle = worker.handle();
    let worker = tokio::spawn(worker.run());
    let feeder = tokio::spawn(shop.clone().keep_busy());
    let users: Vec<_> =
        (0..USERS).map(|user| tokio::spawn(shop.clone().use_transactions(user))).collect();
    for user in users {
        user.await??;
    }
    shop.closing.store(true, Ordering::SeqCst);
    shop.seen.room.notify_one();
    let busy = feeder.await??;
    tokio::time::timeout(NEVER, shop.all_ran(busy)).await.expect("a job was never started");
    handle.stop();
    worker.await??;
    shop.client.close().await?;
    Ok(shop.judge(busy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_starts_within_a_second_of_its_commit_however_long_its_transaction_was_open() -> Kept
{
    println!("{}", work_beside_users(Arc::new(Shop::open().await?)).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_never_ends_makes_no_job_start_late() -> Kept {
    let shop = Arc::new(Shop::open().await?);
    let forgotten = shop.connect().await?;
    forgotten.batch_execute("BEGIN; SELECT pg_current_xact_id()").await?;
    println!("{}", work_beside_users(shop.clone()).await?);
    Ok(forgotten.batch_execute("ROLLBACK").await?)
}
