//! What a store is, in plain data: the definition of every verb, to be read aloud.
//!
//! A job is its record and the one place where it stands. Each verb is one method, in the file of
//! its kind; it shares no code with any store, only the words of the seam. Nothing here is fast.

mod change;
mod chores;
mod claim;
mod enqueue;
mod finish;
mod look;
mod note;
mod numbers;
mod presence;

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful::store::{DeadReason, Failure};
use dutiful::{
    AttemptInfo, Fence, JobId, LogLine, Name, Progress, Record, Timestamp, TypeDefaults, WorkerId,
};

/// A clock that goes back by less than this is not believed.
const JUMP: Duration = Duration::from_secs(1);

/// All that a store knows.
#[derive(Default)]
pub(crate) struct Model {
    /// The store's time.
    now: Timestamp,
    /// What the next claim draws: the only thing that the model is told by the store.
    pub(crate) nonce: i64,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Which live job holds a unique key.
    keys: BTreeMap<String, JobId>,
    queues: BTreeMap<Name, Queue>,
    workers: BTreeMap<WorkerId, Worker>,
    types: BTreeMap<Name, TypeDefaults>,
    /// Who leads, if ever somebody did.
    pub(crate) leader: Option<Leader>,
    remembered: BTreeMap<String, Remembered>,
    /// What attempts failed with, by queue and type and class.
    failed: BTreeMap<(Name, Name), BTreeMap<String, u64>>,
    /// The expired leases that the last rescue saw.
    suspects: Vec<Suspect>,
}

/// A job: what it was given, what it has been through, and where it stands.
pub(crate) struct Job {
    pub(crate) record: Record,
    created_at: Timestamp,
    /// The time that the enqueue asked for.
    asked_for: Option<Timestamp>,
    pub(crate) attempt: u32,
    failures: u32,
    crashes: u32,
    pub(crate) place: Place,
    /// The attempts that ended, but for the one that the place tells of.
    log: Vec<AttemptInfo>,
    /// What its handlers said last of how far it has come.
    progress: Option<Progress>,
    /// What its handlers kept for the next attempt.
    checkpoint: Option<Vec<u8>>,
    /// What its handlers logged, by the numbers of the attempt and the line.
    lines: BTreeMap<(u32, u32), LogLine>,
}

/// Where a job stands; its state follows from this and the time.
#[derive(Clone)]
pub(crate) enum Place {
    /// In the queue, since this time.
    Ready { run_at: Timestamp },
    /// Waits for this time.
    Scheduled { run_at: Timestamp, wait: Wait },
    /// Runs.
    Lease(Lease),
    /// Completed or cancelled.
    Done(Done),
    /// In the dead letter queue.
    Dead(Dead),
}

/// What a scheduled job waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The time that somebody asked for, or that its handler snoozed until.
    Time,
    /// Its next attempt, after a failure.
    Retry,
}

#[derive(Clone)]
pub(crate) struct Lease {
    nonce: i64,
    pub(crate) worker: WorkerId,
    until: Timestamp,
    claimed_at: Timestamp,
    /// Somebody asked to cancel the job.
    cancel: bool,
}

#[derive(Clone)]
pub(crate) struct Done {
    outcome: Outcome,
    /// The attempt that it ended with; none when it was cancelled while it waited.
    ran: Option<Ran>,
    finished_at: Timestamp,
    error: Option<Failure>,
    result: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Completed,
    Cancelled,
    /// At-most-once, and nobody said yet how it went.
    Unheard,
    /// At-most-once, and it did not succeed.
    FailedOnce,
}

#[derive(Clone)]
pub(crate) struct Dead {
    reason: DeadReason,
    ran: Ran,
    finished_at: Timestamp,
    error: Failure,
}

/// An attempt that ended.
#[derive(Clone, Copy)]
struct Ran {
    worker: WorkerId,
    nonce: i64,
    started_at: Timestamp,
}

#[derive(Default)]
struct Queue {
    paused: bool,
    /// A job was enqueued here once, so that it has numbers for ever.
    counted: bool,
    /// Leases rescued, ever.
    stalled_total: u64,
}

struct Worker {
    name: String,
    queues: BTreeMap<Name, usize>,
    types: Vec<Name>,
    quiet: bool,
    started_at: Timestamp,
    beat_at: Timestamp,
    stopped_at: Option<Timestamp>,
}

#[derive(Clone, Copy)]
pub(crate) struct Leader {
    pub(crate) worker: WorkerId,
    pub(crate) term: i64,
    until: Timestamp,
}

/// An expired lease, and when a rescue saw it first.
struct Suspect {
    fence: Fence,
    until: Timestamp,
    first_seen: Timestamp,
}

/// A remembered effect; without a result while the attempt that took it is at it.
struct Remembered {
    holder: Fence,
    result: Option<Vec<u8>>,
    expires_at: Timestamp,
}

impl Model {
    /// Learns the time. Small steps back are held, so that no time is seen twice; jumps are
    /// followed, because then it was the time before that was wrong.
    pub(crate) fn look_at_clock(&mut self, clock: Timestamp) {
        if clock >= self.now || self.now.since(clock) >= JUMP {
            self.now = clock;
        }
    }

    /// Returns the lease that this fence stands for. The fence of any other attempt stands for
    /// nothing, however much time the lease has left: this is what makes a stale worker harmless.
    pub(crate) fn lease(&mut self, fence: Fence) -> Option<&mut Lease> {
        let job = self.jobs.get_mut(&fence.id)?;
        match &mut job.place {
            Place::Lease(lease) if (job.attempt, lease.nonce) == (fence.attempt, fence.nonce) => {
                Some(lease)
            }
            _ => None,
        }
    }

    /// Returns the at-most-once job that this fence ran, while nobody said how that went.
    fn unheard(&mut self, fence: Fence) -> Option<&mut Done> {
        let job = self.jobs.get_mut(&fence.id)?;
        match &mut job.place {
            Place::Done(done) if done.outcome == Outcome::Unheard => {
                let nonce = done.ran.map(|ran| ran.nonce);
                ((job.attempt, nonce) == (fence.attempt, Some(fence.nonce))).then_some(done)
            }
            _ => None,
        }
    }

    /// Frees the unique key of a job, if it holds one.
    fn free_key(&mut self, id: JobId) {
        self.keys.retain(|_, holder| *holder != id);
    }

    /// Returns the fences of all leases, in the order of their jobs.
    pub(crate) fn fences(&self) -> Vec<Fence> {
        let fence = |(id, job): (&JobId, &Job)| job.fence(*id);
        self.jobs.iter().filter_map(fence).collect()
    }
}

impl Job {
    fn fence(&self, id: JobId) -> Option<Fence> {
        match &self.place {
            Place::Lease(lease) => Some(Fence { id, attempt: self.attempt, nonce: lease.nonce }),
            _ => None,
        }
    }
}
