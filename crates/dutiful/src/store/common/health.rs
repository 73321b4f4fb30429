//! What a look at a store's health makes of what it found, where it is the same for every store.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::inspect::{Finding, Verdict, WorkerInfo, WorkerState};

/// A stored time may be ahead of the clock by this much.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// A lease that expired this long ago should have been rescued.
pub(in crate::store) const STALLED_MAX: Duration = Duration::from_secs(60);

pub(in crate::store) fn ok(check: &'static str, value: String) -> Finding {
    Finding { check, value, verdict: Verdict::Ok, advice: None }
}

pub(in crate::store) fn warning(check: &'static str, value: String, advice: &str) -> Finding {
    Finding { check, value, verdict: Verdict::Warning, advice: Some(advice.into()) }
}

pub(in crate::store) fn bad(check: &'static str, value: String, advice: &str) -> Finding {
    Finding { verdict: Verdict::Bad, ..warning(check, value, advice) }
}

pub(in crate::store) fn schema(version: i64, newest: i64) -> Finding {
    let value = format!("version {version}");
    if version == newest {
        return ok("schema", value);
    }
    let advice = format!("bring it to version {newest} with `dutiful migrate`");
    bad("schema", value, &advice)
}

/// `newest`: the latest time that was stored lately.
pub(in crate::store) fn clock(newest: Option<Timestamp>, now: Timestamp) -> Finding {
    let ahead = newest.map_or(Duration::ZERO, |at| at.since(now));
    if ahead <= AHEAD_MAX {
        return ok("clock", now.to_string());
    }
    let value = format!("{now}, and times {} s ahead of it are stored", ahead.as_secs());
    let advice = "set this machine's clock by NTP: it went back, or another machine's is ahead";
    warning("clock", value, advice)
}

pub(in crate::store) fn presence(workers: &[WorkerInfo]) -> Finding {
    let silent = workers.iter().filter(|one| one.state == WorkerState::Silent);
    let (count, leases) = silent.fold((0, 0), |(n, leases), one| (n + 1, leases + one.running));
    let value = format!("{} alive, {count} silent with {leases} leases", alive(workers));
    match (count, leases) {
        (_, 1..) => {
            let advice = "their jobs are rescued once their leases end and another worker runs; \
                          look whether those processes hang";
            warning("workers", value, advice)
        }
        (1.., 0) => warning("workers", value, "they ended without a word; find out why"),
        _ => ok("workers", format!("{} alive", alive(workers))),
    }
}

fn alive(workers: &[WorkerInfo]) -> usize {
    workers.iter().filter(|one| one.state == WorkerState::Alive).count()
}

pub(in crate::store) fn leader(led: bool, workers: &[WorkerInfo]) -> Finding {
    match (led, alive(workers)) {
        (true, _) => ok("leader", "one leads".into()),
        (false, 0) => ok("leader", "none, and no worker runs".into()),
        (false, alive) => {
            let value = format!("none, though {alive} workers run");
            let advice = "look again in half a minute; if none leads then, restart a worker: \
                          scheduled, failed and stalled jobs wait for a leader";
            warning("leader", value, advice)
        }
    }
}

/// `count` leases ended longer than [`STALLED_MAX`] ago, the `oldest` of them then.
pub(in crate::store) fn stalled(
    count: u64,
    oldest: Timestamp,
    now: Timestamp,
    workers: &[WorkerInfo],
) -> Finding {
    if count == 0 {
        return ok("stalled", "none waits for its rescue".into());
    }
    let value = format!("{count} wait for their rescue, one for {} s", now.since(oldest).as_secs());
    if alive(workers) == 0 {
        warning("stalled", value, "start a worker: only a running one rescues")
    } else {
        bad("stalled", value, "workers run and do not rescue: restart them and look at their logs")
    }
}

/// `foreign`: types of which jobs wait, and that no worker serves.
pub(in crate::store) fn types(foreign: &[String], workers: &[WorkerInfo]) -> Finding {
    if foreign.is_empty() {
        let served = alive(workers) > 0;
        let value =
            if served { "all that wait are served" } else { "none is due, and no worker runs" };
        return ok("types", value.into());
    }
    let value = format!("nobody serves {}, and jobs of it wait", foreign.join(", "));
    warning("types", value, "start a worker with handlers for these types")
}

/// A worker may know a type and not serve the queue that its jobs are in.
pub(in crate::store) fn queues(unserved: &[String], workers: &[WorkerInfo]) -> Finding {
    if alive(workers) == 0 {
        return ok("queues", "no worker runs".into());
    }
    if unserved.is_empty() {
        return ok("queues", "all in which jobs wait are served".into());
    }
    let value = format!("nobody serves {}, and jobs wait there", unserved.join(", "));
    let advice = "let a worker serve these queues, or enqueue into one that is served";
    warning("queues", value, advice)
}

/// `homeless` records stand in no place or in several; `strays` are places without a record.
pub(in crate::store) fn places(homeless: u64, strays: u64) -> Finding {
    if (homeless, strays) == (0, 0) {
        return ok("places", "each job stands in one place".into());
    }
    let value = format!("{homeless} jobs stand in no one place, {strays} places have no job");
    bad("places", value, "please report it, with a backup if you can share one")
}
