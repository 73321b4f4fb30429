//! What the parts of a running worker share: the pools, the leases, the ends that wait to be
//! written.

use std::collections::{HashMap, VecDeque};
use std::mem::Discriminant;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::registry::Registry;
use super::settings::Settings;
use super::{claim, finish, guard, heartbeat, shutdown};
use crate::client::Client;
use crate::clock::BootTime;
use crate::context::Attempt;
use crate::error::{Error, StoreError};
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::store::{Claimed, End, Finish, Note, Store, WorkerCard};
use crate::telemetry::{Event, Observers};

/// The same trouble with the same verb is told again after this.
const TROUBLE_AGAIN: Duration = Duration::from_secs(5);

/// What a worker did, from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Jobs completed.
    pub completed: u64,
    /// Attempts that failed and are retried.
    pub failed: u64,
    /// Jobs that died here.
    pub dead: u64,
    /// Attempts snoozed.
    pub snoozed: u64,
    /// Attempts given back.
    pub released: u64,
    /// Jobs stopped on request.
    pub cancelled: u64,
    /// Attempts whose lease was lost.
    pub lost: u64,
}

/// Several workers of a process together.
impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.dead += other.dead;
        self.snoozed += other.snoozed;
        self.released += other.released;
        self.cancelled += other.cancelled;
        self.lost += other.lost;
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) snoozed: AtomicU64,
    pub(super) released: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Counters {
    fn report(&self) -> Report {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Report {
            completed: read(&self.completed),
            failed: read(&self.failed),
            dead: read(&self.dead),
            snoozed: read(&self.snoozed),
            released: read(&self.released),
            cancelled: read(&self.cancelled),
            lost: read(&self.lost),
        }
    }
}

/// A job that was claimed and waits here for a slot.
pub(super) struct Buffered {
    pub(super) job: Claimed,
    /// When the claim's answer came, to translate between our time and the store's.
    pub(super) since: Instant,
}

/// A queue that this worker serves, with slots of its own.
pub(super) struct Pool {
    pub(super) queue: Name,
    /// Can be changed while the worker runs.
    pub(super) slots: AtomicUsize,
    pub(super) weight: u32,
    pub(super) buffer: Mutex<VecDeque<Buffered>>,
    /// Slots in use.
    pub(super) running: AtomicUsize,
    /// Moving average of a run's time in µs; `u64::MAX` while nothing ran.
    pub(super) ran_us: AtomicU64,
    /// Runs so far; a few of them do not say much about the next ones.
    pub(super) runs: AtomicU64,
}

impl Pool {
    pub(super) fn buffered(&self) -> usize {
        lock(&self.buffer).len()
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.load(Ordering::SeqCst)
    }
}

/// A lease that we hold, from the claim until its end is written.
pub(super) struct Held {
    pub(super) fence: Fence,
    /// Before the call that granted or renewed it was sent.
    pub(super) renewed: BootTime,
    pub(super) crashed: bool,
    /// Set while its handler runs.
    pub(super) attempt: Option<Arc<Attempt>>,
}

pub(super) struct Engine {
    pub(super) client: Client,
    pub(super) worker: WorkerId,
    pub(super) registry: Registry,
    pub(super) types: Arc<std::collections::HashSet<Name>>,
    pub(super) settings: Settings,
    pub(super) observers: Observers,
    pub(super) counters: Counters,
    pub(super) pools: Vec<Pool>,
    /// Where the pool of each queue stands.
    places: HashMap<Name, usize>,
    pub(super) held: Mutex<HashMap<JobId, Held>>,
    /// At-most-once attempts, and those that lost theirs to a newer one here, have no lease, but a
    /// timeout and a place in the shutdown.
    pub(super) unleased: Mutex<HashMap<Fence, Arc<Attempt>>>,
    pub(super) ends: Mutex<Vec<Finish>>,
    /// The last words of attempts whose ends wait to be written.
    pub(super) notes: Mutex<Vec<Note>>,
    /// Ends taken by the flush that is under way.
    pub(super) flushing: AtomicUsize,
    /// Ends that a user's open transaction keeps from being written.
    pub(super) locked: AtomicUsize,
    /// Rung when an end waits to be written.
    pub(super) flush: Notify,
    /// Rung when a slot or buffer became free.
    pub(super) room: Notify,
    /// What the worker's handle tells it.
    pub(super) control: Arc<Control>,
    /// No more claims.
    pub(super) stop: CancellationToken,
    /// Nothing more at all: the threads end.
    pub(super) over: CancellationToken,
    /// Held while a slot is taken, for the limit of all queues is a sum.
    pub(super) entrance: Mutex<()>,
    /// The grace is over: no handler begins any more.
    pub(super) closed: AtomicBool,
    pub(super) runtime: tokio::runtime::Handle,
    /// When trouble of a kind with a verb was told last.
    troubles: Mutex<HashMap<(&'static str, Discriminant<StoreError>), BootTime>>,
}

impl Engine {
    pub(super) fn new(
        client: Client,
        registry: Registry,
        settings: Settings,
        observers: Observers,
        control: Arc<Control>,
    ) -> Arc<Self> {
        let pool = |queue: &super::QueueSettings| Pool {
            queue: queue.name.clone(),
            slots: AtomicUsize::new(queue.slots),
            weight: queue.weight,
            buffer: Mutex::default(),
            running: AtomicUsize::new(0),
            ran_us: AtomicU64::new(u64::MAX),
            runs: AtomicU64::new(0),
        };
        Arc::new(Self {
            worker: WorkerId::random(),
            types: Arc::new(registry.types()),
            places: settings.queues.iter().map(|queue| queue.name.clone()).zip(0..).collect(),
            pools: settings.queues.iter().map(pool).collect(),
            client,
            registry,
            settings,
            observers,
            counters: Counters::default(),
            held: Mutex::default(),
            unleased: Mutex::default(),
            ends: Mutex::default(),
            notes: Mutex::default(),
            flushing: AtomicUsize::new(0),
            locked: AtomicUsize::new(0),
            flush: Notify::new(),
            room: Notify::new(),
            stop: control.stop.clone(),
            control,
            over: CancellationToken::new(),
            entrance: Mutex::default(),
            closed: AtomicBool::new(false),
            runtime: tokio::runtime::Handle::current(),
            troubles: Mutex::default(),
        })
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        self.client.store()
    }

    /// Presents the worker, with the settings of its types.
    pub(super) async fn register(&self) -> Result<(), StoreError> {
        let registered = self.store().register(self.card()).await;
        self.client.forget_types();
        registered
    }

    /// The worker's life: present itself, work until told to stop, stop in order.
    pub(super) async fn run(
        self: Arc<Self>,
        stop: impl Future<Output = ()>,
    ) -> Result<Report, Error> {
        guard::install_hook();
        self.register().await?;
        let beats = heartbeat::start(self.clone())?;
        let flusher = tokio::spawn(finish::write_ends(self.clone()));
        let claimer = tokio::spawn(claim::claim_until_stopped(self.clone()));
        let parts = shutdown::Parts { claimer, flusher, beats };
        let running = shutdown::Running::new(self.clone(), parts);
        tokio::pin!(stop);
        let told = tokio::select! {
            () = &mut stop => true,
            () = self.stop.cancelled() => false,
        };
        if told {
            self.control.told();
            self.stop.cancel();
        }
        let ending = running.stop();
        tokio::pin!(ending);
        tokio::select! {
            () = &mut ending => return Ok(self.counters.report()),
            // Told with a longer grace first, it may be told to hurry so, too.
            () = &mut stop, if !told => self.control.told(),
        }
        ending.await;
        Ok(self.counters.report())
    }

    pub(super) fn card(&self) -> WorkerCard {
        WorkerCard {
            pid: std::process::id(),
            worker: self.worker,
            name: self.settings.name.clone(),
            queues: self.pools.iter().map(|pool| (pool.queue.clone(), pool.slots())).collect(),
            types: self.registry.defaults(),
            quiet: self.control.is_quiet(),
        }
    }

    /// Returns the place of a queue's pool.
    pub(super) fn pool_of(&self, queue: &Name) -> usize {
        self.places.get(queue).copied().unwrap_or(0)
    }

    /// Slots in use over all queues.
    pub(super) fn running(&self) -> usize {
        self.pools.iter().map(Pool::running).sum()
    }

    /// Tells of trouble with the store: at once, then not too often, for a call that fails is made
    /// again many times a second, and a full disk may last.
    pub(super) fn tell_trouble(&self, verb: &'static str, error: &StoreError) {
        let (now, kind) = (BootTime::now(), std::mem::discriminant(error));
        let mut told = lock(&self.troubles);
        let lately = |at: &BootTime| now.since(*at) < TROUBLE_AGAIN;
        let known = told.get(&(verb, kind)).is_some_and(lately);
        if known && cfg!(not(bug = "trouble_floods")) {
            return;
        }
        told.insert((verb, kind), now);
        drop(told);
        self.observers.tell(&Event::StoreTrouble { verb, error });
    }

    /// Hands over how an attempt ended; it is written with the next flush.
    pub(super) fn push_end(&self, end: Finish) {
        lock(&self.ends).push(end);
        self.flush.notify_one();
    }

    /// Hands over how an attempt ended, with its handler's last words.
    pub(super) fn push_end_of(&self, attempt: &Attempt, ran: Duration, end: End) {
        if let Some(note) = attempt.notes.unwritten(attempt.fence) {
            lock(&self.notes).push(note);
        }
        self.push_end(attempt.describe(ran, end));
    }

    /// Ends that are not yet durable.
    pub(super) fn unwritten(&self) -> usize {
        let taken = self.flushing.load(Ordering::SeqCst) + self.locked.load(Ordering::SeqCst);
        lock(&self.ends).len() + taken
    }

    /// Every attempt that has a handler running.
    pub(super) fn attempts(&self) -> Vec<Arc<Attempt>> {
        let held = lock(&self.held);
        let leased = held.values().filter_map(|held| held.attempt.clone());
        leased.chain(lock(&self.unleased).values().cloned()).collect()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wait before the n-th attempt to reach a store that failed: full jitter, at most 5 s.
pub(super) fn backoff(tries: u32) -> Duration {
    const BASE: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(5);
    let full = BASE.saturating_mul(1 << tries.min(10)).min(MAX);
    full.mul_f64(0.1 + 0.9 * fastrand::f64())
}
