//! What a store and a server tell, as the pages need it: the API's JSON, which the library's own
//! values turn into as well.

use dutiful::{JobId, State, Timestamp};
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Totals, queues and warnings.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Stats {
    pub(crate) totals: Counts,
    pub(crate) queues: Vec<Queue>,
    pub(crate) warnings: Vec<String>,
}

/// How many jobs stand in each state.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Counts {
    pub(crate) pending: u64,
    pub(crate) scheduled: u64,
    pub(crate) active: u64,
    pub(crate) failed: u64,
    pub(crate) completed: u64,
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    pub(crate) stalled_total: u64,
}

/// A queue and how many jobs stand in it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Queue {
    pub(crate) queue: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    pub(crate) oldest_pending_s: f64,
    pub(crate) paused: bool,
}

/// Queues, as an answer has them.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Queues {
    pub(crate) queues: Vec<Queue>,
}

/// What was counted since the store was made.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Totals {
    pub(crate) bounds_ms: Vec<u64>,
    pub(crate) totals: Vec<TypeTotals>,
}

/// What was counted of one type in one queue.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TypeTotals {
    #[serde(rename = "type")]
    pub(crate) job_type: String,
    pub(crate) enqueued: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) ran: Spread,
    pub(crate) waited: Spread,
}

/// How many durations fell into each bucket.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Spread {
    pub(crate) buckets: Vec<u64>,
}

/// A page of jobs, newest first.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct JobPage {
    pub(crate) jobs: Vec<Job>,
    pub(crate) next: Option<JobId>,
}

/// A job; payload, result, checkpoint and attempts are absent in lists.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    #[serde(rename = "type")]
    pub(crate) job_type: String,
    pub(crate) state: State,
    pub(crate) queue: String,
    pub(crate) priority: u16,
    pub(crate) payload: Option<Box<RawValue>>,
    pub(crate) payload_bytes: usize,
    #[serde(deserialize_with = "time")]
    pub(crate) created_at: Timestamp,
    #[serde(deserialize_with = "time")]
    pub(crate) scheduled_for: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
    pub(crate) max_attempts: u32,
    pub(crate) timeout_ms: u64,
    pub(crate) correlation_id: String,
    pub(crate) trace_parent: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) unique_key: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    pub(crate) delivery: String,
    #[serde(default, deserialize_with = "maybe_time")]
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) last_error: Option<Failure>,
    pub(crate) dead_reason: Option<String>,
    pub(crate) result: Option<Box<RawValue>>,
    pub(crate) progress: Option<Progress>,
    pub(crate) checkpoint: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
}

/// An error as it is kept.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Failure {
    pub(crate) class: String,
    pub(crate) message: String,
}

/// How far an attempt has come, in its handler's words.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Progress {
    pub(crate) percent: u8,
    pub(crate) note: Option<String>,
}

/// One attempt of a job.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) worker_name: Option<String>,
    #[serde(deserialize_with = "time")]
    pub(crate) started_at: Timestamp,
    #[serde(default, deserialize_with = "maybe_time")]
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) outcome: String,
    pub(crate) error: Option<Failure>,
    #[serde(default)]
    pub(crate) log: Vec<LogLine>,
}

/// A line that a handler logged.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LogLine {
    #[serde(deserialize_with = "time")]
    pub(crate) at: Timestamp,
    pub(crate) text: String,
}

/// Dead jobs by cause, the most frequent first.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
    pub(crate) complete: bool,
}

/// Dead jobs of one type with one cause.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) fingerprint: String,
    #[serde(rename = "type")]
    pub(crate) job_type: String,
    pub(crate) class: String,
    pub(crate) message: String,
    pub(crate) count: u64,
    #[serde(deserialize_with = "time")]
    pub(crate) last_at: Timestamp,
}

/// A worker, as it registered itself and was last heard of.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) queues: std::collections::BTreeMap<String, u64>,
    pub(crate) types: Vec<String>,
    #[serde(deserialize_with = "time")]
    pub(crate) started_at: Timestamp,
    #[serde(deserialize_with = "time")]
    pub(crate) beat_at: Timestamp,
    pub(crate) running: u64,
    pub(crate) quiet: bool,
    pub(crate) state: String,
}

/// Workers, as an answer has them.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Workers {
    pub(crate) workers: Vec<Worker>,
}

/// What a change did to each of many jobs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Changes {
    pub(crate) changes: Vec<Changed>,
}

/// What a change did to one job.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub(crate) enum Changed {
    Done,
    Requested,
    NotFound,
    Refused { state: State },
    Conflict { holder: JobId },
}

impl From<Changed> for dutiful::Change {
    fn from(changed: Changed) -> Self {
        match changed {
            Changed::Done => Self::Done,
            Changed::Requested => Self::Requested,
            Changed::NotFound => Self::NotFound,
            Changed::Refused { state } => Self::Refused { state },
            Changed::Conflict { holder } => Self::Conflict { holder },
        }
    }
}

/// Whether pausing changed anything.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Switched {
    pub(crate) changed: bool,
}

/// Turns a value of the library into the shape that the API gives it.
pub(crate) fn shaped<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, String> {
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("read what the store told: {error}"))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|error: dutiful::InvalidJob| D::Error::custom(error))
}

fn maybe_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let time = text.map(|text| text.parse()).transpose();
    time.map_err(|error: dutiful::InvalidJob| D::Error::custom(error))
}
