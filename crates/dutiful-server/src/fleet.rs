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
use crate::labels::{CLASS_ROWS_MAX, OTHER, PAIRS_MAX, QUEUE_DEFAULT};

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
    let mut types = bounded(types);
    bound_classes(&mut types, CLASS_ROWS_MAX);
    registry.register_collector(Box::new(Fleet { types, queues, workers }));
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

/// Leaves so many classes over all pairs, the most frequent ones; the rest of each pair is summed
/// up in one, which is not among them.
fn bound_classes(types: &mut [TypeTotals], most: usize) {
    let mut all = Vec::new();
    for (at, one) in types.iter().enumerate() {
        let named = one.error_classes.iter().filter(|(class, _)| class.as_str() != OTHER);
        all.extend(named.map(|(class, n)| (*n, at, class.clone())));
    }
    if all.len() <= most {
        return;
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, &a.2).cmp(&(b.1, &b.2))));
    for (n, at, class) in all.split_off(most) {
        types[at].error_classes.remove(&class);
        *types[at].error_classes.entry(OTHER.into()).or_default() += n;
    }
}

impl Collector for Fleet {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Jobs that were stored, by all processes";
        self.counter(&mut to, "jobs_enqueued", help, |one| one.enqueued)?;
        let help = "Attempts that completed their job, by all processes";
        self.counter(&mut to, "jobs_completed", help, |one| one.completed)?;
        let help =
            "Attempts that failed, by all processes, by error class; other is the rest of many";
        self.failures(&mut to, help)?;
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

    /// Each pair has a row without a class too, for a rate needs the zero before the one. It counts
    /// failures whose class is empty.
    fn failures(&self, to: &mut DescriptorEncoder<'_>, help: &str) -> Result<(), fmt::Error> {
        let mut family = to.encode_descriptor("jobs_failed", help, None, MetricType::Counter)?;
        let mut row = |queue: &str, job_type: &str, class: &str, n: u64| {
            let labels = [("queue", queue), ("type", job_type), ("error_class", class)];
            ConstCounter::new(n).encode(family.encode_family(&labels)?)
        };
        if self.types.is_empty() {
            row(QUEUE_DEFAULT, "", "", 0)?;
        }
        for one in &self.types {
            let (queue, job_type) = (one.queue.as_str(), one.job_type.as_str());
            if !one.error_classes.contains_key("") {
                row(queue, job_type, "", 0)?;
            }
            for (class, n) in &one.error_classes {
                row(queue, job_type, class, *n)?;
            }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use dutiful::Name;
    use prometheus_client::encoding::text;

    use super::*;

    fn failed(queue: &str, job_type: &str, classes: &[(&str, u64)]) -> TypeTotals {
        let (queue, job_type) = (Name::new("queue", queue), Name::new("type", job_type));
        let mut one = TypeTotals::none(queue.unwrap(), job_type.unwrap());
        one.failed = classes.iter().map(|(_, n)| n).sum();
        one.error_classes = classes.iter().map(|(class, n)| ((*class).into(), *n)).collect();
        one
    }

    fn page(types: Vec<TypeTotals>) -> Vec<String> {
        let mut page = String::new();
        text::encode(&mut page, &registry(types, Vec::new(), Vec::new())).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("jobs_failed_total{"));
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn the_smallest_of_too_many_classes_are_summed_up_in_their_pair() {
        let mut types = vec![
            failed("a", "t", &[("x", 5), ("y", 1), ("other", 2)]),
            failed("b", "t", &[("x", 3), ("z", 2)]),
        ];
        bound_classes(&mut types, 4);
        assert_eq!(types[0].error_classes.len(), 3, "as many as there may be");
        bound_classes(&mut types, 2);
        assert_eq!(types[0], failed("a", "t", &[("x", 5), ("other", 3)]));
        assert_eq!(types[1], failed("b", "t", &[("x", 3), ("other", 2)]));
    }

    #[test]
    fn a_page_has_a_bounded_number_of_rows_and_counts_every_failure() {
        let classes: Vec<_> = (0..50).map(|n| format!("exit {n}")).collect();
        let classes: Vec<_> = classes.iter().map(|class| (class.as_str(), 2)).collect();
        let types: Vec<_> =
            (0..PAIRS_MAX + 9).map(|n| failed("q", &format!("t{n}"), &classes)).collect();
        let rows = page(types);
        assert!(rows.len() <= CLASS_ROWS_MAX + 2 * (PAIRS_MAX + 1), "{}", rows.len());
        let number = |row: &String| row.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        assert_eq!(rows.iter().map(number).sum::<usize>(), (PAIRS_MAX + 9) * 50 * 2);
    }

    #[test]
    fn a_class_can_break_neither_its_row_nor_the_page() {
        let nasty = ["", "a\"b\\\n# EOF", "\r\0\u{1b}[31m\u{7f}", "🦀\u{202e}", "{x=\"y\"} 7"];
        let classes: Vec<_> = nasty.iter().map(|class| (*class, 1)).collect();
        let rows = page(vec![failed("q", "t", &classes)]);
        assert_eq!(rows.len(), nasty.len(), "{rows:?}");
        for (row, class) in rows.iter().zip(std::collections::BTreeSet::from(nasty)) {
            let class = class.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let labels = format!("queue=\"q\",type=\"t\",error_class=\"{class}\"");
            assert_eq!(*row, format!("jobs_failed_total{{{labels}}} 1"));
        }
        assert_eq!(page(Vec::new()).len(), 1, "a zero before there is anything");
    }
}
