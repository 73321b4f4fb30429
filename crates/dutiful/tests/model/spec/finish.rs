//! `finish`: how an attempt ended, and what becomes of its job.

use dutiful::store::{End, Failure, Finish, Held};
use dutiful::{AttemptInfo, AttemptOutcome, Delivery, Timestamp, WorkerId};

use super::{Dead, Done, Model, Outcome, Place, Ran, Wait};

impl Model {
    /// Writes each end in turn; of two with one fence the first counts.
    pub(crate) fn finish(&mut self, worker: WorkerId, ends: &[Finish]) -> Vec<Held> {
        ends.iter().map(|one| self.finish_one(worker, one)).collect()
    }

    fn finish_one(&mut self, worker: WorkerId, one: &Finish) -> Held {
        if one.delivery == Delivery::AtMostOnce {
            return self.finish_late(one);
        }
        // An expired lease that nobody rescued still counts: the work is done, after all.
        let Some(lease) = self.lease(one.fence) else { return Held::Lost };
        let (asked_to_cancel, nonce) = (lease.cancel, lease.nonce);
        let ran = Ran { worker, nonce, started_at: one.started_at };
        match &one.end {
            End::Completed(result) => self.end(one, ran, Outcome::Completed, result.clone()),
            End::Cancelled => self.end(one, ran, Outcome::Cancelled, None),
            End::Dead(failure, reason) => {
                self.count_failed(one, failure);
                let (reason, error) = (*reason, failure.clone());
                let dead = Dead { reason, ran, finished_at: finished_at(one), error };
                self.put(one, Place::Dead(dead), one.failures.saturating_add(1));
                self.free_key(one.fence.id);
            }
            End::Failed(failure, wait) => {
                let place = Place::Scheduled { run_at: self.now.plus(*wait), wait: Wait::Retry };
                self.count_failed(one, failure);
                self.put(one, place, one.failures.saturating_add(1));
                self.log(worker, one, AttemptOutcome::Failed, Some(failure.clone()));
            }
            End::Snoozed(wait) => {
                let place = Place::Scheduled { run_at: self.now.plus(*wait), wait: Wait::Time };
                self.put(one, place, one.failures);
                self.log(worker, one, AttemptOutcome::Snoozed, None);
            }
            End::Released => {
                self.put(one, Place::Ready { run_at: self.now }, one.failures);
                self.log(worker, one, AttemptOutcome::Released, None);
            }
        }
        // A request to cancel that came too late for the handler is not too late for the next
        // attempt. What ended for good stays as it ended.
        let runs_again = matches!(one.end, End::Failed(..) | End::Snoozed(_) | End::Released);
        if asked_to_cancel && runs_again {
            self.cancel(&[one.fence.id]);
        }
        Held::Yes
    }

    /// An at-most-once job is done since its claim; all that is left is to note how it went, once.
    /// One that was given back unrun stays unheard of: it is never run again, and nobody knows.
    fn finish_late(&mut self, one: &Finish) -> Held {
        let Some(done) = self.unheard(one.fence) else { return Held::Lost };
        done.finished_at = finished_at(one);
        match &one.end {
            End::Completed(result) => {
                done.outcome = Outcome::Completed;
                done.result = result.clone();
            }
            End::Released => {}
            End::Failed(failure, _) | End::Dead(failure, _) => {
                done.outcome = Outcome::FailedOnce;
                done.error = Some(failure.clone());
                self.count_failed(one, failure);
            }
            End::Snoozed(_) | End::Cancelled => done.outcome = Outcome::FailedOnce,
        }
        Held::Yes
    }

    fn count_failed(&mut self, one: &Finish, failure: &Failure) {
        let classes = self.failed.entry((one.queue.clone(), one.job_type.clone())).or_default();
        *classes.entry(failure.class.clone()).or_default() += 1;
    }

    /// Ends the job for good, and frees its key.
    fn end(&mut self, one: &Finish, ran: Ran, outcome: Outcome, result: Option<Vec<u8>>) {
        let (ran, finished_at) = (Some(ran), finished_at(one));
        let done = Done { outcome, ran, finished_at, error: None, result };
        self.put(one, Place::Done(done), one.failures);
        self.free_key(one.fence.id);
    }

    /// Moves the job. Any outcome ends a row of crashes: the worker lived to tell it.
    fn put(&mut self, one: &Finish, place: Place, failures: u32) {
        let job = self.jobs.get_mut(&one.fence.id).expect("a lease is of a job");
        job.place = place;
        job.failures = failures;
        job.crashes = 0;
    }

    fn log(
        &mut self,
        worker: WorkerId,
        one: &Finish,
        outcome: AttemptOutcome,
        error: Option<Failure>,
    ) {
        let job = self.jobs.get_mut(&one.fence.id).expect("a lease is of a job");
        job.log.push(AttemptInfo {
            number: one.fence.attempt,
            worker,
            worker_name: None,
            started_at: one.started_at,
            finished_at: Some(finished_at(one)),
            outcome,
            error,
            log: Vec::new(),
        });
    }
}

/// The worker measures how long it ran; where that began is the store's time.
fn finished_at(one: &Finish) -> Timestamp {
    one.started_at.plus(one.ran)
}
