//! What all processes on the store did together, for `/metrics` of a server: counted by the store
//! with each change itself, so exact, whoever restarts and however many there are.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use dutiful::{Counts, SPREAD_MS, Spread, TypeTotals, WorkerInfo, WorkerState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::gauges::{Line, signed};
use crate::labels::{OTHER, PAIRS_MAX, QUEUE_DEFAULT};

/// Most workers that have rows of their own.
const WORKERS_MAX: usize = 100;

/// The store's answers, as one scrape got them.
#[derive(Debug)]
struct Fleet {
    types: Vec<TypeTotals>,
    queues: Vec<Line>,
    workers: Vec<WorkerInfo>,
}

/// Returns the families of the whole fleet.
pub(crate) fn registry(
    types: Vec<TypeTotals>,
    queues: Vec<Line>,
    workers: Vec<WorkerInfo>,
) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Fleet { types: bounded(types), queues, workers }));
    registry
}

/// Leaves so many pairs of a queue and a type; the rest is summed up in one. Its labels are words
/// that a queue and a type may have too, so those with the names are added to it.
fn bounded(mut types: Vec<TypeTotals>) -> Vec<TypeTotals> {
    if types.len() <= PAIRS_MAX {
        return types;
    }
    // By name, so that a row stays what it is; `default` is there in any case.
    types.sort_by_key(|one| one.queue.as_str() != QUEUE_DEFAULT);
    let rest = types.split_off(PAIRS_MAX);
    let is_other = |one: &TypeTotals| one.queue.as_str() == OTHER && one.job_type.as_str() == OTHER;
    let at = types.iter().position(is_other).unwrap_or_else(|| {
        let (Ok(queue), Ok(job_type)) =
            (dutiful::Name::new("queue", OTHER), dutiful::Name::new("type", OTHER))
        else {
            return 0;
        };
        types.push(TypeTotals::none(queue, job_type));
        types.len() - 1
    });
    rest.iter().for_each(|one| types[at].add(one));
    types
}

impl Collector for Fleet {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Jobs that were stored, by all processes";
        self.counter(&mut to, "jobs_enqueued", help, |one| one.enqueued)?;
        let help = "Attempts that completed their job, by all processes";
        self.counter(&mut to, "jobs_completed", help, |one| one.completed)?;
        let help = "Attempts that failed, by all processes";
        self.counter(&mut to, "jobs_failed", help, |one| one.failed)?;
        self.durations(&mut to)?;
        self.latencies(&mut to)?;
        let help = "Leases that ran out, by all processes";
        let mut family = to.encode_descriptor("jobs_stalled", help, None, MetricType::Counter)?;
        for line in &self.queues {
            let counter = ConstCounter::new(line.counts.stalled_total);
            counter.encode(family.encode_family(&[("queue", &*line.queue)])?)?;
        }
        let help = "Jobs that are due and wait for a worker";
        self.gauge(&mut to, "queue_depth", help, |counts| counts.pending)?;
        let help = "Dead jobs that wait for a person";
        self.gauge(&mut to, "dead_letter_queue_size", help, |counts| counts.dead)?;
        self.utilization(&mut to)
    }
}

impl Fleet {
    fn counter(
        &self,
        to: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        number: impl Fn(&TypeTotals) -> u64,
    ) -> Result<(), fmt::Error> {
        let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
        if self.types.is_empty() {
            let labels = [("queue", QUEUE_DEFAULT), ("type", "")];
            ConstCounter::new(0_u64).encode(family.encode_family(&labels)?)?;
        }
        for one in &self.types {
            let labels = [("queue", one.queue.as_str()), ("type", one.job_type.as_str())];
            ConstCounter::new(number(one)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(
        &self,
        to: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        number: impl Fn(&Counts) -> u64,
    ) -> Result<(), fmt::Error> {
        let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for line in &self.queues {
            let gauge = ConstGauge::new(signed(number(&line.counts)));
            gauge.encode(family.encode_family(&[("queue", &*line.queue)])?)?;
        }
        Ok(())
    }

    fn durations(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "How long attempts ran that completed or failed, by all processes";
        let seconds = Some(&Unit::Seconds);
        let mut family =
            to.encode_descriptor("job_duration", help, seconds, MetricType::Histogram)?;
        for one in &self.types {
            let labels = [("queue", one.queue.as_str()), ("type", one.job_type.as_str())];
            let (sum, count, buckets) = cumulative(&one.ran);
            let mut row = family.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn latencies(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "How long jobs had been due when their attempts began, by all processes";
        let seconds = Some(&Unit::Seconds);
        let mut family =
            to.encode_descriptor("job_latency", help, seconds, MetricType::Histogram)?;
        let mut queues: BTreeMap<&str, Spread> = BTreeMap::new();
        for one in &self.types {
            queues.entry(one.queue.as_str()).or_default().merge(&one.waited);
        }
        for (queue, waited) in queues {
            let (sum, count, buckets) = cumulative(&waited);
            let labels = [("queue", queue)];
            let mut row = family.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    /// What a worker runs, as a part of its slots. The store knows of a worker how much it holds,
    /// not of which queue, so the parts of its queues are alike.
    fn utilization(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Leases that a worker holds, as a part of its slots";
        let mut family =
            to.encode_descriptor("worker_utilization", help, None, MetricType::Gauge)?;
        let alive = self.workers.iter().filter(|one| one.state == WorkerState::Alive);
        let mut seen = HashSet::new();
        // Two of one name would be one row twice: the first, which was heard of last, is shown.
        for worker in alive.filter(|one| seen.insert(one.name.as_str())).take(WORKERS_MAX) {
            let slots: usize = worker.queues.values().sum();
            let part = worker.running as f64 / slots.max(1) as f64;
            for queue in worker.queues.keys() {
                let labels = [("worker", worker.name.as_str()), ("queue", queue.as_str())];
                ConstGauge::new(part).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Returns the sum in seconds, the count, and the bucket of each bound by itself: the encoder adds
/// them up.
fn cumulative(spread: &Spread) -> (f64, u64, Vec<(f64, u64)>) {
    let bounds = SPREAD_MS.iter().map(|ms| *ms as f64 / 1000.0).chain([f64::INFINITY]);
    let buckets = bounds.zip(spread.buckets).collect();
    (spread.sum.as_secs_f64(), spread.count(), buckets)
}
