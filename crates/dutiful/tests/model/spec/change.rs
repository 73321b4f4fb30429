//! Changes by id: cancel, retry, discard, reschedule, delete; and pausing a queue.

use dutiful::store::{Change, DeadReason};
use dutiful::{AttemptInfo, AttemptOutcome, JobId, Name, State, Timestamp};

use super::{Dead, Done, Job, Model, Outcome, Place, Ran, Wait};

impl Model {
    /// Waiting jobs end at once, unrun; of active ones the worker is asked.
    pub(crate) fn cancel(&mut self, ids: &[JobId]) -> Vec<Change> {
        self.each(ids, |model, id, state| match state {
            State::Pending | State::Scheduled | State::Failed => {
                model.end_unrun(id);
                model.free_key(id);
                Change::Done
            }
            State::Active | State::Stalled => {
                if let Place::Lease(lease) = &mut model.job(id).place {
                    lease.cancel = true;
                }
                Change::Requested
            }
            _ => Change::Refused { state },
        })
    }

    /// Dead and cancelled jobs begin anew, with a clean slate; failed ones go on at once, charged
    /// as they are. Both need their key for that, if they have one.
    pub(crate) fn retry(&mut self, ids: &[JobId]) -> Vec<Change> {
        self.each(ids, |model, id, state| {
            if !matches!(state, State::Dead | State::Cancelled | State::Failed) {
                return Change::Refused { state };
            }
            if let Some(key) = model.job(id).record.unique_key.clone() {
                let holder = *model.keys.entry(key).or_insert(id);
                if holder != id {
                    return Change::Conflict { holder };
                }
            }
            let run_at = model.now;
            let job = model.job(id);
            if state != State::Failed {
                job.log_last();
                job.failures = 0;
                job.crashes = 0;
            }
            job.place = Place::Ready { run_at };
            Change::Done
        })
    }

    /// Dead jobs count as cancelled from now on; why they died stays in their log.
    pub(crate) fn discard(&mut self, ids: &[JobId]) -> Vec<Change> {
        self.each(ids, |model, id, state| {
            if state != State::Dead {
                return Change::Refused { state };
            }
            model.job(id).log_last();
            model.end_unrun(id);
            Change::Done
        })
    }

    /// Waiting jobs wait for this time instead; one that waits for its retry still does.
    pub(crate) fn reschedule(&mut self, ids: &[JobId], at: Timestamp) -> Vec<Change> {
        self.each(ids, |model, id, state| {
            let wait = match state {
                State::Pending | State::Scheduled => Wait::Time,
                State::Failed => Wait::Retry,
                _ => return Change::Refused { state },
            };
            model.job(id).place = Place::Scheduled { run_at: at, wait };
            Change::Done
        })
    }

    /// Everything but an active job goes without a trace.
    pub(crate) fn delete(&mut self, ids: &[JobId]) -> Vec<Change> {
        self.each(ids, |model, id, state| {
            if matches!(state, State::Active | State::Stalled) {
                return Change::Refused { state };
            }
            model.erase(id);
            Change::Done
        })
    }

    /// The jobs that wait in a queue: one `clear` takes no others.
    pub(crate) fn waiting_in(&self, queue: &Name) -> Vec<JobId> {
        let waits = |job: &Job| matches!(job.place, Place::Ready { .. } | Place::Scheduled { .. });
        let here = self.jobs.iter().filter(|(_, job)| job.record.queue == *queue && waits(job));
        here.map(|(id, _)| *id).collect()
    }

    /// Of the jobs that wait in a queue as many as asked for go without a trace, or all. Which of
    /// them is the store's affair: the model is told.
    ///
    /// A limit of 0 counts as 1, for the answer 0 says that none waits.
    pub(crate) fn clear(&mut self, queue: &Name, limit: usize, gone: &[JobId]) -> usize {
        let number = self.waiting_in(queue).len().min(limit.max(1));
        gone.iter().for_each(|id| self.erase(*id));
        number
    }

    /// Says whether the queue was the other way before.
    pub(crate) fn pause(&mut self, queue: &Name, paused: bool) -> bool {
        let queue = self.queues.entry(queue.clone()).or_default();
        std::mem::replace(&mut queue.paused, paused) != paused
    }

    pub(super) fn erase(&mut self, id: JobId) {
        self.jobs.remove(&id);
        self.free_key(id);
    }

    /// Answers for each id in turn; an id twice in a batch meets what its first turn left.
    fn each(
        &mut self,
        ids: &[JobId],
        mut change: impl FnMut(&mut Self, JobId, State) -> Change,
    ) -> Vec<Change> {
        let mut answers = Vec::new();
        for id in ids {
            let state = self.jobs.get(id).map(|job| job.state(self.now));
            answers.push(match state {
                Some(state) => change(self, *id, state),
                None => Change::NotFound,
            });
        }
        answers
    }

    fn job(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).expect("its state was asked just now")
    }

    /// Ends a job as cancelled, with no attempt to show for it.
    fn end_unrun(&mut self, id: JobId) {
        let (outcome, finished_at) = (Outcome::Cancelled, self.now);
        let done = Done { outcome, ran: None, finished_at, error: None, result: None };
        let job = self.job(id);
        job.place = Place::Done(done);
        job.crashes = 0;
    }
}

impl Job {
    /// Moves the attempt that the place tells of to the log, before the job leaves that place.
    fn log_last(&mut self) {
        let (ran, finished_at, outcome, error) = match &self.place {
            Place::Dead(Dead { reason: DeadReason::Quarantined, ran, finished_at, error }) => {
                (*ran, *finished_at, AttemptOutcome::Stalled, Some(error.clone()))
            }
            Place::Dead(Dead { ran, finished_at, error, .. }) => {
                (*ran, *finished_at, AttemptOutcome::Dead, Some(error.clone()))
            }
            Place::Done(Done { ran: Some(ran), finished_at, .. }) => {
                (*ran, *finished_at, AttemptOutcome::Cancelled, None)
            }
            _ => return,
        };
        let Ran { worker, started_at, .. } = ran;
        self.log.push(AttemptInfo {
            number: self.attempt,
            worker,
            worker_name: None,
            started_at,
            finished_at: Some(finished_at),
            outcome,
            error,
            log: Vec::new(),
        });
    }
}
