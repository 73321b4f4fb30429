//! What people and programs can see: jobs, attempts, queues, numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::id::{JobId, Name, WorkerId};
use crate::job::{Delivery, State};
use crate::store::{DeadReason, Failure};

/// Most jobs on one page.
pub const PAGE_MAX: usize = 1000;
/// Most rows that a filtered page examines before it returns a cursor to go on from.
pub const EXAMINED_MAX: usize = 50_000;

/// Most log lines that are kept of one attempt; older ones make room.
pub const LOG_LINES_MAX: u32 = 200;
/// Longest log line and progress note, in bytes; the rest is cut.
pub const LOG_LINE_BYTES_MAX: usize = 1024;
/// Of a job's attempts so many keep their log lines, the last ones.
pub const LOG_ATTEMPTS_MAX: u32 = 10;

/// Everything about one job. In JSON the names of the design's metadata, times in RFC 3339.
#[derive(Clone, Debug, Serialize)]
pub struct JobInfo {
    /// The id.
    pub id: JobId,
    /// The type.
    #[serde(rename = "type")]
    pub job_type: Name,
    /// Where it stands.
    pub state: State,
    /// The queue.
    pub queue: Name,
    /// Lower runs first.
    pub priority: u16,
    /// The payload; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// Bytes of the payload.
    pub payload_bytes: usize,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it may run (again).
    pub scheduled_for: Timestamp,
    /// Claims so far.
    pub attempt: u32,
    /// Errors and timeouts so far.
    pub failures: u32,
    /// Stalls in a row.
    pub crashes: u32,
    /// Failures after which it is dead.
    pub max_attempts: u32,
    /// How long one attempt may run, in ms.
    pub timeout_ms: u64,
    /// The caller's correlation id, else the job's id.
    pub correlation_id: String,
    /// W3C trace context.
    pub trace_parent: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Its unique key.
    pub unique_key: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What a crash does to it.
    pub delivery: Delivery,
    /// When its last attempt began.
    pub last_attempt_at: Option<Timestamp>,
    /// When it ended for good.
    pub finished_at: Option<Timestamp>,
    /// What the last attempt that ended failed with; when it went well, what the one before did.
    pub last_error: Option<Failure>,
    /// Why it is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_reason: Option<DeadReason>,
    /// What the handler returned; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// How far it has come, as the handler last said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What the handler kept for the next attempt; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<RawValue>>,
    /// The attempt log, oldest first; absent in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptInfo>,
}

/// One attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptInfo {
    /// Its number, from 1.
    pub number: u32,
    /// Who ran it.
    pub worker: WorkerId,
    /// Host and process of the worker, if still known.
    pub worker_name: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What it failed with.
    pub error: Option<Failure>,
    /// The last lines that the handler logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
}

/// How far an attempt has come, in its handler's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What it is doing.
    pub note: Option<String>,
    /// When it said so.
    pub at: Timestamp,
}

/// A line that a handler logged about its attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// From 1; a gap at the start means that older lines made room.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// The text, one line.
    pub text: String,
}

/// How a job ended, or where it stands meanwhile.
#[derive(Clone, Debug, Serialize)]
pub struct JobResult {
    /// Which job.
    pub id: JobId,
    /// Its state: completed, dead and cancelled are ends.
    pub state: State,
    /// What the handler returned.
    pub result: Option<Box<RawValue>>,
    /// What the last attempt failed with; `None` when it went well.
    pub error: Option<Failure>,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It runs still.
    Running,
    /// Succeeded.
    Completed,
    /// Failed, and the job was (or will be) tried again.
    Failed,
    /// Failed for the last time.
    Dead,
    /// The handler asked for a later run.
    Snoozed,
    /// The worker gave it back while stopping.
    Released,
    /// The worker died or could not renew its lease.
    Stalled,
    /// Stopped on request.
    Cancelled,
    /// At-most-once: claimed, and nothing heard since.
    Unknown,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// Not at their end: pending, scheduled, failed, active or stalled. They are looked for in all
    /// of these at once, so that none is missed on its way from one to another.
    pub live: bool,
    /// In this queue.
    pub queue: Option<Name>,
    /// Of this type.
    pub job_type: Option<Name>,
    /// Of this group.
    pub group: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// With this correlation id; a job that nobody gave one has its own id.
    pub correlation_id: Option<String>,
    /// Enqueued at this time or later.
    pub since: Option<Timestamp>,
    /// Enqueued before this time.
    pub until: Option<Timestamp>,
    /// Whose last error has this text in its class or message, in upper or lower case.
    pub error: Option<String>,
    /// Older than this id (the cursor of the page before).
    pub before: Option<JobId>,
    /// At most so many (default 50, at most 1000).
    pub limit: Option<usize>,
    /// Stop a long search after so long, and say where it goes on; else only [`EXAMINED_MAX`]
    /// bounds it.
    pub patience: Option<Duration>,
}

/// A page of jobs, newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobInfo>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<JobId>,
}

/// A queue and how many jobs stand in it.
#[derive(Clone, Debug, Serialize)]
pub struct QueueInfo {
    /// Its name.
    pub queue: Name,
    /// Its numbers.
    #[serde(flatten)]
    pub counts: Counts,
    /// Age of the oldest pending job in seconds.
    pub oldest_pending_s: f64,
    /// How long ago, in seconds, the time of a scheduled or failed job came that waits for it
    /// still: where somebody leads it is a fraction of one. 0 where none is late.
    pub overdue_s: f64,
    /// True while no claims are allowed.
    pub paused: bool,
}

/// How many jobs stand in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Due and waiting for a worker.
    pub pending: u64,
    /// Waiting for a time.
    pub scheduled: u64,
    /// Under a lease.
    pub active: u64,
    /// Waiting for a retry.
    pub failed: u64,
    /// Succeeded, still on record.
    pub completed: u64,
    /// In the dead letter queue.
    pub dead: u64,
    /// Stopped, still on record.
    pub cancelled: u64,
    /// Leases rescued since the store was made.
    pub stalled_total: u64,
}

impl Counts {
    /// Adds another queue's numbers.
    pub fn add(&mut self, other: &Counts) {
        self.pending += other.pending;
        self.scheduled += other.scheduled;
        self.active += other.active;
        self.failed += other.failed;
        self.completed += other.completed;
        self.dead += other.dead;
        self.cancelled += other.cancelled;
        self.stalled_total += other.stalled_total;
    }
}

/// The numbers of a store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Over all queues.
    pub totals: Counts,
    /// By queue, in the order of their names.
    pub queues: Vec<QueueInfo>,
    /// What a person should look at, one sentence each.
    pub warnings: Vec<String>,
}

/// A worker, as it registered itself and was last heard of.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerInfo {
    /// Its id; another one after each start.
    pub id: WorkerId,
    /// Host and process.
    pub name: String,
    /// The number of its process on its host; 0 where nobody said so.
    pub pid: u32,
    /// The queues it serves, with their slots.
    pub queues: BTreeMap<Name, usize>,
    /// The types it runs.
    pub types: Vec<Name>,
    /// When it started.
    pub started_at: Timestamp,
    /// Its last sign of life.
    pub beat_at: Timestamp,
    /// When it stopped, or was last heard of before it was found to have crashed.
    pub stopped_at: Option<Timestamp>,
    /// Leases that it holds now.
    pub running: u64,
    /// True while it was told to claim nothing.
    pub quiet: bool,
    /// What that says about it.
    pub state: WorkerState,
}

/// Whether a worker can be counted on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Heard of lately.
    Alive,
    /// Not heard of for a minute (six beats at the default lease of 30 s), nor for as long as the
    /// longest lease it holds lasts, which is three beats: a worker with long leases beats rarely.
    Silent,
    /// It stopped in order, or was found to have crashed.
    Stopped,
}

impl WorkerState {
    /// Returns the word used in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }
}

/// Numbers of a store's own health, cheap to read. What is not known is `None`: not every store has
/// all of them, and on a server it depends on what our role may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Vitals {
    /// Rows that were deleted or changed and not vacuumed yet, over the store's tables.
    pub dead_rows: Option<u64>,
    /// How long the oldest snapshot or transaction is held that keeps them there, in seconds; 0
    /// while there is none.
    pub snapshot_age_s: Option<f64>,
    /// Bytes of the write-ahead log: those that a recovery would replay (Postgres), or the size of
    /// its file (SQLite).
    pub wal_bytes: Option<u64>,
    /// How long the connection that listens for rings needed lately to answer (Postgres), or how
    /// far apart the last two looks for commits of others were (SQLite), in seconds. Known to
    /// processes that wait for jobs or results.
    pub doorbell_lag_s: Option<f64>,
}

/// One thing that a look at a store's health found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at ("wal", "clock"); stable.
    pub check: &'static str,
    /// What was found, for people.
    pub value: String,
    /// What to make of it.
    pub verdict: Verdict,
    /// What to do about it; `None` when all is well.
    pub advice: Option<String>,
}

/// What to make of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Somebody should look at it.
    Warning,
    /// Jobs are lost, late or in danger until somebody acts.
    Bad,
}

impl Verdict {
    /// Returns the word used in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// A backup that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Jobs on record in it.
    pub jobs: u64,
}

/// A store that was restored from a backup.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// Where it is.
    pub path: PathBuf,
    /// Jobs on record in it.
    pub jobs: u64,
    /// Attempts that were active in the backup; their jobs are pending again.
    pub leases_ended: u64,
    /// Where the store went that was there before.
    pub aside: Option<PathBuf>,
}

/// Returns seconds with milliseconds, as JSON shows ages.
pub(crate) fn seconds(age: Duration) -> f64 {
    (age.as_millis() as f64) / 1000.0
}
