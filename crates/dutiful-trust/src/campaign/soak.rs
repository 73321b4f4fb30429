//! Endurance: nobody is disturbed; memory, descriptors and the WAL must stay flat while jobs go
//! through for as long as a person has patience.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::{Campaign, Plan, Report};
use crate::fleet::Role;
use crate::judge::Rules;
use crate::roles::Mix;

/// How often the processes are looked at.
const SAMPLE: Duration = Duration::from_secs(2);
/// Of the run so much is warm-up, in which memory may grow.
const WARM_UP: f64 = 0.25;
/// A worker's memory may grow by so many MiB a minute after the warm-up: what is below is noise of
/// the allocator over minutes, what is above would be seen within a day.
const GROWTH_MAX: f64 = 0.25;
/// A worker stays under this many MiB.
const RSS_MAX: f64 = 64.0;
/// The WAL stays under this many MiB.
const WAL_MAX: f64 = 256.0;

/// What was seen of the processes and of the file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Endurance {
    /// Looks at each process.
    pub samples: usize,
    /// The most memory of any worker, in MiB.
    pub worker_rss_mib_max: f64,
    /// How fast the worker that grew most did so after the warm-up, in MiB a minute.
    pub worker_growth_mib_per_min: f64,
    /// The same of the producers.
    pub producer_growth_mib_per_min: f64,
    /// Descriptors of the worker that had most, after the warm-up and at the end.
    pub descriptors: [usize; 2],
    /// The largest WAL, in MiB.
    pub wal_mib_max: f64,
    /// The file at the end, in MiB: finished jobs are kept, so it grows.
    pub file_mib: f64,
}

/// One look at one process.
#[derive(Clone, Copy)]
struct Look {
    role: Role,
    pid: u32,
    minutes: f64,
    rss_mib: f64,
    descriptors: usize,
}

/// Producers and workers go on undisturbed.
///
/// # Errors
/// What keeps the campaign from being run; what it finds is in the report.
pub fn soak(plan: Plan) -> anyhow::Result<Report> {
    let rules = Rules::strict(plan.lease);
    let mut campaign = Campaign::start(plan, Mix::Random, Duration::from_millis(20))?;
    let file = campaign.home.file.clone().context("watch the files of a server")?;
    let (mut looks, mut wal_max) = (Vec::new(), 0.0_f64);
    let during = campaign.plan.during;
    while campaign.begun.elapsed() < during {
        campaign.fleet.pass(SAMPLE)?;
        looks.extend(look(&campaign));
        wal_max = wal_max.max(mib(&wal_of(&file)));
    }
    let mut endurance = sum_up(&looks, during);
    (endurance.wal_mib_max, endurance.file_mib) = (wal_max, mib(&file));
    let complaints = complaints(&endurance);
    campaign.fleet.complaints.extend(complaints);
    let mut report = campaign.finish(&rules)?;
    report.endurance = Some(endurance);
    Ok(report)
}

fn look(campaign: &Campaign) -> Vec<Look> {
    let minutes = campaign.begun.elapsed().as_secs_f64() / 60.0;
    let seen = campaign.fleet.live.iter().filter_map(|process| {
        let pid = process.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Look { role: process.role, pid, minutes, rss_mib: kib / 1024.0, descriptors })
    });
    seen.collect()
}

fn wal_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn mib(file: &Path) -> f64 {
    std::fs::metadata(file).map_or(0.0, |meta| meta.len() as f64 / (1024.0 * 1024.0))
}

fn sum_up(looks: &[Look], during: Duration) -> Endurance {
    let warm = during.as_secs_f64() / 60.0 * WARM_UP;
    let of = |role: Role| looks.iter().filter(move |look| look.role == role);
    let most = |looks: &mut dyn Iterator<Item = usize>| looks.max().unwrap_or(0);
    let last = looks.last().map_or(0.0, |look| look.minutes);
    let at = |minutes: f64| {
        let near = move |look: &&Look| (look.minutes - minutes).abs() < 0.1;
        most(&mut of(Role::Worker).filter(near).map(|look| look.descriptors))
    };
    Endurance {
        samples: looks.len(),
        worker_rss_mib_max: of(Role::Worker).map(|look| look.rss_mib).fold(0.0, f64::max),
        worker_growth_mib_per_min: growth(of(Role::Worker), warm),
        producer_growth_mib_per_min: growth(of(Role::Producer), warm),
        descriptors: [at(warm), at(last)],
        ..Endurance::default()
    }
}

/// Returns the steepest line through the memory of any one process after the warm-up.
fn growth<'a>(looks: impl Iterator<Item = &'a Look>, warm: f64) -> f64 {
    let mut by_pid: std::collections::BTreeMap<u32, Vec<(f64, f64)>> = Default::default();
    for look in looks.filter(|look| look.minutes >= warm) {
        by_pid.entry(look.pid).or_default().push((look.minutes, look.rss_mib));
    }
    by_pid.values().map(|points| slope(points)).fold(0.0, f64::max)
}

/// Least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let over: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let under: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

fn complaints(seen: &Endurance) -> Vec<String> {
    let mut all = Vec::new();
    if seen.worker_rss_mib_max > RSS_MAX {
        all.push(format!("a worker took {:.1} MiB of memory", seen.worker_rss_mib_max));
    }
    let grew = seen.worker_growth_mib_per_min.max(seen.producer_growth_mib_per_min);
    if grew > GROWTH_MAX {
        all.push(format!("a process grew by {grew:.2} MiB a minute after its warm-up"));
    }
    if seen.wal_mib_max > WAL_MAX {
        all.push(format!("the WAL grew to {:.0} MiB", seen.wal_mib_max));
    }
    if seen.descriptors[1] > seen.descriptors[0] {
        all.push(format!(
            "descriptors grew from {} to {}",
            seen.descriptors[0], seen.descriptors[1]
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rss: impl Fn(f64) -> f64) -> Endurance {
        let look = |n: usize| {
            let minutes = n as f64 / 30.0;
            Look { role: Role::Worker, pid: 7, minutes, rss_mib: rss(minutes), descriptors: 9 }
        };
        let looks: Vec<_> = (0..600).map(look).collect();
        sum_up(&looks, Duration::from_secs(20 * 60))
    }

    #[test]
    fn memory_that_settles_is_flat_and_memory_that_leaks_is_not() {
        let flat = run(|minutes| 30.0 - 10.0 * (-minutes).exp());
        assert!(complaints(&flat).is_empty(), "{flat:?}");
        let leak = run(|minutes| 20.0 + 0.3 * minutes);
        assert!((leak.worker_growth_mib_per_min - 0.3).abs() < 1e-6, "{leak:?}");
        assert_eq!(complaints(&leak).len(), 1);
        let large = run(|_| 70.0);
        assert_eq!(complaints(&large).len(), 1, "{large:?}");
    }
}
