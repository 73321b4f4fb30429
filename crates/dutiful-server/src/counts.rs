//! What this process counts by itself, from the events of its client and worker.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dutiful::{DeadReason, EnqueueOutcome, Event, Fence, Run};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::labels::{Classes, Labels, Pairs, QUEUE_DEFAULT, lock};
use crate::monitor::Served;
use crate::rows::{Row, rows};

/// The calls that a worker makes again and again, and tells of when they fail.
const VERBS: [&str; 7] = ["claim", "finish", "heartbeat", "held", "note", "register", "upkeep"];
/// Why jobs are dead.
const REASONS: [DeadReason; 3] =
    [DeadReason::Exhausted, DeadReason::Discarded, DeadReason::Quarantined];
/// The class of an attempt whose worker stopped renewing its lease.
const STALLED: &str = "stalled";

/// Upper bounds of how long claims take, in seconds: from one that found nothing to a store that
/// hangs.
const CLAIM_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

type Counters<const N: usize> = Family<Labels<N>, Counter>;

/// Counters, histograms and the slots in use.
pub(crate) struct Counts {
    registry: Registry,
    rows: Pairs<Row>,
    classes: Classes,
    failed: Counters<3>,
    dead: Counters<3>,
    trouble: Counters<1>,
    self_fences: Counter,
    claims: Histogram,
    in_use: Family<Labels<1>, Gauge>,
    /// Attempts that began here and whose end we have not heard of.
    running: Mutex<HashSet<Fence>>,
}

impl Counts {
    pub(crate) fn new(served: &Served) -> Self {
        let mut registry = Registry::with_prefix("dutiful");
        let counts = Self {
            rows: Pairs::new(rows(&mut registry)),
            classes: Classes::default(),
            failed: family(
                &mut registry,
                "jobs_failed",
                "Attempts that failed or stalled, by error class; other is the rest of many",
            ),
            dead: family(&mut registry, "jobs_dead", "Jobs that died here, by reason"),
            trouble: family(
                &mut registry,
                "store_trouble",
                "Calls to the store that failed and are tried again",
            ),
            self_fences: Counter::default(),
            claims: Histogram::new(CLAIM_SECONDS),
            in_use: Family::default(),
            running: Mutex::default(),
            registry,
        };
        counts.completed_with(served)
    }

    /// Registers what has no label of a pair, and puts the rows there that are known already:
    /// a family without a row would not be shown, and a rate needs the zero before the one.
    fn completed_with(mut self, served: &Served) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "worker_self_fences",
            "Times that this worker could not renew its leases and stopped its handlers",
            self.self_fences.clone(),
        );
        registry.register_with_unit(
            "store_claim",
            "How long the store took to answer claims of this worker",
            Unit::Seconds,
            self.claims.clone(),
        );
        registry.register(
            "worker_slots_in_use",
            "Jobs that began here and whose end is not written yet",
            self.in_use.clone(),
        );
        slots(registry, served);
        for (queue, job_type) in served.pairs() {
            self.rows.row(queue, job_type);
        }
        for verb in VERBS {
            self.trouble.get_or_create(&[("verb", verb.into())]).inc_by(0);
        }
        for queue in served.queues() {
            self.in_use.get_or_create(&[("queue", queue.into())]).set(0);
        }
        let row = self.rows.row(QUEUE_DEFAULT, "");
        for reason in REASONS {
            self.dead.get_or_create(&row.labels("reason", word(reason))).inc_by(0);
        }
        self.failed.get_or_create(&row.labels("error_class", "")).inc_by(0);
        self
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Jobs of a queue, and of all, that began here and have not ended.
    pub(crate) fn running(&self, queue: &str) -> (usize, usize) {
        let in_queue = self.in_use.get(&[("queue", queue.into())]).map_or(0, |gauge| gauge.get());
        (usize::try_from(in_queue).unwrap_or(0), lock(&self.running).len())
    }

    pub(crate) fn count(&self, event: &Event<'_>) {
        match event {
            Event::Enqueued { outcome: EnqueueOutcome::New, queue, job_type, .. } => {
                self.rows.row(queue.as_str(), job_type.as_str()).enqueued.inc();
            }
            Event::Claimed { run } => self.add(run, |row| &row.claimed),
            Event::Started { run, waited } => self.begin(run, *waited),
            Event::Completed { run, ran } => {
                self.observe(run, *ran);
                self.end(run, |row| &row.completed);
            }
            Event::Failed { run, ran, failure, .. } => {
                self.observe(run, *ran);
                self.fail(run, &failure.class);
                self.leave(run);
            }
            Event::Dead { run, ran, failure, reason } => {
                self.observe(run, *ran);
                self.fail(run, &failure.class);
                self.die(run, *reason);
                self.leave(run);
            }
            Event::Snoozed { run, .. } => self.end(run, |row| &row.snoozed),
            Event::Released { run } => self.end(run, |row| &row.released),
            Event::Cancelled { run } => self.end(run, |row| &row.cancelled),
            Event::LeaseLost { run } => self.end(run, |row| &row.lease_lost),
            Event::Rescued { run, dead, .. } => self.rescue(run, *dead),
            Event::Overdue { run, .. } => self.add(run, |row| &row.overdue),
            Event::SelfFenced { .. } => {
                self.self_fences.inc();
            }
            Event::ClaimAnswered { took, .. } => self.claims.observe(took.as_secs_f64()),
            Event::StoreTrouble { verb, .. } => {
                self.trouble.get_or_create(&[("verb", (*verb).into())]).inc();
            }
            _ => {}
        }
    }

    fn row(&self, run: &Run<'_>) -> Arc<Row> {
        self.rows.row(run.queue.as_str(), run.job_type.as_str())
    }

    fn add(&self, run: &Run<'_>, of: impl Fn(&Row) -> &Counter) {
        of(&self.row(run)).inc();
    }

    fn observe(&self, run: &Run<'_>, ran: Duration) {
        self.row(run).run.observe(ran.as_secs_f64());
    }

    fn begin(&self, run: &Run<'_>, waited: Duration) {
        self.row(run).wait.observe(waited.as_secs_f64());
        if lock(&self.running).insert(run.fence) {
            self.in_use.get_or_create(&[("queue", run.queue.as_str().into())]).inc();
        }
    }

    fn end(&self, run: &Run<'_>, of: impl Fn(&Row) -> &Counter) {
        self.add(run, of);
        self.leave(run);
    }

    /// Many ends are of claims that never began, and hold no slot.
    fn leave(&self, run: &Run<'_>) {
        if lock(&self.running).remove(&run.fence) {
            self.in_use.get_or_create(&[("queue", run.queue.as_str().into())]).dec();
        }
    }

    /// A stall is counted too: the attempt did not succeed.
    fn fail(&self, run: &Run<'_>, class: &str) {
        let row = self.row(run);
        let class = self.classes.admit(&row.job_type, class);
        self.failed.get_or_create(&row.labels("error_class", class)).inc();
    }

    fn die(&self, run: &Run<'_>, reason: DeadReason) {
        self.dead.get_or_create(&self.row(run).labels("reason", word(reason))).inc();
    }

    fn rescue(&self, run: &Run<'_>, dead: bool) {
        self.add(run, |row| &row.rescued);
        self.fail(run, STALLED);
        if dead {
            self.die(run, DeadReason::Quarantined);
        }
    }
}

fn word(reason: DeadReason) -> &'static str {
    match reason {
        DeadReason::Exhausted => "exhausted",
        DeadReason::Discarded => "discarded",
        DeadReason::Quarantined => "quarantined",
    }
}

fn family<const N: usize>(registry: &mut Registry, name: &str, help: &str) -> Counters<N> {
    let family = Counters::default();
    registry.register(name, help, family.clone());
    family
}

/// The slots do not change while the worker runs.
fn slots(registry: &mut Registry, served: &Served) {
    let (slots, most): (Family<Labels<1>, Gauge>, Gauge) = Default::default();
    for queue in served.queues() {
        let number = served.slots_of(queue);
        slots.get_or_create(&[("queue", queue.into())]).set(number as i64);
    }
    most.set(served.most() as i64);
    registry.register("worker_slots", "Jobs of a queue that this worker runs at once", slots);
    registry.register("worker_slots_limit", "Jobs that this worker runs at once in all", most);
}
