//! What a process knows of its worker: the observer behind the probes and the metrics.

use std::sync::OnceLock;
use std::time::Duration;

use dutiful::{Event, Observer, Stats, Vitals, WorkerHandle};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::counts::Counts;
use crate::gauges;
use crate::health::Health;
use crate::labels::QUEUE_DEFAULT;
use crate::push::{Breakers, Push};

/// A due job that a worker with free slots leaves alone for this long means that it is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What a worker serves, as it was set up.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Its queues with their slots.
    pub queues: Vec<(String, usize)>,
    /// Its types, each with the queue that its jobs go to when they name none.
    pub types: Vec<(String, String)>,
    /// Most jobs at once over all queues, where that is limited.
    pub slots: Option<usize>,
}

impl Served {
    /// The queues that have rows from the start, `default` among them.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &str> {
        let named = self.queues.iter().map(|(queue, _)| queue.as_str());
        let has_default = self.queues.iter().any(|(queue, _)| queue == QUEUE_DEFAULT);
        (!has_default).then_some(QUEUE_DEFAULT).into_iter().chain(named)
    }

    /// The pairs of a queue and a type that have rows from the start.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.types.iter().map(|(queue, job_type)| (queue.as_str(), job_type.as_str()));
        std::iter::once((QUEUE_DEFAULT, "")).chain(named)
    }

    pub(crate) fn slots_of(&self, queue: &str) -> usize {
        self.queues.iter().find(|(name, _)| name == queue).map_or(0, |(_, slots)| *slots)
    }

    pub(crate) fn runs(&self, job_type: &str) -> bool {
        self.types.iter().any(|(_, name)| name == job_type)
    }

    /// Jobs that can run at once.
    pub(crate) fn most(&self) -> usize {
        let sum = self.queues.iter().map(|(_, slots)| slots).sum();
        self.slots.map_or(sum, |slots| slots.min(sum))
    }
}

/// Listens to a client and a worker; the probes and the metrics are answered from it.
pub struct Monitor {
    served: Served,
    counts: Counts,
    health: Health,
    worker: OnceLock<WorkerHandle>,
    breakers: OnceLock<Breakers>,
}

impl Monitor {
    /// Returns a monitor with every family at zero, for a worker that has not started.
    pub fn new(served: Served) -> Self {
        let (counts, health) = (Counts::new(&served), Health::new(STUCK_AFTER));
        let (worker, breakers) = (OnceLock::new(), OnceLock::new());
        Self { served, counts, health, worker, breakers }
    }

    /// Tells the monitor of the worker's handle: a quiet worker is not ready, and not stuck.
    pub fn watch(&self, worker: WorkerHandle) {
        // Told again, it stays with the first: a monitor is for one worker.
        let _ = self.worker.set(worker);
    }

    /// Shows the circuit breakers of push handlers among the metrics.
    pub fn watch_push(&self, push: &Push) {
        // Told again, it stays with the first, as above.
        let _ = self.breakers.set(push.breakers().clone());
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.worker.get().is_some_and(WorkerHandle::is_quiet)
    }

    /// Sets for how long a worker with free slots may leave due jobs alone before `/healthz` says
    /// that it is stuck (default [`STUCK_AFTER`], 60 s); make it longer than the worker's poll.
    pub fn stuck_after(mut self, after: Duration) -> Self {
        self.health = Health::new(after);
        self
    }

    /// Waits for the stop that is given to `Worker::run_until`. From its first poll the worker
    /// counts as working; when it resolves, or is dropped because the worker stops by itself, as
    /// stopping.
    pub async fn working_until(&self, stop: impl Future<Output = ()>) {
        let _working = self.health.working();
        stop.await;
    }

    pub(crate) fn served(&self) -> &Served {
        &self.served
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// True when a slot of this queue is free.
    pub(crate) fn has_room(&self, queue: &str) -> bool {
        let (in_queue, in_all) = self.counts.running(queue);
        in_queue < self.served.slots_of(queue) && in_all < self.served.most()
    }

    /// Returns the page of metrics in the OpenMetrics text format.
    pub(crate) fn page(
        &self,
        (stats, vitals): (Option<&Stats>, &Vitals),
        fleet: Option<&Registry>,
    ) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode_registry(&mut page, self.counts.registry())?;
        text::encode_registry(&mut page, &gauges::registry(stats, vitals, &self.served))?;
        if let Some(fleet) = fleet {
            text::encode_registry(&mut page, fleet)?;
        }
        if let Some(breakers) = self.breakers.get() {
            text::encode_registry(&mut page, &breakers.registry())?;
        }
        text::encode_eof(&mut page)?;
        Ok(page)
    }
}

impl Observer for Monitor {
    fn event(&self, event: &Event<'_>) {
        self.counts.count(event);
        self.health.hear(event);
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("served", &self.served).finish_non_exhaustive()
    }
}
