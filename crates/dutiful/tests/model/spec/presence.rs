//! What workers say of themselves and of what they hold, and who asks for it: beats, leases, types,
//! remembered effects, the list of workers.

use std::cmp::Reverse;
use std::time::Duration;

use dutiful::store::{Beat, HeartbeatRequest, Held, Once, OnceRequest, WorkerCard};
use dutiful::{Fence, JobId, Name, Timestamp, TypeDefaults, WorkerId, WorkerInfo, WorkerState};

use super::{Lease, Model, Place, Remembered, Worker};

/// A worker without a beat for longer may be silent.
const SILENT: Duration = Duration::from_secs(60);
const NOT_HELD: Beat = Beat { held: Held::Lost, cancel: false };

impl Model {
    /// Renews what is still held, from now, though it expired if nobody rescued it. Any beat is a
    /// sign of life.
    pub(crate) fn heartbeat(&mut self, ask: &HeartbeatRequest) -> Vec<Beat> {
        let (now, until) = (self.now, self.now.plus(ask.lease));
        if let Some(worker) = self.workers.get_mut(&ask.worker) {
            worker.beat_at = now;
        }
        let renew = |fence: &Fence| match self.lease(*fence) {
            Some(lease) => {
                lease.until = until;
                Beat { held: Held::Yes, cancel: lease.cancel }
            }
            None => NOT_HELD,
        };
        ask.fences.iter().map(renew).collect()
    }

    /// The jobs that this worker runs and that somebody asked to cancel, in the order of their ids.
    pub(crate) fn cancel_requests(&self, worker: WorkerId) -> Vec<JobId> {
        let asked = self.jobs.iter().filter(|(_, job)| match &job.place {
            Place::Lease(lease) => lease.worker == worker && lease.cancel,
            _ => false,
        });
        asked.map(|(id, _)| *id).collect()
    }

    /// A lease is held as long as it stands there: until its end or its rescue.
    pub(crate) fn held(&mut self, fences: &[Fence]) -> Vec<Held> {
        fences.iter().map(|fence| yes_if(self.lease(*fence).is_some())).collect()
    }

    /// A worker says who it is, again when something of that changes: it started when it said so
    /// first. The settings of its types are from now on as it says.
    pub(crate) fn register(&mut self, card: &WorkerCard) {
        let known = self.workers.get(&card.worker);
        let worker = Worker {
            name: card.name.clone(),
            queues: card.queues.iter().cloned().collect(),
            types: card.types.iter().map(|one| one.job_type.clone()).collect(),
            quiet: card.quiet,
            started_at: known.map_or(self.now, |known| known.started_at),
            beat_at: self.now,
            stopped_at: None,
        };
        self.workers.insert(card.worker, worker);
        self.types.extend(card.types.iter().map(|one| (one.job_type.clone(), one.clone())));
    }

    /// It no longer serves anybody, and everybody knows.
    pub(crate) fn leave(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.stopped_at = Some(self.now);
        }
    }

    /// Who is on record: first those that did not stop, of each the latest to start first.
    pub(crate) fn workers(&self) -> Vec<WorkerInfo> {
        let mut all: Vec<_> = self.workers.iter().map(|(id, one)| self.worker(*id, one)).collect();
        all.sort_by_key(|one| (one.stopped_at.is_some(), Reverse(one.started_at), one.id.0));
        all
    }

    /// One that was not heard of lately is silent, unless a lease of its own is good still: with
    /// long leases there are few beats.
    fn worker(&self, id: WorkerId, one: &Worker) -> WorkerInfo {
        let leases: Vec<Timestamp> = self.leases_of(id).map(|lease| lease.until).collect();
        let is_covered = leases.iter().any(|until| *until >= self.now);
        let was_heard = self.now.since(one.beat_at) <= SILENT;
        WorkerInfo {
            id,
            name: one.name.clone(),
            pid: std::process::id(),
            queues: one.queues.clone(),
            types: one.types.clone(),
            started_at: one.started_at,
            beat_at: one.beat_at,
            stopped_at: one.stopped_at,
            running: leases.len() as u64,
            quiet: one.quiet,
            state: match one.stopped_at {
                Some(_) => WorkerState::Stopped,
                None if was_heard || is_covered => WorkerState::Alive,
                None => WorkerState::Silent,
            },
        }
    }

    fn leases_of(&self, worker: WorkerId) -> impl Iterator<Item = &Lease> {
        let leases = self.jobs.values().filter_map(|job| match &job.place {
            Place::Lease(lease) => Some(lease),
            _ => None,
        });
        leases.filter(move |lease| lease.worker == worker)
    }

    /// What is known of these types; of the others nothing.
    pub(crate) fn types(&self, names: &[Name]) -> Vec<TypeDefaults> {
        names.iter().filter_map(|name| self.types.get(name).cloned()).collect()
    }

    /// Begins an effect, or says what became of it. Its result is known for a time; before that
    /// one live attempt is at it, and the next takes over when that one is gone.
    pub(crate) fn once(&mut self, ask: &OnceRequest) -> Once {
        if !self.is_alive(ask.fence) {
            return Once::Lost;
        }
        let now = self.now;
        if let Some(row) = self.remembered.get(&ask.key).filter(|row| row.expires_at >= now) {
            let holder = row.holder;
            if let Some(result) = &row.result {
                return Once::Known(result.clone());
            }
            if holder != ask.fence && self.is_alive(holder) {
                return Once::Taken;
            }
        }
        let row = Remembered { holder: ask.fence, result: None, expires_at: now.plus(ask.ttl) };
        self.remembered.insert(ask.key.clone(), row);
        Once::Run
    }

    /// Only the attempt that took the key says what came of it, and only while it is alive.
    pub(crate) fn once_store(&mut self, key: &str, fence: Fence, result: Option<&[u8]>) -> Held {
        let alive = self.is_alive(fence);
        let Some(row) = self.remembered.get_mut(key) else { return Held::Lost };
        if !alive || row.holder != fence {
            return Held::Lost;
        }
        match result {
            Some(result) => row.result = Some(result.to_vec()),
            None => drop(self.remembered.remove(key)),
        }
        Held::Yes
    }

    /// Forgets what was remembered for long enough; says how much.
    pub(super) fn forget_remembered(&mut self) -> usize {
        let (before, now) = (self.remembered.len(), self.now);
        self.remembered.retain(|_, row| row.expires_at >= now);
        before - self.remembered.len()
    }

    /// Forgets workers that were silent for this long; says how many.
    pub(super) fn forget_workers(&mut self, silence: Duration) -> usize {
        let (before, since) = (self.workers.len(), self.now.minus(silence));
        self.workers.retain(|_, worker| worker.beat_at >= since);
        before - self.workers.len()
    }

    /// Whether an attempt may still speak: it holds its lease, or is at-most-once and has not said
    /// yet how it went.
    pub(super) fn is_alive(&mut self, fence: Fence) -> bool {
        self.lease(fence).is_some() || self.unheard(fence).is_some()
    }
}

fn yes_if(held: bool) -> Held {
    if held { Held::Yes } else { Held::Lost }
}
