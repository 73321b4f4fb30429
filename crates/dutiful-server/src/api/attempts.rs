//! What this server knows of the attempts that it gave out: the facts that an end of an attempt
//! needs and that nobody should have to send back. They are a memory only: after a restart, or at
//! another server, the same facts are read from the store.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dutiful::store::{Claimed, End, Finish};
use dutiful::{AttemptOutcome, Client, Delivery, Failure, Fence, Retry, Timestamp, WorkerId};

use super::problem::Problem;
use crate::labels::lock;

/// Attempts that are remembered; with more, those are forgotten whose lease has run out.
const REMEMBERED_MAX: usize = 50_000;

/// What an end of an attempt needs beside its fence.
#[derive(Clone)]
pub(super) struct Attempt {
    /// Its end as it would be if nothing had run.
    unstarted: Finish,
    worker: WorkerId,
    /// True when it crashed a worker before: of those a worker runs one at a time, so that its
    /// neighbours are not blamed.
    crashed: bool,
    max_attempts: u32,
    /// When it was given out, to tell how long it ran where nobody says.
    given_at: Instant,
    lease: Duration,
    leased_until: Instant,
}

impl Attempt {
    fn new(worker: WorkerId, job: &Claimed, lease: Duration) -> Self {
        let (given_at, waited) = (Instant::now(), job.claimed_at.since(job.run_at));
        Self {
            unstarted: Finish { waited, ..job.unstarted(End::Released) },
            worker,
            crashed: job.crashes > 0,
            max_attempts: job.max_attempts,
            given_at,
            lease,
            leased_until: given_at + lease,
        }
    }

    pub(super) fn worker(&self) -> WorkerId {
        self.worker
    }

    /// At-most-once jobs have no lease: nobody takes them back, and nothing has to be renewed.
    fn has_lease(&self) -> bool {
        self.unstarted.delivery == Delivery::AtLeastOnce
    }

    /// Describes its end.
    pub(super) fn finish(&self, ran: Option<Duration>, end: End) -> Finish {
        // It cannot have run for longer than it is out.
        let most = self.given_at.elapsed();
        Finish { ran: ran.map_or(most, |ran| ran.min(most)), end, ..self.unstarted.clone() }
    }

    /// What a failure comes to.
    pub(super) fn charge(&self, failure: Failure, wait: Option<Duration>) -> End {
        End::after_failure(failure, self.unstarted.failures, self.max_attempts, |failures| {
            wait.unwrap_or_else(|| Retry::DEFAULT.wait(failures, fastrand::f64()))
        })
    }
}

/// The attempts that were given out here.
#[derive(Default)]
pub(super) struct Attempts {
    known: Mutex<HashMap<Fence, Attempt>>,
    /// Workers of which a claim is under way that may bring a job that crashed a worker before.
    risking: Mutex<HashSet<WorkerId>>,
}

/// The only right of a worker to be given a job that crashed before, while a claim is under way.
pub(super) struct Risk<'a> {
    attempts: &'a Attempts,
    worker: WorkerId,
}

impl Drop for Risk<'_> {
    fn drop(&mut self) {
        lock(&self.attempts.risking).remove(&self.worker);
    }
}

impl Attempts {
    /// Returns the right, unless the worker runs such a job, or another claim of it has the right.
    pub(super) fn risk(&self, worker: WorkerId) -> Option<Risk<'_>> {
        if !lock(&self.risking).insert(worker) {
            return None;
        }
        let risk = Risk { attempts: self, worker };
        let now = Instant::now();
        let runs = |one: &Attempt| one.crashed && one.worker == worker && one.leased_until > now;
        let runs_one = lock(&self.known).values().any(runs);
        (!runs_one).then_some(risk)
    }

    pub(super) fn remember(&self, worker: WorkerId, jobs: &[Claimed], lease: Duration) {
        let mut known = lock(&self.known);
        if known.len() + jobs.len() > REMEMBERED_MAX {
            let now = Instant::now();
            known.retain(|_, one| one.leased_until > now);
        }
        for job in jobs {
            known.insert(job.fence, Attempt::new(worker, job, lease));
        }
    }

    /// Returns the lease that an attempt was claimed with, and whether it has one at all; `None`
    /// for one that was not given out here.
    pub(super) fn lease(&self, fence: &Fence) -> Option<(Duration, bool)> {
        lock(&self.known).get(fence).map(|one| (one.lease, one.has_lease()))
    }

    /// Takes note that leases were renewed.
    pub(super) fn renewed(&self, fences: &[Fence], lease: Duration) {
        let (mut known, until) = (lock(&self.known), Instant::now() + lease);
        for fence in fences {
            if let Some(one) = known.get_mut(fence) {
                one.leased_until = until;
            }
        }
    }

    pub(super) fn forget(&self, fences: impl Iterator<Item = Fence>) {
        let mut known = lock(&self.known);
        fences.for_each(|fence| drop(known.remove(&fence)));
    }

    /// Returns what is known of an attempt, here or in the store; `None` when it is over.
    pub(super) async fn get(
        &self,
        client: &Client,
        fence: Fence,
    ) -> Result<Option<Attempt>, Problem> {
        if let Some(known) = lock(&self.known).get(&fence) {
            return Ok(Some(known.clone()));
        }
        let Some(job) = client.job(fence.id).await? else { return Ok(None) };
        let running =
            |outcome| matches!(outcome, AttemptOutcome::Running | AttemptOutcome::Unknown);
        let last = job.attempts.last().filter(|last| running(last.outcome));
        let Some(last) = last.filter(|last| last.number == fence.attempt) else { return Ok(None) };
        // How long ago it began is for two clocks to say; how long it was due nobody knows now.
        let began = Timestamp::from_system(std::time::SystemTime::now())
            .map_or(Duration::ZERO, |now| now.since(last.started_at));
        let now = Instant::now();
        let unstarted = Finish {
            fence,
            queue: job.queue,
            job_type: job.job_type,
            failures: job.failures,
            unique: job.unique_key.is_some(),
            delivery: job.delivery,
            started_at: last.started_at,
            ran: Duration::ZERO,
            waited: Duration::ZERO,
            end: End::Released,
        };
        Ok(Some(Attempt {
            unstarted,
            worker: last.worker,
            crashed: job.crashes > 0,
            max_attempts: job.max_attempts,
            given_at: now.checked_sub(began).unwrap_or(now),
            lease: Duration::ZERO,
            leased_until: now,
        }))
    }
}
