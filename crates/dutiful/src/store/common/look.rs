//! What a job looks like, made of its place's row, its record and the log of its attempts.

use serde_json::value::RawValue;

use super::stored;
use crate::clock::Timestamp;
use crate::id::{JobId, Name, WorkerId};
use crate::inspect::{AttemptInfo, AttemptOutcome, JobInfo, JobResult};
use crate::job::{Delivery, State};
use crate::store::Failure;

/// The row of the place where a job stands.
pub(in crate::store) struct Standing {
    /// 1 ready, 2 scheduled, 3 lease, 4 done, 5 dead.
    pub(in crate::store) place: i64,
    /// The reason or the outcome there; of a lease its end in µs.
    pub(in crate::store) detail: i64,
    pub(in crate::store) attempt: u32,
    pub(in crate::store) failures: u32,
    pub(in crate::store) crashes: u32,
    /// 0: no attempt belongs to the row.
    pub(in crate::store) worker: i64,
    pub(in crate::store) started_at: Option<Timestamp>,
    pub(in crate::store) finished_at: Option<Timestamp>,
    pub(in crate::store) run_at: Option<Timestamp>,
    pub(in crate::store) error: Option<Failure>,
    pub(in crate::store) result: Option<Vec<u8>>,
}

/// What was stored of a job at its enqueue.
pub(in crate::store) struct Stored {
    pub(in crate::store) job_type: Name,
    pub(in crate::store) queue: Name,
    pub(in crate::store) priority: u16,
    /// `None` where it is not asked for.
    pub(in crate::store) payload: Option<Vec<u8>>,
    pub(in crate::store) payload_bytes: usize,
    pub(in crate::store) created_at: Timestamp,
    pub(in crate::store) scheduled_for: Option<Timestamp>,
    pub(in crate::store) max_attempts: u32,
    pub(in crate::store) timeout_ms: u64,
    pub(in crate::store) correlation_id: Option<String>,
    pub(in crate::store) trace_parent: Option<String>,
    pub(in crate::store) group: Option<String>,
    pub(in crate::store) unique_key: Option<String>,
    pub(in crate::store) tags: Vec<String>,
    pub(in crate::store) at_most_once: bool,
}

/// The last attempt in the log.
pub(in crate::store) struct Logged {
    pub(in crate::store) number: u32,
    pub(in crate::store) started_at: Timestamp,
    pub(in crate::store) error: Option<Failure>,
}

impl Standing {
    /// Returns the state that this row stands for.
    pub(in crate::store) fn state(&self, now: Timestamp) -> State {
        stored::state_of(self.place, self.detail, now)
    }

    /// Returns the job without result, progress and attempts.
    pub(in crate::store) fn describe(&self, id: JobId, job: Stored, now: Timestamp) -> JobInfo {
        let state = self.state(now);
        JobInfo {
            id,
            job_type: job.job_type,
            state,
            queue: job.queue,
            priority: job.priority,
            payload: job.payload.as_deref().and_then(raw),
            payload_bytes: job.payload_bytes,
            created_at: job.created_at,
            scheduled_for: self.run_at.or(job.scheduled_for).unwrap_or(job.created_at),
            attempt: self.attempt,
            failures: self.failures,
            crashes: self.crashes,
            max_attempts: job.max_attempts,
            timeout_ms: job.timeout_ms,
            correlation_id: job.correlation_id.unwrap_or_else(|| id.to_string()),
            trace_parent: job.trace_parent,
            group: job.group,
            unique_key: job.unique_key,
            tags: job.tags,
            delivery: match job.at_most_once {
                true => Delivery::AtMostOnce,
                false => Delivery::AtLeastOnce,
            },
            last_attempt_at: None,
            finished_at: self.finished_at,
            last_error: None,
            dead_reason: (state == State::Dead).then(|| stored::dead_reason(self.detail)),
            result: None,
            progress: None,
            checkpoint: None,
            attempts: Vec::new(),
        }
    }

    /// Adds what the last attempt in the log says, and this row.
    pub(in crate::store) fn add_last(&self, info: &mut JobInfo, logged: Option<Logged>) {
        let here = (self.worker != 0).then_some(self.started_at).flatten();
        info.last_attempt_at = here.or(logged.as_ref().map(|last| last.started_at));
        info.last_error = self.error.clone().or(logged.and_then(|last| last.error));
    }

    /// Adds the attempt that stands in the place's own row to those in the log; at-most-once
    /// failures logged their error too.
    pub(in crate::store) fn add_to_log(&self, log: &mut Vec<AttemptInfo>) {
        let Some(started_at) = self.started_at.filter(|_| self.worker != 0) else { return };
        let error = match log.last() {
            Some(last) if last.number == self.attempt => log.pop().and_then(|last| last.error),
            _ => self.error.clone(),
        };
        log.push(AttemptInfo {
            number: self.attempt,
            worker: WorkerId(self.worker),
            worker_name: None,
            started_at,
            finished_at: self.finished_at,
            outcome: match (self.place, self.detail) {
                (stored::IN_LEASE, _) => AttemptOutcome::Running,
                (stored::IN_DONE, stored::CANCELLED) => AttemptOutcome::Cancelled,
                (stored::IN_DONE, stored::UNHEARD) => AttemptOutcome::Unknown,
                (stored::IN_DONE, stored::FAILED_ONCE) => AttemptOutcome::Failed,
                (stored::IN_DONE, _) => AttemptOutcome::Completed,
                (_, 3) => AttemptOutcome::Stalled,
                _ => AttemptOutcome::Dead,
            },
            error,
            log: Vec::new(),
        });
    }

    /// Returns how the job ended; `last` reads the log where its row does not tell the error.
    pub(in crate::store) fn result<E>(
        self,
        id: JobId,
        now: Timestamp,
        last: impl FnOnce() -> Result<Option<Logged>, E>,
    ) -> Result<JobResult, E> {
        let state = self.state(now);
        let error = match (self.error, state) {
            (None, State::Failed | State::Completed) => {
                // When the last attempt went well, the log ends with what went wrong before.
                let last = last()?.filter(|last| last.number == self.attempt);
                last.and_then(|last| last.error)
            }
            (error, _) => error,
        };
        Ok(JobResult { id, state, result: self.result.as_deref().and_then(raw), error })
    }
}

/// Payloads and results were checked when they entered, so this only fails on a damaged store.
pub(in crate::store) fn raw(bytes: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(bytes.to_vec()).ok()?).ok()
}

/// Returns what `outcome` in the log of attempts stands for.
pub(in crate::store) fn logged_outcome(code: i64) -> AttemptOutcome {
    match code {
        stored::LOG_DEAD => AttemptOutcome::Dead,
        stored::LOG_SNOOZED => AttemptOutcome::Snoozed,
        stored::LOG_RELEASED => AttemptOutcome::Released,
        stored::LOG_STALLED => AttemptOutcome::Stalled,
        stored::LOG_CANCELLED => AttemptOutcome::Cancelled,
        _ => AttemptOutcome::Failed,
    }
}
