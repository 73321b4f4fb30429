//! What the store says of all processes together, read anew for each scrape.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dutiful::{Counts, QueueInfo, Stats, Vitals};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::labels::{Labels, OTHER};
use crate::monitor::Served;

/// Most queues that have rows of their own; the rest share one.
const QUEUES_MAX: usize = 200;

type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Seconds = Family<Labels<1>, Gauge<f64, AtomicU64>>;

/// What is shown of one queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) queue: Arc<str>,
    pub(crate) counts: Counts,
    oldest_pending_s: f64,
    overdue_s: f64,
    paused: bool,
}

/// Returns the families that come from the store; without its answer only that there was none.
pub(crate) fn registry(stats: Option<&Stats>, vitals: &Vitals, served: &Served) -> Registry {
    let mut registry = Registry::with_prefix("dutiful");
    let up: Gauge = Gauge::default();
    up.set(i64::from(stats.is_some()));
    registry.register("store_up", "1 if the store answered this scrape in time", up);
    if let Some(stats) = stats {
        register(&mut registry, stats, &lines(&stats.queues, served));
        register_vitals(&mut registry, vitals);
    }
    registry
}

fn register(registry: &mut Registry, stats: &Stats, lines: &[Line]) {
    let (jobs, paused) = (Gauges::default(), Gauges::default());
    let (oldest, overdue) = (Seconds::default(), Seconds::default());
    let stalled: Family<Labels<1>, Counter> = Family::default();
    for line in lines {
        let queue = || [("queue", line.queue.clone())];
        for (state, number) in states(&line.counts) {
            let labels = [("queue", line.queue.clone()), ("state", state.into())];
            jobs.get_or_create(&labels).set(signed(number));
        }
        oldest.get_or_create(&queue()).set(line.oldest_pending_s);
        overdue.get_or_create(&queue()).set(line.overdue_s);
        paused.get_or_create(&queue()).set(i64::from(line.paused));
        stalled.get_or_create(&queue()).inc_by(line.counts.stalled_total);
    }
    let warnings: Gauge = Gauge::default();
    warnings.set(signed(stats.warnings.len() as u64));
    registry.register("queue_jobs", "Jobs in the store by queue and state", jobs);
    let help = "How long the oldest pending job has been due";
    registry.register_with_unit("queue_oldest_pending", help, Unit::Seconds, oldest);
    let help = "How long ago the time of a scheduled job came that nobody moved to its queue";
    registry.register_with_unit("queue_overdue", help, Unit::Seconds, overdue);
    registry.register("queue_paused", "1 while no claims from the queue are allowed", paused);
    let help = "Leases rescued since the store was made, by any process";
    registry.register("queue_stalled", help, stalled);
    registry.register("store_warnings", "What `dutiful stats` warns of", warnings);
}

/// What is not known has no row.
fn register_vitals(registry: &mut Registry, vitals: &Vitals) {
    let number = |n: u64| -> Gauge {
        let gauge = Gauge::default();
        gauge.set(signed(n));
        gauge
    };
    let seconds = |s: f64| -> Gauge<f64, AtomicU64> {
        let gauge = Gauge::default();
        gauge.set(s);
        gauge
    };
    if let Some(rows) = vitals.dead_rows {
        let help = "Rows of our tables that are dead and not vacuumed yet";
        registry.register("store_dead_rows", help, number(rows));
    }
    if let Some(age) = vitals.snapshot_age_s {
        let help = "How long the oldest snapshot or transaction is held that keeps dead rows, of \
                    those that our role may see (pg_read_all_stats shows all); 0 while there is \
                    none";
        let (name, unit) = ("store_snapshot_age", Unit::Seconds);
        registry.register_with_unit(name, help, unit, seconds(age));
    }
    if let Some(bytes) = vitals.wal_bytes {
        let help = "Write-ahead log: on Postgres what was written since the last checkpoint, in \
                    all databases of the server; on SQLite the size of its file";
        registry.register_with_unit("store_wal", help, Unit::Bytes, number(bytes));
    }
    if let Some(lag) = vitals.doorbell_lag_s {
        let help = "How late this process may have heard lately that there is work: on Postgres \
                    the round trip of the connection that listens, on SQLite the time between two \
                    looks";
        registry.register_with_unit("store_doorbell_lag", help, Unit::Seconds, seconds(lag));
    }
}

fn states(counts: &Counts) -> [(&'static str, u64); 5] {
    [
        ("pending", counts.pending),
        ("scheduled", counts.scheduled),
        ("active", counts.active),
        ("failed", counts.failed),
        ("dead", counts.dead),
    ]
}

/// The served queues first, there or not; then the others while there is room, the rest summed up.
pub(crate) fn lines(queues: &[QueueInfo], served: &Served) -> Vec<Line> {
    let mut lines: Vec<Line> = served
        .queues()
        .map(|name| match queues.iter().find(|one| one.queue.as_str() == name) {
            Some(info) => line(info),
            None => Line { queue: name.into(), ..Line::default() },
        })
        .collect();
    let mut rest = Line { queue: OTHER.into(), ..Line::default() };
    let mut left_over = false;
    for info in queues {
        if served.queues().any(|name| name == info.queue.as_str()) {
            continue;
        }
        if lines.len() < QUEUES_MAX {
            lines.push(line(info));
            continue;
        }
        left_over = true;
        rest.counts.add(&info.counts);
        rest.oldest_pending_s = rest.oldest_pending_s.max(info.oldest_pending_s);
        rest.overdue_s = rest.overdue_s.max(info.overdue_s);
        rest.paused |= info.paused;
    }
    if left_over {
        lines.push(rest);
    }
    lines
}

fn line(info: &QueueInfo) -> Line {
    Line {
        queue: info.queue.as_str().into(),
        counts: info.counts,
        oldest_pending_s: info.oldest_pending_s,
        overdue_s: info.overdue_s,
        paused: info.paused,
    }
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use dutiful::Name;

    use super::*;

    fn info(queue: &str, pending: u64) -> QueueInfo {
        QueueInfo {
            queue: Name::new("queue", queue).unwrap(),
            counts: Counts { pending, ..Counts::default() },
            oldest_pending_s: pending as f64,
            overdue_s: 0.0,
            paused: false,
        }
    }

    #[test]
    fn keeps_the_served_queues_and_sums_up_the_rest() {
        let served = Served { queues: vec![("z".into(), 1)], ..Served::default() };
        let mut queues: Vec<_> = (0..QUEUES_MAX).map(|n| info(&format!("a{n:03}"), 1)).collect();
        queues.push(info("other", 5));
        queues.push(info("z", 7));
        let lines = lines(&queues, &served);
        assert_eq!(lines.len(), QUEUES_MAX + 1);
        let pending = |name: &str| {
            lines.iter().find(|line| &*line.queue == name).map(|line| line.counts.pending)
        };
        assert_eq!(pending("z"), Some(7));
        assert_eq!(pending("default"), Some(0));
        assert_eq!(pending("other"), Some(5 + 2));
        let all: u64 = lines.iter().map(|line| line.counts.pending).sum();
        assert_eq!(all, QUEUES_MAX as u64 + 5 + 7, "no job is lost from the sum");
    }
}
