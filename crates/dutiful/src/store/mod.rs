//! The seam between the engine and the stores: plain data in, plain data out, one method a verb.
//!
//! Every verb takes batches, compares with the store's own clock only, and is atomic: its answer
//! means that all of it is durable. The `conformance` tests are written against this trait.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::inspect::{
    Backup, Filter, Finding, JobInfo, JobResult, LogLine, Page, Progress, QueueInfo, Stats, Vitals,
    WorkerInfo,
};
use crate::job::{Delivery, Record, State, TypeDefaults};
use crate::totals::TypeTotals;

mod chores;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, reason = "some of it one store alone uses, and stands beside the rest")
)]
mod common;
pub(crate) mod connect;
mod kept;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "Postgres counts in its statements"))]
pub(crate) mod tally;

pub use chores::{Leadership, Promoted, RescueRequest, Rescued, Retention};
pub use kept::{Keep, KeepWhen, KeptItem, KeptRange};

/// The answer of a verb: boxed, so that `dyn Store` works.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What keeps jobs: a SQLite file, Postgres, or Redis. Users hold it through a `Client`.
pub trait Store: Send + Sync + 'static {
    /// Returns what this store is and promises.
    fn facts(&self) -> Facts;

    /// Stores jobs. A repeated id, or a live job with the same unique key, changes nothing.
    fn enqueue(&self, jobs: Vec<Record>) -> Reply<'_, Vec<Enqueued>>;

    /// Takes due jobs of known types under a lease, by lane, then priority, then time.
    fn claim(&self, ask: ClaimRequest) -> Reply<'_, Vec<Claimed>>;

    /// Writes how attempts ended, each only if its fence still holds; the answers keep the order.
    /// Waits for no user's transaction: what one has is said to be locked.
    fn finish(&self, worker: WorkerId, ends: Vec<Finish>) -> Reply<'_, Vec<Held>>;

    /// Renews leases; says for each whether it is still held and whether a cancel was asked.
    fn heartbeat(&self, ask: HeartbeatRequest) -> Reply<'_, Vec<Beat>>;

    /// Returns the attempts of this worker that somebody asked to cancel.
    fn cancel_requests(&self, worker: WorkerId) -> Reply<'_, Vec<JobId>>;

    /// Says which of these leases exist still, to learn how an unknown outcome ended.
    fn held(&self, fences: Vec<Fence>) -> Reply<'_, Vec<Held>>;

    /// Keeps what handlers say of their attempts, each only if its fence still holds.
    fn note(&self, notes: Vec<Note>) -> Reply<'_, Vec<Held>>;

    /// Stops jobs: waiting ones at once, active ones when their worker hears of it.
    fn cancel(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>>;

    /// Puts dead, failed or cancelled jobs back into the queue, due now.
    fn retry(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>>;

    /// Takes dead jobs out of the dead letter queue; they stay on record as cancelled.
    fn discard(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>>;

    /// Gives waiting jobs another time.
    fn reschedule(&self, ids: Vec<JobId>, at: Timestamp) -> Reply<'_, Vec<Change>>;

    /// Removes every trace of jobs that are not active.
    fn delete(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Change>>;

    /// Deletes at most `limit` waiting jobs of a queue, with every trace; 0 means that none waits.
    fn clear(&self, queue: Name, limit: usize) -> Reply<'_, usize>;

    /// Stops (or lets go on) claims from a queue; says whether that changed anything.
    fn pause(&self, queue: Name, paused: bool) -> Reply<'_, bool>;

    /// Returns one job with its attempts, or `None`.
    fn show(&self, id: JobId) -> Reply<'_, Option<JobInfo>>;

    /// Returns how jobs ended, or where they stand meanwhile; `None` for those not on record.
    fn result(&self, ids: Vec<JobId>) -> Reply<'_, Vec<Option<JobResult>>>;

    /// Returns jobs, newest first, without payloads and attempts.
    fn list(&self, filter: Filter) -> Reply<'_, Page>;

    /// Returns all queues that hold live jobs, have a tally, or are paused.
    fn queues(&self) -> Reply<'_, Vec<QueueInfo>>;

    /// Returns what was counted by queue and type since the store was made.
    fn totals(&self) -> Reply<'_, Vec<TypeTotals>>;

    /// Returns totals, queues and warnings.
    fn stats(&self) -> Reply<'_, Stats>;

    /// Returns the workers on record, running ones first, then the latest; at most 1000.
    fn workers(&self) -> Reply<'_, Vec<WorkerInfo>>;

    /// Looks at the store's health, place and settings; `full` reads all of it, which takes long.
    fn doctor(&self, full: bool) -> Reply<'_, Vec<Finding>>;

    /// Returns numbers of the store's own health, in a time that no number of jobs makes longer.
    fn vitals(&self) -> Reply<'_, Vitals>;

    /// Writes a consistent copy to a new file, durable when it answers; others go on meanwhile.
    fn backup(&self, to: PathBuf) -> Reply<'_, Backup>;

    /// Writes a worker's presence and the settings of its types, for others to read.
    fn register(&self, worker: WorkerCard) -> Reply<'_, ()>;

    /// Writes that a worker stopped in order, so that nobody takes its silence for a crash.
    fn leave(&self, worker: WorkerId) -> Reply<'_, ()>;

    /// Returns the settings that workers registered for these types.
    fn types(&self, types: Vec<Name>) -> Reply<'_, Vec<TypeDefaults>>;

    /// Takes or renews the leadership for `ttl`; the term grows with every change of the leader.
    fn lead(&self, worker: WorkerId, ttl: Duration) -> Reply<'_, Leadership>;

    /// Gives the leadership back, so that another process need not wait for its end.
    fn abdicate(&self, worker: WorkerId, term: i64) -> Reply<'_, ()>;

    /// Moves scheduled jobs that are due into the queue; at most `limit`.
    fn promote(&self, term: i64, limit: usize) -> Reply<'_, Promoted>;

    /// Puts stalled jobs back into the queue, or declares them dead after too many crashes.
    fn rescue(&self, term: i64, ask: RescueRequest) -> Reply<'_, Vec<Rescued>>;

    /// Deletes what retention no longer keeps, a bounded piece at a time; says how many rows.
    fn prune(&self, term: i64, keep: Retention) -> Reply<'_, usize>;

    /// Folds the tally's rows into totals; says how many.
    fn fold(&self, term: i64) -> Reply<'_, usize>;

    /// Begins a remembered effect: runs it, waits for another, or returns its stored result.
    fn once(&self, ask: OnceRequest) -> Reply<'_, Once>;

    /// Stores the result of a remembered effect, if the fence still holds; `None` forgets it.
    fn once_store(&self, key: String, fence: Fence, result: Option<Vec<u8>>) -> Reply<'_, Held>;

    /// Keeps something beside the jobs, or forgets it, if what is there is as asked; returns its
    /// new version, or `None` when it was not and nothing changed.
    fn keep(&self, ask: Keep) -> Reply<'_, Option<i64>>;

    /// Returns what is kept in a range of keys.
    fn kept(&self, range: KeptRange) -> Reply<'_, Vec<KeptItem>>;

    /// Waits until the bell rang more often than `heard` and returns how often it rang: something
    /// may have become claimable since. A hint, never a promise; the first answer is at least 1.
    fn doorbell(&self, heard: u64) -> Pin<Box<dyn Future<Output = u64> + Send + '_>>;

    /// Brings the schema to `version` (`None`: the newest); returns what it was and is.
    fn migrate(&self, version: Option<i64>) -> Reply<'_, Migrated>;

    /// Lets go of the store after what was already asked is done.
    fn close(&self) -> Reply<'_, ()>;

    /// Returns this value as `Any`, so that a transaction finds the store it belongs to.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// What a store is and promises.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Facts {
    /// "sqlite", "postgres" or "redis".
    pub store: &'static str,
    /// The version of the server or library.
    pub version: String,
    /// What an acknowledgement survives ("wal, synchronous=full").
    pub durability: String,
    /// Where it is, without secrets.
    pub place: String,
}

/// What an enqueue did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Enqueued {
    /// The id of the job that is stored now: ours, or the live one with the same unique key.
    pub id: JobId,
    /// Whether it is new.
    pub outcome: EnqueueOutcome,
}

/// Whether an enqueue stored a new job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnqueueOutcome {
    /// It was stored.
    New,
    /// A job with this id was there already; nothing changed.
    Exists,
    /// A live job holds the unique key; nothing changed.
    Duplicate,
}

/// A claim: up to so many jobs for each lane, in this order.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Who claims.
    pub worker: WorkerId,
    /// The queues, first come first.
    pub lanes: Vec<Lane>,
    /// The types that this worker knows; jobs of others stay.
    pub types: std::sync::Arc<std::collections::HashSet<Name>>,
    /// How long the lease lasts.
    pub lease: Duration,
    /// At most so many jobs in all.
    pub limit: usize,
    /// At most so many bytes of payload in all (one job is always given).
    pub bytes: usize,
    /// At most so many jobs that crashed a worker before.
    pub crashed: usize,
}

/// A queue in a claim.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Which.
    pub queue: Name,
    /// At most so many of its jobs.
    pub limit: usize,
    /// Of those, at most so many that are at-most-once (they are never prefetched).
    pub at_most_once: usize,
}

/// A job under a lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The right to write about it.
    pub fence: Fence,
    /// The type.
    pub job_type: Name,
    /// The queue.
    pub queue: Name,
    /// The payload, as it was given.
    pub payload: Vec<u8>,
    /// Errors and timeouts before this attempt.
    pub failures: u32,
    /// Stalls in a row before this attempt.
    pub crashes: u32,
    /// Failures after which it is dead.
    pub max_attempts: u32,
    /// How long this attempt may run.
    pub timeout: Duration,
    /// What a crash does to it.
    pub delivery: Delivery,
    /// True when it holds a unique key.
    pub unique: bool,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it became due.
    pub run_at: Timestamp,
    /// The store's time at the claim.
    pub claimed_at: Timestamp,
    /// The caller's correlation id; `None` means the job's own id.
    pub correlation_id: Option<String>,
    /// W3C trace context of the enqueue.
    pub trace_parent: Option<String>,
    /// Its group.
    pub group: Option<String>,
}

impl Claimed {
    /// Describes the end of this attempt as if it ended where it was claimed: nothing ran.
    pub fn unstarted(&self, end: End) -> Finish {
        Finish {
            fence: self.fence,
            queue: self.queue.clone(),
            job_type: self.job_type.clone(),
            failures: self.failures,
            unique: self.unique,
            delivery: self.delivery,
            started_at: self.claimed_at,
            ran: Duration::ZERO,
            waited: Duration::ZERO,
            end,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The right to write it.
    pub fence: Fence,
    /// For the tally.
    pub queue: Name,
    /// For the tally.
    pub job_type: Name,
    /// Errors and timeouts before this attempt.
    pub failures: u32,
    /// True when it holds a unique key.
    pub unique: bool,
    /// What a crash would have done: at-most-once jobs have no lease any more.
    pub delivery: Delivery,
    /// When the handler began, in the store's time.
    pub started_at: Timestamp,
    /// How long it ran.
    pub ran: Duration,
    /// How long the job was due before it began.
    pub waited: Duration,
    /// What became of it.
    pub end: End,
}

/// What an attempt comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Succeeded, with a result (JSON) or none.
    Completed(Option<Vec<u8>>),
    /// Failed, to be retried after a while; charged.
    Failed(Failure, Duration),
    /// Failed for the last time, or given up by the handler.
    Dead(Failure, DeadReason),
    /// To run again after a while; not charged.
    Snoozed(Duration),
    /// Given back unrun or unfinished; not charged.
    Released,
    /// Stopped on request.
    Cancelled,
}

impl End {
    /// What a failure comes to: another attempt after a while (24 h at most), or, after so many
    /// failures, the death of the job. `failures` counts those before, `wait` is asked for the
    /// time after this one.
    pub fn after_failure(
        failure: Failure,
        failures: u32,
        max_attempts: u32,
        wait: impl FnOnce(u32) -> Duration,
    ) -> Self {
        let failures = failures.saturating_add(1);
        if failures >= max_attempts {
            return Self::Dead(failure, DeadReason::Exhausted);
        }
        Self::Failed(failure, wait(failures).min(crate::retry::RETRY_MAX))
    }
}

/// Why a job is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// All attempts failed.
    Exhausted,
    /// The handler gave up.
    Discarded,
    /// It crashed too many workers in a row.
    Quarantined,
}

/// Longest class of a failure in bytes; the rest is cut.
pub(crate) const CLASS_BYTES_MAX: usize = 128;

/// An error as it is kept: a class to group by and a message to read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// The last segment of the error's type name, or `panic`, `timeout`, `stalled`, `exit N`;
    /// at most 128 bytes, the rest is cut.
    pub class: String,
    /// The message, without NUL, at most 16 KiB.
    pub message: String,
}

/// Whether a fence still held when it was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// It did, and the write counts.
    Yes,
    /// It did not; nothing changed.
    Lost,
    /// The lease is there, and somebody's open transaction has it; nothing changed. Only `finish`
    /// says so: ask again later, for whether it will be lost is not known yet.
    Locked,
}

/// What a handler said of its attempt since the last time it was written.
#[derive(Clone, Debug)]
pub struct Note {
    /// The right to write it.
    pub fence: Fence,
    /// How far it has come.
    pub progress: Option<Progress>,
    /// Data (JSON) for the next attempt, if there is one.
    pub checkpoint: Option<Vec<u8>>,
    /// New lines, numbered from 1 in each attempt.
    pub log: Vec<LogLine>,
}

/// A renewal of leases.
#[derive(Clone, Debug)]
pub struct HeartbeatRequest {
    /// Who.
    pub worker: WorkerId,
    /// What it believes to hold.
    pub fences: Vec<Fence>,
    /// How long the leases last from now.
    pub lease: Duration,
}

/// The answer for one lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beat {
    /// Whether it is still ours.
    pub held: Held,
    /// Whether somebody asked to cancel the job.
    pub cancel: bool,
}

/// What a change by id did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Done.
    Done,
    /// The job is active; its worker was asked.
    Requested,
    /// No such job.
    NotFound,
    /// Not possible in this state.
    Refused {
        /// Which.
        state: State,
    },
    /// The unique key is taken by this job.
    Conflict {
        /// Which.
        holder: JobId,
    },
}

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub struct WorkerCard {
    /// Its id.
    pub worker: WorkerId,
    /// Host and process, for people.
    pub name: String,
    /// The number of its process on this host; 0 for one elsewhere, of which only its beats tell
    /// whether it lives.
    pub pid: u32,
    /// The queues it serves, with their slots.
    pub queues: Vec<(Name, usize)>,
    /// The types it runs and their settings.
    pub types: Vec<TypeDefaults>,
    /// True while it claims nothing and only ends what it runs.
    pub quiet: bool,
}

/// A remembered effect about to begin.
#[derive(Clone, Debug)]
pub struct OnceRequest {
    /// Its name.
    pub key: String,
    /// The attempt that would run it.
    pub fence: Fence,
    /// How long the result is remembered.
    pub ttl: Duration,
}

/// What to do about a remembered effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// Run it: the key is ours.
    Run,
    /// It ran before; this was its result.
    Known(Vec<u8>),
    /// Another live attempt is at it.
    Taken,
    /// The attempt that asks is no longer ours.
    Lost,
}

/// What a migration did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Migrated {
    /// The version before.
    pub from: i64,
    /// The version now.
    pub to: i64,
}
