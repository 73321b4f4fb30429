//! `claim`: which jobs a worker gets, in which order, within which bounds.

use dutiful::store::{ClaimRequest, Claimed, Lane};
use dutiful::{Delivery, Fence, JobId, Timestamp};

use super::{Done, Job, Lease, Model, Outcome, Place, Ran};

/// What is left of the bounds of a claim.
struct Left {
    jobs: usize,
    bytes: usize,
    crashed: usize,
    /// The next payload did not fit, and no later job may overtake it.
    full: bool,
}

impl Model {
    /// Serves the lanes in turn, until nothing is left of the whole.
    ///
    /// A thousand foreign, crashed or at-most-once jobs in the way are a story of their own (the
    /// conformance tests tell it): here a claim looks at the whole queue.
    pub(crate) fn claim(&mut self, ask: &ClaimRequest) -> Vec<Claimed> {
        let mut left =
            Left { jobs: ask.limit, bytes: ask.bytes, crashed: ask.crashed, full: false };
        let mut claimed = Vec::new();
        for lane in &ask.lanes {
            let paused = self.queues.get(&lane.queue).is_some_and(|queue| queue.paused);
            if !paused {
                self.claim_lane(ask, lane, &mut left, &mut claimed);
            }
        }
        claimed
    }

    fn claim_lane(
        &mut self,
        ask: &ClaimRequest,
        lane: &Lane,
        left: &mut Left,
        claimed: &mut Vec<Claimed>,
    ) {
        let (mut room, mut at_most_once) = (lane.limit, lane.at_most_once);
        for (id, run_at) in self.front(lane) {
            if room == 0 || left.jobs == 0 || left.full {
                return;
            }
            let job = &self.jobs[&id];
            let (bytes, once) = (job.record.payload.len(), is_at_most_once(job));
            let is_passed_over = !ask.types.contains(&job.record.job_type)
                || (once && at_most_once == 0)
                || (job.crashes > 0 && left.crashed == 0);
            if is_passed_over {
                continue;
            }
            // One job is always given, however large.
            if bytes > left.bytes && !claimed.is_empty() {
                left.full = true;
                return;
            }
            room -= 1;
            left.jobs -= 1;
            left.bytes = left.bytes.saturating_sub(bytes);
            left.crashed -= usize::from(job.crashes > 0);
            at_most_once -= usize::from(once);
            claimed.push(self.take(id, run_at, ask));
        }
    }

    /// The due jobs of a queue: the lower priority number first, then the older due time, then the
    /// smaller id.
    fn front(&self, lane: &Lane) -> Vec<(JobId, Timestamp)> {
        let mut front: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.record.queue == lane.queue)
            .filter_map(|(id, job)| match job.place {
                Place::Ready { run_at } => Some((job.record.priority, run_at, *id)),
                _ => None,
            })
            .collect();
        front.sort_unstable();
        front.into_iter().map(|(_, run_at, id)| (id, run_at)).collect()
    }

    /// Leases one job. The attempt is counted here, so that a job that kills its worker is counted
    /// too; an at-most-once job is done here, so that a crash can lose it and never repeats it.
    fn take(&mut self, id: JobId, run_at: Timestamp, ask: &ClaimRequest) -> Claimed {
        let (now, nonce, worker) = (self.now, self.nonce, ask.worker);
        let job = self.jobs.get_mut(&id).expect("the front is made of jobs");
        job.attempt += 1;
        let claimed = hand_over(job, run_at, Fence { id, attempt: job.attempt, nonce }, now);
        if is_at_most_once(job) {
            job.crashes = 0;
            job.place = Place::Done(Done {
                outcome: Outcome::Unheard,
                ran: Some(Ran { worker, nonce, started_at: now }),
                finished_at: now,
                error: None,
                result: None,
            });
            self.free_key(id);
        } else {
            let until = now.plus(ask.lease);
            let lease = Lease { nonce, worker, until, claimed_at: now, cancel: false };
            job.place = Place::Lease(lease);
        }
        claimed
    }
}

fn is_at_most_once(job: &Job) -> bool {
    job.record.delivery == Delivery::AtMostOnce
}

fn hand_over(job: &Job, run_at: Timestamp, fence: Fence, claimed_at: Timestamp) -> Claimed {
    let given = &job.record;
    Claimed {
        fence,
        job_type: given.job_type.clone(),
        queue: given.queue.clone(),
        payload: given.payload.clone(),
        failures: job.failures,
        crashes: job.crashes,
        max_attempts: given.max_attempts,
        timeout: given.timeout,
        delivery: given.delivery,
        unique: given.unique_key.is_some(),
        created_at: job.created_at,
        run_at,
        claimed_at,
        correlation_id: given.correlation_id.clone(),
        trace_parent: given.trace_parent.clone(),
        group: given.group.clone(),
    }
}
