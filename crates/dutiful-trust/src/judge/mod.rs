//! Compares what the processes said with what the store says, and names every difference.
//!
//! The invariants, each a pure function in `invariants`:
//! J1 every acknowledged job ends in exactly one place, the one that its handler asked for;
//! J2 nothing exists or runs that was never sent, or was rolled back;
//! J3 one completion per job is accepted, and it is that of the last claim;
//! J4 a fence starts once, and no two attempts of a job overlap in the store's time;
//! J5 attempts count 1 to n without a gap, and only failures are charged;
//! J6 repeats are bounded by what was killed and stopped, and each is explained;
//! J7 the tally's numbers are those of the rows;
//! J11 the user's counter is the number of jobs done that raise it.

mod invariants;
mod signals;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use crate::final_state::{FinalState, Place, code};
use crate::history::History;
use crate::ledger::Kind;

/// For each slot a worker has at most so many runs, on average, whose end is not durable: one that
/// goes on, and short ones that wait for the shared commit.
const RUNS_PER_SLOT: u64 = 3;
/// For each slot a worker holds at most so many leases, on average: its runs, and what it claimed
/// ahead because the jobs are short.
const LEASES_PER_SLOT: u64 = 8;
/// So many violations are written out; the rest is counted.
const SENTENCES_MAX: usize = 40;

/// What the run promised.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The lease of its workers, in µs.
    pub lease_us: i64,
    /// True when live workers must keep their leases: a stall needs a kill, or a worker that says
    /// that it could not renew. (A process stopped while it holds the file's write lock keeps all
    /// others from renewing.)
    pub only_the_killed_stall: bool,
    /// A handler whose lease was lost while its process stood still hears of it within this many
    /// µs of its awakening.
    pub cancel_us_max: Option<i64>,
    /// The jobs of a killed process are rescued within this many µs.
    pub rescue_us_max: Option<i64>,
    /// After the server came back, a completion is accepted within this many µs.
    pub back_us_max: Option<i64>,
}

impl Rules {
    /// Returns the rules of a run in which live workers keep their leases, and nothing is timed.
    pub fn strict(lease: Duration) -> Self {
        let lease_us = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX);
        Self {
            lease_us,
            only_the_killed_stall: true,
            cancel_us_max: None,
            rescue_us_max: None,
            back_us_max: None,
        }
    }
}

/// What the judge found: the figures, and a sentence for each violation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Jobs that producers meant to enqueue.
    pub intended: u64,
    /// Of those, acknowledged.
    pub acked: u64,
    /// Of those, rolled back with the producer's transaction.
    pub rolled_back: u64,
    /// Jobs in the store.
    pub stored: u64,
    /// Of those, completed.
    pub completed: u64,
    /// Of those, raised the counter in the transaction that completed them.
    pub counted: u64,
    /// Of those in the store, dead, as their handlers asked.
    pub dead: u64,
    /// Acknowledged and not in exactly one final place.
    pub lost: u64,
    /// Runs of handlers.
    pub starts: u64,
    /// Runs beyond one per job.
    pub extra_starts: u64,
    /// Of those, after a stall.
    pub repeats: u64,
    /// How many there may have been: what killed and stopped processes could run, and what workers
    /// cancelled that could not renew.
    pub repeats_max: u64,
    /// How many leases may have stalled: what those processes could hold.
    pub stalled_max: u64,
    /// Jobs whose work was done more than once (at-least-once; 0 where it commits with the job).
    pub double_effects: u64,
    /// Attempts whose lease expired.
    pub stalled: u64,
    /// Attempts given back by workers that stopped.
    pub released: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Completions that the store accepted, as workers heard it.
    pub accepted: u64,
    /// Completions that the store refused, as workers heard it.
    pub refused: u64,
    /// Handlers that a worker cancelled because it could not renew their leases in time.
    pub self_fenced: u64,
    /// Handlers that saw a cancellation.
    pub cancelled_seen: u64,
    /// From SIGCONT until a handler with a lost lease knew, the slowest, in ms.
    pub cancel_ms_max: f64,
    /// From SIGKILL until the job was rescued, in ms.
    pub rescue_ms: Percentiles,
    /// The user's counter, if there is one.
    pub counter: Option<i64>,
    /// Processes killed.
    pub killed: u64,
    /// Processes stopped and woken.
    pub stopped: u64,
    /// Times that the server went away.
    pub outages: u64,
    /// From the server's return until a completion was accepted, the slowest, in ms.
    pub back_ms_max: f64,
    /// Ledgers whose last record was cut off.
    pub torn: u64,
    /// How many violations there are.
    pub violation_count: u64,
    /// The first of them.
    pub violations: Vec<String>,
}

/// A distribution by three of its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Percentiles {
    fn of_us(mut us: Vec<i64>) -> Self {
        us.sort_unstable();
        let at = |percent: usize| {
            let n = (us.len() * percent).div_ceil(100).max(1);
            us.get(n - 1).map_or(0.0, |us| *us as f64 / 1000.0)
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl Verdict {
    /// True when nothing was violated.
    pub fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    /// Adds a violation.
    pub fn blame(&mut self, sentence: String) {
        self.violation_count += 1;
        if self.violations.len() < SENTENCES_MAX {
            self.violations.push(sentence);
        }
    }
}

/// Judges a run that has come to its end.
pub fn judge(history: &History, state: &FinalState, rules: &Rules) -> Verdict {
    let mut verdict = figures(history, state);
    invariants::ends_once(history, state, &mut verdict);
    invariants::was_intended(history, state, &mut verdict);
    invariants::completed_once(history, state, &mut verdict);
    invariants::never_overlaps(history, state, rules, &mut verdict);
    invariants::attempts_are_whole(history, state, &mut verdict);
    signals::repeats_are_explained(history, state, rules, &mut verdict);
    signals::rescues_are_prompt(history, state, rules, &mut verdict);
    signals::nobody_is_overtaken(history, state, rules, &mut verdict);
    signals::work_goes_on(history, rules, &mut verdict);
    signals::cancellation_is_heard(history, state, rules, &mut verdict);
    invariants::tally_is_exact(state, &mut verdict);
    invariants::counter_is_exact(history, state, &mut verdict);
    if state.integrity != "ok" {
        verdict.blame(format!("the file is damaged: {}", state.integrity));
    }
    verdict
}

fn figures(history: &History, state: &FinalState) -> Verdict {
    let jobs_with = |kind| {
        history.jobs.values().filter(|entries| crate::history::has(entries, kind)).count() as u64
    };
    let standing = |place, detail: fn(i64) -> bool| {
        let rows = state.jobs.values().flat_map(|found| &found.places);
        rows.filter(|row| row.place == place && detail(row.detail)).count() as u64
    };
    let logged = |outcome| {
        let rows = state.jobs.values().flat_map(|found| &found.log);
        rows.filter(|row| row.outcome == outcome).count() as u64
    };
    let double = history
        .jobs
        .values()
        .filter(|entries| crate::history::of_kind(entries, Kind::Effect).count() > 1);
    let runs = |entries: &Vec<_>| crate::history::of_kind(entries, Kind::Start).count();
    let extra = history.jobs.values().map(|entries| runs(entries).saturating_sub(1) as u64);
    Verdict {
        intended: jobs_with(Kind::Intent),
        acked: jobs_with(Kind::Acked),
        rolled_back: jobs_with(Kind::RolledBack),
        stored: state.jobs.values().filter(|found| found.records > 0).count() as u64,
        completed: standing(Place::Done, |outcome| outcome == code::COMPLETED),
        dead: standing(Place::Dead, |_| true),
        starts: history.count(Kind::Start),
        extra_starts: extra.sum(),
        repeats_max: history.slots_lost() * RUNS_PER_SLOT + history.self_fenced(),
        stalled_max: (history.slots_lost() + history.slots_in_outages()) * LEASES_PER_SLOT
            + history.self_fenced(),
        double_effects: double.count() as u64,
        stalled: logged(code::STALLED)
            + standing(Place::Dead, |reason| reason == code::QUARANTINED),
        released: logged(code::RELEASED),
        failed: logged(code::FAILED),
        accepted: history.count(Kind::DoneOk),
        refused: history.count(Kind::DoneLost),
        self_fenced: history.self_fenced(),
        cancelled_seen: history.count(Kind::CancelledSeen),
        counter: state.counter,
        killed: history.signals(Kind::Killed).count() as u64,
        stopped: history.signals(Kind::Stopped).count() as u64,
        outages: history.signals(Kind::ServerDown).count() as u64,
        torn: history.torn,
        ..Verdict::default()
    }
}

/// Shows an id as the library does.
fn show(id: &crate::ledger::Id) -> dutiful::JobId {
    dutiful::JobId::from_bytes(*id)
}
