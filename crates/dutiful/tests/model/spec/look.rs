//! `show`, `result` and `list`: what can be seen of a job.

use dutiful::store::DeadReason;
use dutiful::{AttemptInfo, AttemptOutcome, Filter, JobId, JobInfo, JobResult, State, Timestamp};
use serde_json::value::RawValue;

use super::{Dead, Done, Job, Lease, Model, Outcome, Place, Wait};

impl Model {
    /// Returns all that is known of a job.
    pub(crate) fn show(&self, id: JobId) -> Option<JobInfo> {
        let job = self.jobs.get(&id)?;
        let mut attempts = job.log.clone();
        attempts.extend(job.last_attempt());
        for one in &mut attempts {
            one.worker_name = self.workers.get(&one.worker).map(|worker| worker.name.clone());
            one.log = self.lines_of(id, one.number);
        }
        let payload = Some(raw(&job.record.payload));
        let result = job.result().map(raw);
        let checkpoint = job.checkpoint.as_deref().map(raw);
        Some(JobInfo { payload, result, checkpoint, attempts, ..self.brief(id, job) })
    }

    /// Returns how these jobs ended, or where they stand meanwhile.
    pub(crate) fn result(&self, ids: &[JobId]) -> Vec<Option<JobResult>> {
        let result = |id: &JobId| {
            let job = self.jobs.get(id)?;
            let (state, error) = (job.state(self.now), job.error());
            Some(JobResult { id: *id, state, result: job.result().map(raw), error })
        };
        ids.iter().map(result).collect()
    }

    /// Returns all jobs that fit, newest first; pages are cut from this.
    pub(crate) fn list(&self, filter: &Filter) -> Vec<JobInfo> {
        let all = self.jobs.iter().rev().map(|(id, job)| self.brief(*id, job));
        all.filter(|job| fits(job, filter)).collect()
    }

    /// Returns what lists show of a job: all but its payload, result and attempts.
    fn brief(&self, id: JobId, job: &Job) -> JobInfo {
        let given = &job.record;
        let last = job.last_attempt().or_else(|| job.log.last().cloned());
        JobInfo {
            id,
            job_type: given.job_type.clone(),
            state: job.state(self.now),
            queue: given.queue.clone(),
            priority: given.priority,
            payload: None,
            payload_bytes: given.payload.len(),
            created_at: job.created_at,
            scheduled_for: job.scheduled_for(),
            attempt: job.attempt,
            failures: job.failures,
            crashes: job.crashes,
            max_attempts: given.max_attempts,
            timeout_ms: given.timeout.as_millis() as u64,
            correlation_id: given.correlation_id.clone().unwrap_or_else(|| id.to_string()),
            trace_parent: given.trace_parent.clone(),
            group: given.group.clone(),
            unique_key: given.unique_key.clone(),
            tags: given.tags.clone(),
            delivery: given.delivery,
            last_attempt_at: last.map(|last| last.started_at),
            finished_at: job.finished_at(),
            last_error: job.last_error(),
            dead_reason: job.dead_reason(),
            result: None,
            progress: job.progress.clone(),
            checkpoint: None,
            attempts: Vec::new(),
        }
    }
}

impl Job {
    /// The place is the state; of a lease it depends on the time.
    pub(crate) fn state(&self, now: Timestamp) -> State {
        match &self.place {
            Place::Ready { .. } => State::Pending,
            Place::Scheduled { wait: Wait::Retry, .. } => State::Failed,
            Place::Scheduled { wait: Wait::Time, .. } => State::Scheduled,
            Place::Lease(lease) if lease.until < now => State::Stalled,
            Place::Lease(_) => State::Active,
            Place::Done(done) if done.outcome == Outcome::Cancelled => State::Cancelled,
            Place::Done(_) => State::Completed,
            Place::Dead(_) => State::Dead,
        }
    }

    /// A job that waits says until when, or since when it is due; any other what it was given.
    fn scheduled_for(&self) -> Timestamp {
        match self.place {
            Place::Ready { run_at } | Place::Scheduled { run_at, .. } => run_at,
            _ => self.asked_for.unwrap_or(self.created_at),
        }
    }

    fn finished_at(&self) -> Option<Timestamp> {
        match &self.place {
            Place::Done(done) => Some(done.finished_at),
            Place::Dead(dead) => Some(dead.finished_at),
            _ => None,
        }
    }

    fn dead_reason(&self) -> Option<DeadReason> {
        match &self.place {
            Place::Dead(dead) => Some(dead.reason),
            _ => None,
        }
    }

    fn result(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Done(done) => done.result.as_deref(),
            _ => None,
        }
    }

    /// What the last attempt failed with, while the job stands where that attempt left it.
    fn error(&self) -> Option<dutiful::Failure> {
        match &self.place {
            Place::Scheduled { wait: Wait::Retry, .. } => self.log.last()?.error.clone(),
            _ => self.last_attempt()?.error,
        }
    }

    /// What the job's last attempt failed with; while one runs, or when it went well, what the one
    /// before failed with.
    fn last_error(&self) -> Option<dutiful::Failure> {
        let here = self.last_attempt().and_then(|last| last.error);
        here.or_else(|| self.log.last().and_then(|last| last.error.clone()))
    }

    /// The attempt that the place tells of: the one that runs, or that the job ended with.
    fn last_attempt(&self) -> Option<AttemptInfo> {
        let (ran, finished_at, outcome, error) = match &self.place {
            Place::Lease(Lease { worker, claimed_at, .. }) => {
                ((*worker, *claimed_at), None, AttemptOutcome::Running, None)
            }
            Place::Done(Done { ran: Some(ran), finished_at, outcome, error, .. }) => {
                let outcome = match outcome {
                    Outcome::Completed => AttemptOutcome::Completed,
                    Outcome::Cancelled => AttemptOutcome::Cancelled,
                    Outcome::Unheard => AttemptOutcome::Unknown,
                    Outcome::FailedOnce => AttemptOutcome::Failed,
                };
                ((ran.worker, ran.started_at), Some(*finished_at), outcome, error.clone())
            }
            Place::Dead(Dead { reason, ran, finished_at, error }) => {
                let outcome = match reason {
                    DeadReason::Quarantined => AttemptOutcome::Stalled,
                    _ => AttemptOutcome::Dead,
                };
                ((ran.worker, ran.started_at), Some(*finished_at), outcome, Some(error.clone()))
            }
            _ => return None,
        };
        let (worker, started_at) = ran;
        let number = self.attempt;
        let (worker_name, log) = (None, Vec::new());
        Some(AttemptInfo {
            number,
            worker,
            worker_name,
            started_at,
            finished_at,
            outcome,
            error,
            log,
        })
    }
}

/// Whether a job meets all that the filter asks. The text of an error is found anywhere in it, in
/// upper or lower case; all other texts are whole, and as they were given.
fn fits(job: &JobInfo, filter: &Filter) -> bool {
    let has_text = |text: &String| {
        let text = text.to_lowercase();
        let error = job.last_error.iter().flat_map(|error| [&error.class, &error.message]);
        error.into_iter().any(|said| said.to_lowercase().contains(&text))
    };
    filter.before.is_none_or(|before| job.id < before)
        && filter.state.is_none_or(|wanted| wanted == job.state)
        && !(filter.live && job.state.is_final())
        && filter.queue.as_ref().is_none_or(|queue| *queue == job.queue)
        && filter.job_type.as_ref().is_none_or(|one| *one == job.job_type)
        && filter.group.as_ref().is_none_or(|group| Some(group) == job.group.as_ref())
        && filter.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
        && filter.correlation_id.as_ref().is_none_or(|one| *one == job.correlation_id)
        && filter.since.is_none_or(|since| job.created_at >= since)
        && filter.until.is_none_or(|until| job.created_at < until)
        && filter.error.as_ref().is_none_or(has_text)
}

fn raw(bytes: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8(bytes.to_vec()).expect("histories hand in JSON");
    RawValue::from_string(text).expect("histories hand in JSON")
}
