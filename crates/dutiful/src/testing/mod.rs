//! For the tests of programs that use Dutiful: a store in memory with a clock that stands still,
//! a worker that runs one job at a time, and faults that happen when they are asked for.
//!
//! Nothing in here waits: a test says what happens next, one thing after another.
//!
//! ```
//! use std::time::Duration;
//! use dutiful::testing::Lab;
//! use dutiful::{AttemptOutcome, Context, HandlerError, Job, Result, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendWelcome { user: i64 }
//! impl Job for SendWelcome { const TYPE: &'static str = "send_welcome"; }
//!
//! async fn send_welcome(_job: SendWelcome, cx: Context<()>) -> Result<()> {
//!     if cx.attempt() == 1 {
//!         return Err(HandlerError::msg("the mail server is away"));
//!     }
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dutiful::Error> {
//! let lab = Lab::new().await;
//! lab.client().enqueue(SendWelcome { user: 7 }).await?;
//! lab.assert_enqueued::<SendWelcome>(|job| job.user == 7).await;
//!
//! let worker = lab.runner(Worker::new(lab.client(), ()).job(send_welcome)).await;
//! let ran = worker.run_one().await.expect("it is due");
//! assert_eq!(ran.outcome, AttemptOutcome::Failed);
//! assert!(worker.run_one().await.is_none(), "its retry is not due yet");
//!
//! lab.advance(Duration::from_secs(60)).await;
//! let ran = worker.run_one().await.expect("now it is");
//! assert_eq!((ran.attempt, ran.outcome), (2, AttemptOutcome::Completed));
//! # Ok(()) }
//! ```

mod faults;
mod runner;

use std::time::Duration;

pub use self::faults::{Faults, VERBS};
pub use self::runner::{RUNS_MAX, Ran, Runner};

use crate::builder::ClientBuilder;
use crate::client::Client;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, StoreError};
use crate::id::{JobId, Name, WorkerId};
use crate::inspect::{Filter, JobInfo, PAGE_MAX};
use crate::job::Job;
use crate::store::{Leadership, Promoted, RescueRequest};
use crate::worker::Worker;

/// Where a lab's clock begins: 2030-01-01T00:00:00Z, a Tuesday.
pub const LAB_START: Timestamp = Timestamp::from_us(1_893_456_000_000_000);
/// How long the lab leads at a time.
const LEADS: Duration = Duration::from_secs(10);
/// Most jobs promoted, or rescued, in one step.
const STEP_MAX: usize = 1000;
/// As a worker's own default.
const CRASHES_MAX: u32 = 3;

/// A store for one test: in memory unless told otherwise, with a clock that the test moves.
pub struct Lab {
    client: Client,
    /// The same store without its faults, for what the lab does itself.
    own: Client,
    clock: Clock,
    faults: Faults,
    leader: WorkerId,
}

/// A job on record, its payload in its own type.
#[derive(Debug)]
pub struct Found<J> {
    /// The payload.
    pub job: J,
    /// Everything else.
    pub info: JobInfo,
}

impl Lab {
    /// Opens a store in memory.
    ///
    /// # Panics
    /// When there is no memory, or no thread, to be had.
    pub async fn new() -> Self {
        Self::connect("sqlite::memory:").await.expect("a store in memory opens")
    }

    /// Opens the store that the URL names, with a clock that stands still. A file is for tests of
    /// `.within(&tx)` and `complete_within`: a store in memory cannot be reached by another
    /// connection.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::build(Client::builder(), url).await
    }

    /// The same with a client that has observers, middleware or limits of its own; its clock is
    /// replaced.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn build(builder: ClientBuilder, url: &str) -> Result<Self, Error> {
        let clock = Clock::manual(LAB_START);
        let own = Client::builder().clock(clock.clone()).connect(url).await?;
        let (store, faults) = Faults::around(own.store().clone());
        let client = builder.with_store(store);
        Ok(Self { client, own, clock, faults, leader: WorkerId::random() })
    }

    /// Returns the client, to be given to the code under test and to workers.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the clock; [`Lab::advance`] is what most tests want.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns a worker that runs one job at a time when it is told to.
    ///
    /// # Panics
    /// When the worker is put together in a way that cannot work.
    pub async fn runner<A: Send + Sync + 'static>(&self, worker: Worker<A>) -> Runner<'_> {
        match Runner::new(self, worker).await {
            Ok(runner) => runner,
            Err(error) => panic!("failed to {error}"),
        }
    }

    /// Lets time pass, and does what the leader does meanwhile: jobs whose time has come are
    /// pending, leases that have expired are rescued.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.upkeep().await;
    }

    /// Promotes and rescues; returns how long until the next job is due.
    async fn upkeep(&self) -> Option<Duration> {
        let store = self.own.store();
        let led = must(store.lead(self.leader, LEADS).await);
        let Leadership { leader, term } = led;
        if leader != self.leader {
            // A worker that runs by itself leads, and does these chores.
            return None;
        }
        let ask =
            RescueRequest { crashes_max: CRASHES_MAX, limit: STEP_MAX, patience: Duration::ZERO };
        while must(store.rescue(term, ask).await).len() >= STEP_MAX {}
        loop {
            let Promoted { moved, next } = must(store.promote(term, STEP_MAX).await);
            if moved < STEP_MAX {
                return next;
            }
        }
    }

    /// Returns a job that must be on record.
    ///
    /// # Panics
    /// When it is not.
    pub async fn job(&self, id: JobId) -> JobInfo {
        match self.own.job(id).await {
            Ok(Some(job)) => job,
            Ok(None) => panic!("no job {id} is on record"),
            Err(error) => panic!("failed to {error}"),
        }
    }

    /// Returns all jobs of a type on record, in whatever state, the oldest first.
    ///
    /// # Panics
    /// When a payload does not fit the type.
    pub async fn enqueued<J: Job>(&self) -> Vec<Found<J>> {
        let job_type =
            Name::new("type", J::TYPE).expect("the type was enqueued, so its name is one");
        let (job_type, limit) = (Some(job_type), Some(PAGE_MAX));
        let mut filter = Filter { job_type, limit, ..Filter::default() };
        let mut found = Vec::new();
        loop {
            let page = match self.own.jobs(filter.clone()).await {
                Ok(page) => page,
                Err(error) => panic!("failed to {error}"),
            };
            for job in page.jobs {
                let info = self.job(job.id).await;
                let payload = info.payload.as_deref().map_or("null", |json| json.get());
                match serde_json::from_str(payload) {
                    Ok(job) => found.push(Found { job, info }),
                    Err(error) => panic!("job {} is no {}: {error}", info.id, J::TYPE),
                }
            }
            filter.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        found.sort_by_key(|one| (one.info.created_at, one.info.id));
        found
    }

    /// Asserts that exactly one job of the type fits, and returns it.
    ///
    /// # Panics
    /// When none fits, or several do; the message shows all payloads of the type.
    pub async fn assert_enqueued<J: Job>(&self, fits: impl Fn(&J) -> bool) -> Found<J> {
        let all = self.enqueued::<J>().await;
        let shown = show(&all);
        let mut fitting: Vec<_> = all.into_iter().filter(|one| fits(&one.job)).collect();
        match fitting.pop() {
            Some(one) if fitting.is_empty() => one,
            Some(_) => panic!("{} jobs fit, not one: {shown}", fitting.len() + 1),
            None => panic!("no {} was enqueued that fits: {shown}", J::TYPE),
        }
    }

    /// Asserts that no job of the type fits.
    ///
    /// # Panics
    /// When one does; the message shows all payloads of the type.
    pub async fn refute_enqueued<J: Job>(&self, fits: impl Fn(&J) -> bool) {
        let all = self.enqueued::<J>().await;
        assert!(!all.iter().any(|one| fits(&one.job)), "one fits: {}", show(&all));
    }

    /// Returns what lets calls to the store fail; the lab's own looks never do.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Takes the lease of a running attempt away; see [`Faults::lose_lease`].
    ///
    /// # Panics
    /// When no attempt of this job runs that was claimed through this lab.
    pub async fn lose_lease(&self, id: JobId) {
        if let Err(error) = self.faults.lose_lease(id).await {
            panic!("failed to {error}");
        }
    }
}

fn show<J: Job>(all: &[Found<J>]) -> String {
    let payload = |one: &Found<J>| one.info.payload.as_ref().map(|json| json.get().to_owned());
    let shown: Vec<_> = all.iter().filter_map(payload).collect();
    format!("[{}]", shown.join(", "))
}

/// Unpacks an answer of the store that a test cannot go on without.
fn must<T>(answer: Result<T, StoreError>) -> T {
    match answer {
        Ok(value) => value,
        Err(error) => panic!("failed to {error}"),
    }
}
