//! What is counted of one queue and type: a counter for each event, and two histograms.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::labels::Labels;

/// Upper bounds of the histograms in seconds, from a quick function to an hour.
const SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 900.0, 3600.0,
];

type Counters = Family<Labels<2>, Counter>;
type Histograms = Family<Labels<2>, Histogram>;

/// One pair's share of each family, so that an event finds all of it with one look.
pub(crate) struct Row {
    queue: Arc<str>,
    pub(crate) job_type: Arc<str>,
    pub(crate) enqueued: Counter,
    pub(crate) claimed: Counter,
    pub(crate) completed: Counter,
    pub(crate) snoozed: Counter,
    pub(crate) released: Counter,
    pub(crate) cancelled: Counter,
    pub(crate) lease_lost: Counter,
    pub(crate) rescued: Counter,
    pub(crate) overdue: Counter,
    pub(crate) run: Histogram,
    pub(crate) wait: Histogram,
}

impl Row {
    /// Returns the labels of this pair and a third one.
    pub(crate) fn labels(&self, third: &'static str, value: &str) -> Labels<3> {
        let (queue, job_type) = (self.queue.clone(), self.job_type.clone());
        [("queue", queue), ("type", job_type), (third, value.into())]
    }
}

/// Registers the families; the answer makes the row of a pair in all of them.
pub(crate) fn rows(registry: &mut Registry) -> impl Fn(&str, &str) -> Row + Send + Sync + 'static {
    let mut counters = |name: &str, help: &str| {
        let family = Counters::default();
        registry.register(name, help, family.clone());
        family
    };
    let enqueued = counters("jobs_enqueued", "Jobs that this process enqueued");
    let claimed = counters("jobs_claimed", "Jobs that this worker took under a lease");
    let completed = counters("jobs_completed", "Attempts that completed their job");
    let snoozed = counters("jobs_snoozed", "Attempts that asked to be run again later");
    let released = counters("jobs_released", "Attempts that were given back, uncharged");
    let cancelled = counters("jobs_cancelled", "Attempts that were stopped on request");
    let lost = counters("jobs_lease_lost", "Attempts whose lease was gone before they ended");
    let rescued = counters("jobs_rescued", "Stalled attempts that this process, leading, ended");
    let overdue = counters("jobs_overdue", "Handlers that did not end after their timeout");
    let run = histogram(registry, "job_run", "How long attempts ran that completed or failed");
    let wait = histogram(registry, "job_wait", "How long jobs were due before their attempt began");
    move |queue, job_type| {
        let (queue, job_type): (Arc<str>, Arc<str>) = (queue.into(), job_type.into());
        let labels = [("queue", queue.clone()), ("type", job_type.clone())];
        let of = |family: &Counters| family.get_or_create_owned(&labels);
        Row {
            enqueued: of(&enqueued),
            claimed: of(&claimed),
            completed: of(&completed),
            snoozed: of(&snoozed),
            released: of(&released),
            cancelled: of(&cancelled),
            lease_lost: of(&lost),
            rescued: of(&rescued),
            overdue: of(&overdue),
            run: run.get_or_create_owned(&labels),
            wait: wait.get_or_create_owned(&labels),
            queue,
            job_type,
        }
    }
}

fn histogram(registry: &mut Registry, name: &str, help: &str) -> Histograms {
    let family = Histograms::new_with_constructor(|| Histogram::new(SECONDS));
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}
