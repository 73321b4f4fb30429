//! A store with a clock that stands still, and short words for what most promises begin with.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) use dutiful::store::{
    Change, ClaimRequest, Claimed, DeadReason, End, EnqueueOutcome, Failure, Finish,
    HeartbeatRequest, Held, Lane, Note, Once, OnceRequest, Promoted, RescueRequest, Rescued,
    Retention, Store, WorkerCard,
};
pub(crate) use dutiful::{
    AttemptOutcome, Client, Clock, Delivery, Fence, Filter, JobId, JobInfo, LogLine, Name,
    Progress, Record, State, StoreError, Timestamp, TypeDefaults, WorkerId,
};

/// What a promise comes to; a store's error breaks it.
pub(crate) type Kept = Result<(), dutiful::Error>;

/// How long a promise may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(120);
/// The lease that the short words claim with.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// When the clock begins: 2026-11-23T18:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_us(1_795_456_800_000_000);

/// Runs every promise of a file on each of these stores.
/// A store that is not on this machine is left out, in the open.
macro_rules! stores {
    ($($store:ident: $open:path),* $(,)?) => { stores!(@ ($) $($store: $open),*); };
    (@ ($d:tt) $($store:ident: $open:path),*) => {
        macro_rules! promises {
            ($d($d promise:ident),* $d(,)?) => {
                $(mod $store {
                    $d(#[test]
                    fn $d promise() {
                        let store = stringify!($store);
                        match $open() {
                            Some(at) => crate::harness::keep(store, at, super::$d promise),
                            None => println!("skipped on {store}: it is not on this machine"),
                        }
                    })*
                })*
            };
        }
    };
}

/// Leaves a promise that this store cannot make, in the open.
macro_rules! skip {
    ($lab:expr, $reason:literal) => {{
        println!("skipped on {}: {}", $lab.name, $reason);
        return Ok(());
    }};
}

/// Where a store of a test is.
pub(crate) struct Address {
    pub(crate) url: String,
    pub(crate) dir: Option<tempfile::TempDir>,
}

/// A SQLite file in a directory that goes away with the test.
pub(crate) fn file() -> Option<Address> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    Some(Address { url, dir: Some(dir) })
}

/// SQLite without a file.
pub(crate) fn memory() -> Option<Address> {
    Some(Address { url: "sqlite::memory:".into(), dir: None })
}

/// A schema of its own in a database that many tests share.
pub(crate) fn postgres() -> Option<Address> {
    let server = std::env::var("DUTIFUL_TEST_POSTGRES").unwrap_or_else(|_| {
        let server = dutiful_fixture::Postgres::shared(dutiful_fixture::Version::System);
        server.expect("a private server starts").url("postgres")
    });
    Some(Address { url: format!("{server}?schema={}", new_schema()), dir: None })
}

/// Runs one promise on one store.
pub(crate) fn keep<F: Future<Output = Kept>>(
    name: &'static str,
    address: Address,
    promise: impl FnOnce(Lab) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread");
    runtime.block_on(async {
        let lab = Lab::open(name, address).await;
        match tokio::time::timeout(HUNG, promise(lab)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("failed to {error}"),
            Err(_) => panic!("hung for {HUNG:?}"),
        }
    });
}

/// A store under test.
pub(crate) struct Lab {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) worker: WorkerId,
    leader: WorkerId,
    queues: AtomicUsize,
    address: Address,
}

impl Lab {
    async fn open(name: &'static str, address: Address) -> Self {
        let clock = Clock::manual(START);
        let client = connect(&address.url, &clock).await.expect("the store opens");
        Self {
            name,
            store: client.store().clone(),
            client,
            clock,
            worker: WorkerId(1),
            leader: WorkerId(900),
            queues: AtomicUsize::new(0),
            address,
        }
    }

    /// Returns the path of the store's file, if it has one.
    pub(crate) fn path(&self) -> Option<std::path::PathBuf> {
        self.address.dir.as_ref().map(|dir| dir.path().join("jobs.db"))
    }

    /// Says whether this is Postgres, of whatever version and rights.
    pub(crate) fn on_postgres(&self) -> bool {
        self.name.starts_with("postgres")
    }

    /// Returns the URL of the server, as our role, and our schema there; `None` without a server.
    pub(crate) fn server(&self) -> Option<(String, String)> {
        let (server, schema) = self.address.url.split_once("?schema=")?;
        Some((server.to_owned(), schema.to_owned()))
    }

    /// Opens the same file once more, with the same clock; `None` when the store has no file.
    pub(crate) async fn reopen(&self) -> Option<Result<Client, dutiful::Error>> {
        self.address.dir.as_ref()?;
        Some(connect(&self.address.url, &self.clock).await)
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Enqueues so many plain jobs.
    pub(crate) async fn put(&self, n: usize) -> Vec<JobId> {
        self.put_all((0..n).map(|_| job()).collect()).await
    }

    /// Enqueues these jobs, which must all be new.
    pub(crate) async fn put_all(&self, jobs: Vec<Record>) -> Vec<JobId> {
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        let stored = self.store.enqueue(jobs).await.expect("the enqueue is stored");
        assert_eq!(stored.len(), ids.len(), "one answer for each job");
        for (stored, id) in stored.iter().zip(&ids) {
            assert_eq!((stored.id, stored.outcome), (*id, EnqueueOutcome::New));
        }
        ids
    }

    /// Enqueues one job, which must be new.
    pub(crate) async fn put_one(&self, job: Record) -> JobId {
        self.put_all(vec![job]).await[0]
    }

    /// Returns a claim of up to so many plain jobs.
    pub(crate) fn ask(&self, limit: usize) -> ClaimRequest {
        ClaimRequest {
            worker: self.worker,
            lanes: vec![lane("default", limit)],
            types: types(&["task"]),
            lease: LEASE,
            limit,
            bytes: usize::MAX,
            crashed: limit,
        }
    }

    /// Claims up to so many plain jobs.
    pub(crate) async fn claim(&self, limit: usize) -> Vec<Claimed> {
        self.store.claim(self.ask(limit)).await.expect("the claim is answered")
    }

    /// Claims one plain job, which must be there.
    pub(crate) async fn claim_one(&self) -> Claimed {
        let mut claimed = self.claim(1).await;
        assert_eq!(claimed.len(), 1, "one job is due");
        claimed.remove(0)
    }

    /// Enqueues a plain job and claims it.
    pub(crate) async fn active(&self) -> Claimed {
        self.active_with(job()).await
    }

    /// Enqueues this job in a queue of its own and claims it.
    pub(crate) async fn active_with(&self, job: Record) -> Claimed {
        let queue = format!("own-{}", self.queues.fetch_add(1, Ordering::SeqCst));
        let id = self.put_one(Record { queue: name(&queue), ..job }).await;
        let claimed = self.claim_from(&queue).await;
        assert_eq!(claimed.fence.id, id);
        claimed
    }

    /// Claims all that is due in this queue.
    pub(crate) async fn claim_all(&self, queue: &str) -> Vec<Claimed> {
        let ask = ClaimRequest { lanes: vec![lane(queue, 1000)], ..self.ask(1000) };
        self.store.claim(ask).await.expect("the claim is answered")
    }

    /// Claims the one job of this queue.
    pub(crate) async fn claim_from(&self, queue: &str) -> Claimed {
        let ask = ClaimRequest { lanes: vec![lane(queue, 1)], ..self.ask(1) };
        let mut claimed = self.store.claim(ask).await.expect("the claim is answered");
        assert_eq!(claimed.len(), 1, "one job is due in {queue}");
        claimed.remove(0)
    }

    /// Ends one attempt.
    pub(crate) async fn end(&self, job: &Claimed, end: End) -> Held {
        let held = self.store.finish(self.worker, vec![self.finish(job, end)]).await;
        held.expect("the finish is answered")[0]
    }

    /// Returns how an attempt ended after a second of running.
    pub(crate) fn finish(&self, job: &Claimed, end: End) -> Finish {
        let (ran, waited) = (Duration::from_secs(1), Duration::from_millis(5));
        Finish { ran, waited, ..job.unstarted(end) }
    }

    /// Leads, and returns the term.
    pub(crate) async fn term(&self) -> i64 {
        let ttl = Duration::from_secs(10);
        let now = self.store.lead(self.leader, ttl).await.expect("somebody leads");
        assert_eq!(now.leader, self.leader, "nobody else wants to lead");
        now.term
    }

    /// Moves up to 1000 due jobs.
    pub(crate) async fn promote(&self) -> Promoted {
        let term = self.term().await;
        self.store.promote(term, 1000).await.expect("the leader may promote")
    }

    /// Rescues what stalled, at first sight.
    pub(crate) async fn rescue(&self, crashes_max: u32) -> Vec<Rescued> {
        let term = self.term().await;
        let ask = RescueRequest { crashes_max, limit: 1000, patience: Duration::ZERO };
        self.store.rescue(term, ask).await.expect("the leader may rescue")
    }

    /// Lets the lease of this attempt expire and rescues the job.
    pub(crate) async fn crash(&self, job: &Claimed, crashes_max: u32) -> Rescued {
        self.clock.advance(LEASE + Duration::from_secs(1));
        let rescued = self.rescue(crashes_max).await;
        let mine = rescued.into_iter().find(|r| r.fence == job.fence);
        mine.expect("the stalled attempt is rescued")
    }

    /// Returns a job that must be on record.
    pub(crate) async fn show(&self, id: JobId) -> JobInfo {
        self.store.show(id).await.expect("the look is answered").expect("the job is on record")
    }

    /// Returns where a job stands.
    pub(crate) async fn state(&self, id: JobId) -> Option<State> {
        self.store.show(id).await.expect("the look is answered").map(|job| job.state)
    }

    /// Returns a new job that stands here, alone in its queue.
    pub(crate) async fn in_state(&self, state: State) -> JobId {
        let id = self.bring_to(state, job()).await;
        assert_eq!(self.state(id).await, Some(state));
        id
    }

    /// Brings this job to a state.
    pub(crate) async fn bring_to(&self, state: State, job: Record) -> JobId {
        let id = job.id;
        match state {
            State::Pending => return self.put_one(job).await,
            State::Scheduled => {
                return self.put_one(Record { delay: Duration::from_secs(3600), ..job }).await;
            }
            _ => {}
        }
        let active = self.active_with(job).await;
        let end = match state {
            State::Completed => End::Completed(None),
            State::Failed => End::Failed(oops(), Duration::from_secs(60)),
            State::Dead => End::Dead(oops(), DeadReason::Exhausted),
            State::Cancelled => End::Cancelled,
            State::Stalled => {
                self.clock.advance(LEASE + Duration::from_secs(1));
                return id;
            }
            _ => return id,
        };
        assert_eq!(self.end(&active, end).await, Held::Yes);
        id
    }
}

pub(crate) fn new_schema() -> String {
    format!("t{}", JobId::new().to_string().replace('-', ""))
}

async fn connect(url: &str, clock: &Clock) -> Result<Client, dutiful::Error> {
    Client::builder().clock(clock.clone()).migrate(true).connect(url).await
}

/// Returns a plain job: a `task` in the queue `default`, due at once.
pub(crate) fn job() -> Record {
    Record {
        id: JobId::new(),
        job_type: name("task"),
        payload: b"{}".to_vec(),
        queue: name("default"),
        priority: 10,
        scheduled_for: None,
        delay: Duration::ZERO,
        max_attempts: 3,
        timeout: Duration::from_secs(60),
        correlation_id: None,
        trace_parent: None,
        group: None,
        unique_key: None,
        tags: Vec::new(),
        delivery: Delivery::AtLeastOnce,
    }
}

/// Returns a plain job with a unique key.
pub(crate) fn keyed(key: &str) -> Record {
    Record { unique_key: Some(key.into()), ..job() }
}

/// Returns a checked name.
pub(crate) fn name(text: &str) -> Name {
    Name::new("name", text).expect("a name in a test is valid")
}

/// Returns a set of types.
pub(crate) fn types(names: &[&str]) -> Arc<HashSet<Name>> {
    Arc::new(names.iter().map(|text| name(text)).collect())
}

/// Returns a lane with so many slots, all of them open to at-most-once jobs.
pub(crate) fn lane(queue: &str, limit: usize) -> Lane {
    Lane { queue: name(queue), limit, at_most_once: limit }
}

/// Returns an error that a handler may have ended with.
pub(crate) fn oops() -> Failure {
    Failure { class: "Oops".into(), message: "it broke".into() }
}

/// Returns the ids of a claim, in its order.
pub(crate) fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|job| job.fence.id).collect()
}

/// Returns the fence with another nonce.
pub(crate) fn forged(fence: Fence) -> Fence {
    Fence { nonce: fence.nonce ^ 1, ..fence }
}
