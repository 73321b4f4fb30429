//! A user's transaction that completes a job may stay open for three leases: nobody takes the job
//! away, and nobody else waits for it.
#![cfg(feature = "postgres")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dutiful::store::{ClaimRequest, HeartbeatRequest, Held, Lane, RescueRequest};
use dutiful::{
    Asked, AttemptOutcome, Client, Completed, Context, Event, Fence, HandlerError, Job, JobId,
    JobInfo, Name, Observer, Retry, State, Transaction, TransactionError, Worker, WorkerId,
};
use dutiful_fixture::{Postgres, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

type Kept = Result<(), Box<dyn std::error::Error>>;

/// Is not there.
const WORKER: WorkerId = WorkerId(1);
/// Long enough that a busy machine renews it in time.
const LEASE: Duration = Duration::from_millis(1500);
/// How long the transactions stay open.
const OPEN: Duration = LEASE.saturating_mul(3);
/// Nobody waits so long for the answer to the end of a job, unless it is held up.
const END_MAX: Duration = Duration::from_millis(1000);
/// What a worker that is stopped may still take.
const GRACE: Duration = Duration::from_millis(500);
/// Anything that takes longer never happens.
const NEVER: Duration = Duration::from_secs(60);

/// Completes itself in a transaction that stays open.
#[derive(Serialize, Deserialize)]
struct Hold {}

impl Job for Hold {
    const TYPE: &'static str = "hold";
    const RETRY: Retry = Retry::fixed(Duration::from_millis(100));
}

/// Runs for as long as the transaction is open.
#[derive(Serialize, Deserialize)]
struct Long {}

impl Job for Long {
    const TYPE: &'static str = "long";
}

/// Ends at once.
#[derive(Serialize, Deserialize)]
struct Short {}

impl Job for Short {
    const TYPE: &'static str = "short";
}

/// Was claimed by a worker that is no more.
#[derive(Serialize, Deserialize)]
struct Orphan {}

impl Job for Orphan {
    const TYPE: &'static str = "orphan";
}

/// The transaction of this driver, for `complete_within`.
enum Driver {}

impl Transaction<Driver> for tokio_postgres::Transaction<'_> {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(async move {
            let row = self.query_typed_one(statement, &[(&parameter, Type::TEXT)]).await;
            row.and_then(|row| row.try_get(0)).map_err(|error| TransactionError::new(&error))
        })
    }
}

/// What a transaction comes to that was open for three leases.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Commit,
    /// The first one; the attempt after it commits.
    RollBack,
    /// The handler ends while it is open, and it commits later.
    LeaveAndCommit,
    /// The handler ends while it is open, and it is rolled back later; the next attempt commits.
    LeaveAndRollBack,
}

/// What the handlers share.
struct App {
    url: String,
    way: Way,
    /// When the transaction that was held began to be, and when it ended.
    held: Mutex<Option<(Instant, Option<Instant>)>>,
    changed: Notify,
    orphan_ran: Mutex<Option<Instant>>,
    shorts: Mutex<Shorts>,
}

/// How short jobs ended.
#[derive(Default)]
struct Shorts {
    returned: Vec<(JobId, Instant)>,
    settled: Vec<(JobId, Instant)>,
}

impl App {
    fn is_over(&self) -> bool {
        self.held.lock().expect("no panic").is_some_and(|(_, ended)| ended.is_some())
    }

    fn begin(&self) {
        *self.held.lock().expect("no panic") = Some((Instant::now(), None));
        self.changed.notify_waiters();
    }

    fn end(&self) {
        let mut held = self.held.lock().expect("no panic");
        *held = held.map(|(began, _)| (began, Some(Instant::now())));
        self.changed.notify_waiters();
    }

    async fn until_over(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_over() {
                return;
            }
            changed.await;
        }
    }
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (raw, connection) = tokio_postgres::connect(url, NoTls).await.expect("it connects");
    tokio::spawn(connection);
    raw
}

async fn hold(_: Hold, cx: Context<App>) -> dutiful::Result<Completed> {
    let app = cx.app.clone();
    let mut raw = connect(&app.url).await;
    if cx.attempt() > 1 {
        let mut tx = raw.transaction().await?;
        let done = cx.complete_within(&mut tx).await?;
        tx.commit().await?;
        return Ok(done);
    }
    let (to, done) = tokio::sync::oneshot::channel();
    let (way, for_cx) = (app.way, app.clone());
    let holder = tokio::spawn(async move {
        let mut tx = raw.transaction().await?;
        let done = cx.complete_within(&mut tx).await.expect("the lease is ours");
        for_cx.begin();
        let _ = to.send(done);
        tokio::time::sleep(OPEN).await;
        match way {
            Way::Commit | Way::LeaveAndCommit => tx.commit().await?,
            Way::RollBack | Way::LeaveAndRollBack => tx.rollback().await?,
        }
        for_cx.end();
        Ok::<_, tokio_postgres::Error>(())
    });
    let done = done.await.map_err(|_| HandlerError::msg("the transaction was refused"))?;
    if matches!(way, Way::Commit | Way::RollBack) {
        holder.await.expect("no panic")?;
    }
    Ok(done)
}

async fn run_long(_: Long, cx: Context<App>) -> dutiful::Result<()> {
    cx.app.until_over().await;
    Ok(())
}

async fn run_short(_: Short, cx: Context<App>) -> dutiful::Result<()> {
    cx.app.shorts.lock().expect("no panic").returned.push((cx.id(), Instant::now()));
    Ok(())
}

async fn run_orphan(_: Orphan, cx: Context<App>) -> dutiful::Result<()> {
    *cx.app.orphan_ran.lock().expect("no panic") = Some(Instant::now());
    Ok(())
}

/// Hears when the store has answered, and what must not be heard.
struct Watch {
    app: Arc<App>,
    rescued: Mutex<Vec<Fence>>,
    troubles: Mutex<Vec<String>>,
    hold_failed: AtomicBool,
}

impl Observer for Watch {
    fn event(&self, event: &Event<'_>) {
        let trouble = |said: String| self.troubles.lock().expect("no panic").push(said);
        match event {
            Event::Completed { run, .. } if run.job_type.as_str() == Short::TYPE => {
                let settled = (run.fence.id, Instant::now());
                self.app.shorts.lock().expect("no panic").settled.push(settled);
            }
            Event::Failed { run, failure, .. } if run.job_type.as_str() == Hold::TYPE => {
                assert!(failure.message.contains("did not commit"), "{failure:?}");
                self.hold_failed.store(true, Ordering::SeqCst);
            }
            Event::Rescued { run, .. } => {
                self.rescued.lock().expect("no panic").push(run.fence);
            }
            Event::SelfFenced { leases } => trouble(format!("{leases} leases were not renewed")),
            Event::StoreTrouble { verb, error } => trouble(format!("{verb}: {error}")),
            _ => {}
        }
    }
}

/// What is left when a worker has lived through an open transaction.
struct Lab {
    client: Client,
    raw: tokio_postgres::Client,
    app: Arc<App>,
    watch: Arc<Watch>,
    held: JobId,
    orphan: JobId,
}

impl Lab {
    async fn new(way: Way) -> Result<Self, Box<dyn std::error::Error>> {
        let url = Postgres::shared(Version::System)?.fresh_database()?;
        let client = Client::builder().migrate(true).connect(&url).await?;
        let raw = connect(&url).await;
        let app = Arc::new(App {
            url,
            way,
            held: Mutex::default(),
            changed: Notify::new(),
            orphan_ran: Mutex::default(),
            shorts: Mutex::default(),
        });
        let watch = Arc::new(Watch {
            app: app.clone(),
            rescued: Mutex::default(),
            troubles: Mutex::default(),
            hold_failed: AtomicBool::new(false),
        });
        let orphan = client.enqueue(Orphan {}).await?.id;
        claim_past_workers(&client).await?;
        let held = client.enqueue(Hold {}).await?.id;
        Ok(Self { client, raw, app, watch, held, orphan })
    }

    fn worker(&self) -> Worker<App> {
        Worker::new(&self.client, self.app.clone())
            .job(hold)
            .job(run_long)
            .job(run_short)
            .job(run_orphan)
            .lease(LEASE)
            .observer(self.watch.clone())
    }

    /// Lets a worker live through it, with work of all kinds beside the transaction.
    async fn live_through(&self) -> Kept {
        let worker = self.worker();
        let handle = worker.handle();
        let worker = tokio::spawn(worker.run());
        self.client.enqueue(Long {}).await?;
        let mut left = Vec::new();
        while !self.app.is_over() {
            self.client.enqueue(Short {}).await?;
            left.extend(self.shortest_other_lease().await?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.until("the job is completed", async || {
            self.job(self.held).await.state == State::Completed
        })
        .await;
        handle.stop();
        worker.await??;
        let worst = left.iter().min().expect("there were others");
        assert!(*worst > 0, "the lease of another job ended {} ms before its renewal", -worst);
        Ok(())
    }

    /// Returns what is left of the shortest lease of jobs that run meanwhile, in ms.
    async fn shortest_other_lease(&self) -> Result<Option<i64>, tokio_postgres::Error> {
        let sql = "SELECT min(extract(epoch FROM until - clock_timestamp()) * 1000)::bigint
            FROM dutiful.lease WHERE type IN ('long', 'short')";
        self.raw.query_one(sql, &[]).await.map(|row| row.get(0))
    }

    async fn until(&self, what: &str, so: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !so().await {
            assert!(began.elapsed() < NEVER, "never happened: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn job(&self, id: JobId) -> JobInfo {
        self.client.job(id).await.expect("an answer").expect("it is on record")
    }

    /// Nothing waited for the transaction.
    fn nobody_else_was_held_up(&self) {
        let (began, ended) = self.app.held.lock().expect("no panic").expect("it was held");
        let ended = ended.expect("it ended");
        assert!(ended - began >= OPEN);
        let orphan = self.app.orphan_ran.lock().expect("no panic").expect("the orphan ran");
        assert!(orphan < ended, "the rescue of another job waited for the transaction");
        let rescued: Vec<_> =
            self.watch.rescued.lock().expect("no panic").iter().map(|fence| fence.id).collect();
        assert_eq!(rescued, [self.orphan], "only the orphan is rescued");
        assert_eq!(*self.watch.troubles.lock().expect("no panic"), Vec::<String>::new());
        let shorts = self.app.shorts.lock().expect("no panic");
        assert!(shorts.settled.len() > 20, "only {} short jobs", shorts.settled.len());
        let slowest = shorts.returned.iter().map(|(id, returned)| {
            let settled = shorts.settled.iter().find(|(other, _)| other == id);
            settled.expect("each is completed").1.saturating_duration_since(*returned)
        });
        let slowest = slowest.max().expect("there are some");
        assert!(slowest < END_MAX, "the end of a short job waited for {slowest:?}");
    }
}

/// Claims the orphan in the name of a worker that is not there.
async fn claim_past_workers(client: &Client) -> Result<Fence, Box<dyn std::error::Error>> {
    let ask = ClaimRequest {
        worker: WORKER,
        lanes: vec![Lane { queue: Name::new("queue", "default")?, limit: 1, at_most_once: 0 }],
        types: Arc::new([Name::new("type", Orphan::TYPE)?].into()),
        lease: LEASE,
        limit: 1,
        bytes: usize::MAX,
        crashed: 1,
    };
    let claimed = client.store().claim(ask).await?;
    Ok(claimed.first().ok_or("it is there to be claimed")?.fence)
}

async fn outcomes(way: Way) -> Result<(Lab, Vec<AttemptOutcome>), Box<dyn std::error::Error>> {
    let lab = Lab::new(way).await?;
    lab.live_through().await?;
    lab.nobody_else_was_held_up();
    let job = lab.job(lab.held).await;
    assert_eq!((job.state, job.crashes), (State::Completed, 0));
    let outcomes = job.attempts.iter().map(|attempt| attempt.outcome).collect();
    lab.client.close().await?;
    Ok((lab, outcomes))
}

/// A commit is a completion, a roll-back is a failure after which it runs again.
async fn the_transaction_decides(commits: Way, rolls_back: Way) -> Kept {
    let ((_, committed), (lab, rolled_back)) =
        tokio::try_join!(outcomes(commits), outcomes(rolls_back))?;
    assert_eq!(committed, [AttemptOutcome::Completed]);
    assert_eq!(rolled_back, [AttemptOutcome::Failed, AttemptOutcome::Completed]);
    assert!(lab.watch.hold_failed.load(Ordering::SeqCst), "it says that it did not commit");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_open_for_three_leases_decides_how_its_job_ended() -> Kept {
    the_transaction_decides(Way::Commit, Way::RollBack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_its_handler_left_open_decides_how_its_job_ended() -> Kept {
    the_transaction_decides(Way::LeaveAndCommit, Way::LeaveAndRollBack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stops_in_time_though_a_transaction_that_was_left_is_open() -> Kept {
    let lab = Lab::new(Way::LeaveAndCommit).await?;
    let worker = lab.worker().grace(GRACE);
    let handle = worker.handle();
    let worker = tokio::spawn(worker.run());
    let is_held = async || lab.app.held.lock().expect("no panic").is_some();
    lab.until("the transaction is open", is_held).await;
    let shorts = || lab.app.shorts.lock().expect("no panic");
    for n in 1..=5 {
        lab.client.enqueue(Short {}).await?;
        lab.until("a short job returned", async || shorts().returned.len() == n).await;
    }
    let asked = Instant::now();
    handle.stop();
    worker.await??;
    let took = asked.elapsed();
    assert!(took < GRACE + END_MAX * 2, "it stopped after {took:?}");
    assert_eq!(shorts().settled.len(), 5, "other ends are written before the stop");
    assert!(!lab.app.is_over(), "the transaction outlives the worker");
    lab.app.until_over().await;
    let job = lab.job(lab.held).await;
    assert_eq!((job.state, job.attempt), (State::Completed, 1));
    Ok(lab.client.close().await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_renewed_beside_a_transaction_is_there_when_it_is_rolled_back() -> Kept {
    let lab = Lab::new(Way::RollBack).await?;
    // Another one than the lab's, which nobody renews.
    lab.client.enqueue(Orphan {}).await?;
    let fence = claim_past_workers(&lab.client).await?;
    let store = lab.client.store();
    let holder = connect(&lab.app.url).await;
    let hold = format!("BEGIN; DELETE FROM dutiful.lease WHERE id = '{}'", fence.id);
    holder.batch_execute(&hold).await?;
    let expired =
        format!("SELECT until < clock_timestamp() FROM dutiful.lease WHERE id = '{}'", fence.id);
    lab.until("its row expires while its owner renews it", async || {
        let ask = HeartbeatRequest { worker: WORKER, fences: vec![fence], lease: LEASE };
        assert_eq!(store.heartbeat(ask).await.expect("a beat")[0].held, Held::Yes);
        lab.raw.query_one(&expired, &[]).await.expect("it is seen").get(0)
    })
    .await;
    holder.batch_execute("ROLLBACK").await?;
    let term = store.lead(WorkerId(2), NEVER).await?.term;
    let ask = RescueRequest { crashes_max: 3, limit: 10, patience: Duration::ZERO };
    let rescue = async || {
        let rescued = store.rescue(term, ask).await.expect("an answer");
        rescued.iter().map(|one| one.fence.id).collect::<Vec<_>>()
    };
    assert_eq!(rescue().await, [lab.orphan], "its owner renewed it a moment ago");
    lab.until("nobody renews it any more", async || rescue().await == [fence.id]).await;
    let left = "SELECT count(*) FROM dutiful.renewal";
    lab.until("nothing stays behind", async || {
        rescue().await;
        lab.raw.query_one(left, &[]).await.expect("a count").get::<_, i64>(0) == 0
    })
    .await;
    Ok(lab.client.close().await?)
}
