//! Jobs, attempts, queues and workers as the API shows them: the names of a job's metadata, times
//! in RFC 3339, numbers of 64 bits that name something as strings.

use std::collections::BTreeMap;

use dutiful::{
    AttemptInfo, AttemptOutcome, Counts, DeadReason, Delivery, Failure, JobId, JobInfo, LogLine,
    Name, Progress, QueueInfo, State, Timestamp, WorkerInfo, WorkerState,
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Everything about one job.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobView {
    #[schema(value_type = String, format = Uuid)]
    id: JobId,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    job_type: Name,
    #[schema(value_type = StateView)]
    state: State,
    #[schema(value_type = String)]
    queue: Name,
    /// 0 to 1000, lower runs first.
    priority: u16,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    payload_bytes: usize,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it may run (again).
    #[schema(value_type = String, format = DateTime)]
    scheduled_for: Timestamp,
    /// Claims so far.
    attempt: u32,
    /// Errors and timeouts so far.
    failures: u32,
    /// Stalls in a row.
    crashes: u32,
    /// Failures after which it is dead.
    max_attempts: u32,
    timeout_ms: u64,
    /// The caller's correlation id, else the job's id.
    correlation_id: String,
    trace_parent: Option<String>,
    group: Option<String>,
    unique_key: Option<String>,
    tags: Vec<String>,
    #[schema(value_type = DeliveryView)]
    delivery: Delivery,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_attempt_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    #[schema(value_type = Option<FailureView>)]
    last_error: Option<Failure>,
    /// Why it is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DeadReasonView>)]
    dead_reason: Option<DeadReason>,
    /// What the handler returned; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProgressView>)]
    progress: Option<Progress>,
    /// What the handler kept for the next attempt; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    checkpoint: Option<Box<RawValue>>,
    /// The attempts, oldest first; absent in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<AttemptView>,
}

impl From<JobInfo> for JobView {
    fn from(job: JobInfo) -> Self {
        Self {
            id: job.id,
            job_type: job.job_type,
            state: job.state,
            queue: job.queue,
            priority: job.priority,
            payload: job.payload,
            payload_bytes: job.payload_bytes,
            created_at: job.created_at,
            scheduled_for: job.scheduled_for,
            attempt: job.attempt,
            failures: job.failures,
            crashes: job.crashes,
            max_attempts: job.max_attempts,
            timeout_ms: job.timeout_ms,
            correlation_id: job.correlation_id,
            trace_parent: job.trace_parent,
            group: job.group,
            unique_key: job.unique_key,
            tags: job.tags,
            delivery: job.delivery,
            last_attempt_at: job.last_attempt_at,
            finished_at: job.finished_at,
            last_error: job.last_error,
            dead_reason: job.dead_reason,
            result: job.result,
            progress: job.progress,
            checkpoint: job.checkpoint,
            attempts: job.attempts.into_iter().map(AttemptView::from).collect(),
        }
    }
}

/// One attempt of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptView {
    /// From 1.
    number: u32,
    /// The id of the worker that ran it.
    worker: String,
    /// Host and process of the worker, if still known.
    worker_name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    #[schema(value_type = OutcomeView)]
    outcome: AttemptOutcome,
    #[schema(value_type = Option<FailureView>)]
    error: Option<Failure>,
    /// The last lines that it logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<LogLineView>)]
    log: Vec<LogLine>,
}

impl From<AttemptInfo> for AttemptView {
    fn from(one: AttemptInfo) -> Self {
        Self {
            number: one.number,
            worker: one.worker.0.to_string(),
            worker_name: one.worker_name,
            started_at: one.started_at,
            finished_at: one.finished_at,
            outcome: one.outcome,
            error: one.error,
            log: one.log,
        }
    }
}

/// A worker, as it registered itself and was last heard of.
#[derive(Serialize, ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerView {
    id: String,
    /// Host and process.
    name: String,
    /// The number of its process on its host; null for workers that speak HTTP.
    pid: Option<u32>,
    /// The queues it serves, with their slots.
    #[schema(value_type = BTreeMap<String, usize>)]
    queues: BTreeMap<Name, usize>,
    #[schema(value_type = Vec<String>)]
    types: Vec<Name>,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// Its last sign of life.
    #[schema(value_type = String, format = DateTime)]
    beat_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    stopped_at: Option<Timestamp>,
    /// Leases that it holds now.
    running: u64,
    /// True while it was told to claim nothing.
    quiet: bool,
    #[schema(value_type = WorkerStateView)]
    state: WorkerState,
}

impl From<WorkerInfo> for WorkerView {
    fn from(worker: WorkerInfo) -> Self {
        Self {
            id: worker.id.0.to_string(),
            name: worker.name,
            pid: Some(worker.pid).filter(|pid| *pid > 0),
            queues: worker.queues,
            types: worker.types,
            started_at: worker.started_at,
            beat_at: worker.beat_at,
            stopped_at: worker.stopped_at,
            running: worker.running,
            quiet: worker.quiet,
            state: worker.state,
        }
    }
}

/// A queue and how many jobs stand in it.
#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    #[schema(value_type = String)]
    queue: Name,
    #[serde(flatten)]
    #[schema(value_type = CountsView)]
    counts: Counts,
    /// Age of the oldest due job.
    oldest_pending_s: f64,
    /// How long ago the time of a scheduled job came that nobody moved to its queue; else 0.
    overdue_s: f64,
    /// True while no claims are allowed.
    paused: bool,
}

impl From<QueueInfo> for QueueView {
    fn from(one: QueueInfo) -> Self {
        Self {
            queue: one.queue,
            counts: one.counts,
            oldest_pending_s: one.oldest_pending_s,
            overdue_s: one.overdue_s,
            paused: one.paused,
        }
    }
}

/// The name of a queue or a type.
#[derive(ToSchema)]
#[schema(as = Name, pattern = "^[A-Za-z0-9_.:-]{1,128}$")]
#[allow(dead_code, reason = "the library's own type is what is read")]
pub(crate) struct NameView(String);

/// A group, key, tag or correlation id: any text without NUL of 1 to 255 bytes.
#[derive(ToSchema)]
#[schema(as = Text, pattern = "^[ -~]{1,255}$")]
#[allow(dead_code, reason = "the library's own type is what is read")]
pub(crate) struct TextView(String);

/// The id of a job.
#[derive(ToSchema)]
#[schema(as = JobId, format = Uuid)]
#[allow(dead_code, reason = "the library's own type is what is read")]
pub(crate) struct IdView(String);

/// The right to write about one attempt, as it came with the job.
#[derive(ToSchema)]
#[schema(as = Fence, pattern = "^[0-9a-f-]{36}~[0-9]+~[0-9a-f]{16}$")]
#[allow(dead_code, reason = "the server's own type is what is read")]
pub(crate) struct FenceView(String);

/// Gives a type of the library the schema of a shape that is written here.
macro_rules! words {
    ($(#[$doc:meta])* $view:ident as $name:ident: $($word:ident),*) => {
        $(#[$doc])*
        #[derive(ToSchema)]
        #[schema(as = $name, rename_all = "snake_case")]
        #[allow(dead_code, reason = "the library's own type is what is shown")]
        pub(crate) enum $view { $($word),* }
    };
}

words! {
    /// Where a job stands in its life.
    StateView as State:
    Pending, Scheduled, Active, Completed, Failed, Dead, Stalled, Cancelled
}
words! {
    /// What a crash does to a job.
    DeliveryView as Delivery: AtLeastOnce, AtMostOnce
}
words! {
    /// Why a job is dead.
    DeadReasonView as DeadReason: Exhausted, Discarded, Quarantined
}
words! {
    /// How an attempt ended.
    OutcomeView as Outcome:
    Running, Completed, Failed, Dead, Snoozed, Released, Stalled, Cancelled, Unknown
}
words! {
    /// Whether a worker can be counted on.
    WorkerStateView as WorkerState: Alive, Silent, Stopped
}
words! {
    /// Whether an enqueue stored a new job, one with this id was there, or a live job has its key.
    EnqueueOutcomeView as EnqueueOutcome: New, Exists, Duplicate
}

/// An error as it is kept.
#[derive(ToSchema)]
#[schema(as = Failure)]
#[allow(dead_code, reason = "the library's own type is what is shown")]
pub(crate) struct FailureView {
    /// A short word to group by.
    class: String,
    message: String,
}

/// How far an attempt has come, in its handler's words.
#[derive(ToSchema)]
#[schema(as = Progress)]
#[allow(dead_code, reason = "the library's own type is what is shown")]
pub(crate) struct ProgressView {
    #[schema(maximum = 100)]
    percent: u8,
    note: Option<String>,
    #[schema(format = DateTime)]
    at: String,
}

/// A line that a handler logged.
#[derive(ToSchema)]
#[schema(as = LogLine)]
#[allow(dead_code, reason = "the library's own type is what is shown")]
pub(crate) struct LogLineView {
    /// From 1; a gap at the start means that older lines made room.
    number: u32,
    #[schema(format = DateTime)]
    at: String,
    text: String,
}

/// How many jobs stand in each state.
#[derive(ToSchema)]
#[schema(as = Counts)]
#[allow(dead_code, reason = "the library's own type is what is shown")]
pub(crate) struct CountsView {
    /// Due and waiting for a worker.
    pending: u64,
    /// Waiting for a time.
    scheduled: u64,
    /// Under a lease.
    active: u64,
    /// Waiting for a retry.
    failed: u64,
    /// Succeeded, still on record.
    completed: u64,
    /// In the dead letter queue.
    dead: u64,
    /// Stopped, still on record.
    cancelled: u64,
    /// Leases rescued since the store was made.
    stalled_total: u64,
}
