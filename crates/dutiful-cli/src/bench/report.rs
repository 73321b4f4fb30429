//! What the bench prints: one JSON object, or a table.

use dutiful::Facts;
use serde::Serialize;

use super::Args;
use super::drain::Drained;
use super::verify::Verified;
use crate::failure::Failure;
use crate::output;

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    store: &'static str,
    version: String,
    durability: String,
    jobs: u64,
    payload_bytes: u64,
    pub(super) enqueue_single_per_s: f64,
    pub(super) enqueue_concurrent_per_s: f64,
    pub(super) enqueue_bulk_per_s: f64,
    drain_per_s: f64,
    workers: u64,
    concurrency: u64,
    scheduled: u64,
    finished: u64,
    dead: u64,
    queues: u64,
    run_ms: u64,
    pickup_ms: Percentiles,
    pickup_in_process_ms: Percentiles,
    cpu_s_per_10k: Cpu,
    rss_mib: f64,
    pub(super) verified: Verified,
}

/// Times in ms.
#[derive(Debug, Default, Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

impl Percentiles {
    fn of(sorted: &[f64]) -> Self {
        let at = |part: f64| {
            let last = sorted.len().saturating_sub(1);
            sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(0.0)
        };
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }

    fn shown(&self) -> String {
        format!("{} · {} · {} ms", self.p50, self.p95, self.p99)
    }
}

/// CPU seconds for 10,000 drained jobs.
#[derive(Debug, Default, Serialize)]
struct Cpu {
    worker: f64,
    /// An embedded store spends the worker's.
    store: f64,
}

impl Report {
    pub(super) fn new(facts: &Facts, args: &Args) -> Self {
        Self {
            store: facts.store,
            version: facts.version.clone(),
            durability: facts.durability.clone(),
            jobs: args.jobs,
            payload_bytes: args.payload_bytes,
            enqueue_single_per_s: 0.0,
            enqueue_concurrent_per_s: 0.0,
            enqueue_bulk_per_s: 0.0,
            drain_per_s: 0.0,
            workers: args.workers,
            concurrency: args.concurrency,
            scheduled: args.scheduled,
            finished: args.finished,
            dead: args.dead,
            queues: args.queues,
            run_ms: args.run_ms,
            pickup_ms: Percentiles::default(),
            pickup_in_process_ms: Percentiles::default(),
            cpu_s_per_10k: Cpu::default(),
            rss_mib: 0.0,
            verified: Verified::default(),
        }
    }

    pub(super) fn take_drain(&mut self, drained: Drained, jobs: u64) {
        self.drain_per_s = drained.per_second();
        let per_10k = drained.cpu_s / (jobs as f64) * 10_000.0;
        self.cpu_s_per_10k.worker = (per_10k * 10_000.0).round() / 10_000.0;
        self.rss_mib = drained.rss_mib;
    }

    /// Takes times that are sorted, of a worker elsewhere and of one in this process.
    pub(super) fn take_pickup(&mut self, elsewhere: &[f64], here: &[f64]) {
        self.pickup_ms = Percentiles::of(elsewhere);
        self.pickup_in_process_ms = Percentiles::of(here);
    }

    pub(super) fn print(&self) -> Result<(), Failure> {
        let mut table = output::table(["measured", "figure"]);
        let mut row = |what: &str, figure: String| {
            table.add_row([what.to_owned(), figure]);
        };
        row("enqueue, one by one", format!("{}/s", self.enqueue_single_per_s));
        row("enqueue, from 50 tasks", format!("{}/s", self.enqueue_concurrent_per_s));
        row("enqueue, in bulk", format!("{}/s", self.enqueue_bulk_per_s));
        row("drain", format!("{}/s", self.drain_per_s));
        row("pickup elsewhere, p50 · p95 · p99", self.pickup_ms.shown());
        row("pickup in this process", self.pickup_in_process_ms.shown());
        row("CPU for 10,000 jobs", format!("{} s", self.cpu_s_per_10k.worker));
        row("memory of a worker", format!("{} MiB", self.rss_mib));
        let Verified { completed, lost, duplicated } = self.verified;
        row("completed · lost · duplicated", format!("{completed} · {lost} · {duplicated}"));
        output::line(format!("{} {}, {}", self.store, self.version, self.durability))?;
        output::line(table)
    }
}
