//! The leadership, and the chores of whoever leads: promote, rescue, prune, fold.

use std::time::Duration;

use dutiful::store::{
    DeadReason, Failure, Leadership, Promoted, RescueRequest, Rescued, Retention,
};
use dutiful::{AttemptInfo, AttemptOutcome, Fence, JobId, Timestamp, WorkerId};

use super::{Dead, Leader, Model, Place, Ran, Suspect};

/// No term lasts longer without being renewed: one that seems to is of a clock that went back.
const TERM_MAX: Duration = Duration::from_secs(60);
/// No lease lasts longer without being renewed: one that seems to is of a clock that went back.
const LEASE_MAX: Duration = Duration::from_secs(25 * 3600);
/// The clock of a client that made an id is ahead by less than this.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a chore comes to; refused, it says which term it is now.
pub(crate) type Chore<T> = Result<T, i64>;

impl Model {
    /// Whoever leads may go on; anybody else waits for the end of the term. Whoever leads after
    /// that, even the same, has a higher one.
    pub(crate) fn lead(&mut self, worker: WorkerId, ttl: Duration) -> Leadership {
        let mut term = 1;
        if let Some(leader) = self.leader {
            let is_over = leader.until < self.now;
            let is_of_another_time = leader.until > self.now.plus(ttl.max(TERM_MAX));
            if leader.worker != worker && !is_over && !is_of_another_time {
                return Leadership { leader: leader.worker, term: leader.term };
            }
            let goes_on = leader.worker == worker && !is_over;
            term = if goes_on { leader.term } else { leader.term + 1 };
        }
        self.leader = Some(Leader { worker, term, until: self.now.plus(ttl) });
        Leadership { leader: worker, term }
    }

    /// The term ends at once, if it is still this worker's.
    pub(crate) fn abdicate(&mut self, worker: WorkerId, term: i64) {
        if let Some(leader) = &mut self.leader
            && (leader.worker, leader.term) == (worker, term)
        {
            leader.until = Timestamp::from_us(0);
        }
    }

    /// A chore names its term, and is refused under any other than the last.
    fn under(&self, term: i64) -> Chore<()> {
        let now = self.leader.map_or(0, |leader| leader.term);
        if term == now { Ok(()) } else { Err(now) }
    }

    /// Jobs whose time has come are due from now on, the oldest times first.
    pub(crate) fn promote(&mut self, term: i64, limit: usize) -> Chore<Promoted> {
        let now = self.now;
        let mut waiting = self.waiting();
        waiting.sort_unstable();
        let due = waiting.iter().take_while(|(run_at, _)| *run_at <= now).count();
        // To learn that nothing is due, nobody has to lead.
        if due > 0 {
            self.under(term)?;
        }
        let rest = waiting.split_off(due.min(limit.max(1)));
        for (_, id) in &waiting {
            self.move_to(*id, Place::Ready { run_at: now });
        }
        let next = rest.first().map(|(run_at, _)| run_at.since(now));
        Ok(Promoted { moved: waiting.len(), next })
    }

    fn waiting(&self) -> Vec<(Timestamp, JobId)> {
        let time = |(id, job): (&JobId, &super::Job)| match job.place {
            Place::Scheduled { run_at, .. } => Some((run_at, *id)),
            _ => None,
        };
        self.jobs.iter().filter_map(time).collect()
    }

    /// Leases that expired are taken away once they have been seen expired for as long as the
    /// patience, in one look after another; a renewal begins that anew, seen or not.
    pub(crate) fn rescue(&mut self, term: i64, ask: RescueRequest) -> Chore<Vec<Rescued>> {
        self.under(term)?;
        let mut rescued = Vec::new();
        let mut seen = Vec::new();
        for fence in self.fences() {
            if !self.has_expired(fence) {
                continue;
            }
            let until = self.lease(fence).expect("it expired").until;
            let is_it = |suspect: &&Suspect| (suspect.fence, suspect.until) == (fence, until);
            // A first sight in the future is of the time before the clock went back.
            let before = self.suspects.iter().find(is_it).filter(|one| one.first_seen <= self.now);
            let first_seen = before.map_or(self.now, |suspect| suspect.first_seen);
            seen.push(Suspect { fence, until, first_seen });
            if self.now.since(first_seen) >= ask.patience && rescued.len() < ask.limit {
                rescued.push(self.rescue_one(fence, ask.crashes_max));
            }
        }
        self.suspects = seen;
        Ok(rescued)
    }

    fn has_expired(&mut self, fence: Fence) -> bool {
        let (now, beyond) = (self.now, self.now.plus(LEASE_MAX));
        self.lease(fence).is_some_and(|lease| lease.until < now || lease.until > beyond)
    }

    /// Charges a crash. After too many in a row the job is quarantined; else it is due again, or
    /// cancelled if somebody asked for that while it ran.
    fn rescue_one(&mut self, fence: Fence, crashes_max: u32) -> Rescued {
        let (id, now) = (fence.id, self.now);
        let lease = self.lease(fence).expect("it expired").clone();
        let ran = Ran { worker: lease.worker, nonce: lease.nonce, started_at: lease.claimed_at };
        let error = Failure { class: "stalled".into(), message: String::new() };
        let job = self.jobs.get_mut(&id).expect("a lease is of a job");
        job.crashes += 1;
        let (crashes, queue, job_type) =
            (job.crashes, job.record.queue.clone(), job.record.job_type.clone());
        let dead = crashes_max > 0 && crashes >= crashes_max;
        if dead {
            let reason = DeadReason::Quarantined;
            job.place = Place::Dead(Dead { reason, ran, finished_at: now, error });
            self.free_key(id);
        } else {
            job.log.push(AttemptInfo {
                number: fence.attempt,
                worker: ran.worker,
                worker_name: None,
                started_at: ran.started_at,
                finished_at: Some(now),
                outcome: AttemptOutcome::Stalled,
                error: Some(error),
                log: Vec::new(),
            });
            job.place = Place::Ready { run_at: now };
            if lease.cancel {
                self.cancel(&[id]);
            }
        }
        self.queues.entry(queue.clone()).or_default().stalled_total += 1;
        Rescued { fence, queue, job_type, crashes, dead }
    }

    /// Jobs that ended before the cut go without a trace; so does what is remembered too long, and
    /// workers silent for longer than any job is kept. Says how many rows that was.
    pub(crate) fn prune(&mut self, term: i64, keep: Retention) -> Chore<usize> {
        self.under(term)?;
        let old: Vec<_> = self.jobs.keys().copied().filter(|id| self.is_old(*id, keep)).collect();
        old.iter().for_each(|id| self.erase(*id));
        let silence = keep.completed.max(keep.dead);
        Ok(old.len() + self.forget_remembered() + self.forget_workers(silence))
    }

    /// Ids sort by time, so a job whose id is younger than the cut waits until it is not; an id of
    /// the far future is of no time at all (a random one), and there the end alone counts.
    fn is_old(&self, id: JobId, keep: Retention) -> bool {
        let (kept, finished_at) = match &self.jobs[&id].place {
            Place::Done(done) => (keep.completed, done.finished_at),
            Place::Dead(dead) => (keep.dead, dead.finished_at),
            _ => return false,
        };
        let cut = self.now.minus(kept);
        let far_future = JobId::floor(self.now.plus(AHEAD_MAX).us());
        finished_at < cut && (id <= JobId::floor(cut.us()) || id >= far_future)
    }

    /// Folding changes no number; how many rows there are to fold is the store's affair.
    pub(crate) fn fold(&self, term: i64) -> Chore<()> {
        self.under(term)
    }

    fn move_to(&mut self, id: JobId, place: Place) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.place = place;
        }
    }
}
