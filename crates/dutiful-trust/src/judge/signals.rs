//! J6, and how soon: repeats, rescues and cancellations, explained by what was done to processes.

use std::collections::HashMap;

use super::{Percentiles, Rules, Verdict, show};
use crate::final_state::{FinalState, Found, Place, code};
use crate::history::{History, of_kind};
use crate::ledger::{Entry, Id, Kind};

/// J6: every run beyond the first follows an attempt whose end is in the log; runs after a stall
/// are at most what killed and stopped processes could hold; and who was left alone never stalls.
pub(super) fn repeats_are_explained(
    history: &History,
    state: &FinalState,
    rules: &Rules,
    verdict: &mut Verdict,
) {
    const ENDS: [i64; 4] = [code::FAILED, code::SNOOZED, code::RELEASED, code::STALLED];
    for (id, entries) in &history.jobs {
        let log = state.jobs.get(id).map_or(&[][..], |found| &found.log);
        let runs: Vec<_> = of_kind(entries, Kind::Start).collect();
        for pair in runs.windows(2) {
            let logged = log.iter().find(|row| row.attempt == pair[0].attempt);
            match logged.map(|row| row.outcome) {
                Some(code::STALLED) => verdict.repeats += 1,
                Some(outcome) if ENDS.contains(&outcome) => {}
                outcome => {
                    let (one, next) = (pair[0].attempt, pair[1].attempt);
                    let what = format!("attempt {one} has the outcome {outcome:?} in the log");
                    verdict.blame(format!("J6: job {} ran again as {next}, {what}", show(id)));
                }
            }
        }
    }
    let bounds = [
        ("runs were repeated after stalls", verdict.repeats, verdict.repeats_max),
        ("leases stalled", verdict.stalled, verdict.stalled_max),
    ];
    for (what, n, max) in bounds.into_iter().filter(|(_, n, max)| n > max) {
        verdict
            .blame(format!("J6: {n} {what}, and what was killed and stopped accounts for {max}"));
    }
    if rules.only_the_killed_stall {
        stalls_need_a_signal(history, state, verdict);
    }
}

fn stalls_need_a_signal(history: &History, state: &FinalState, verdict: &mut Verdict) {
    let disturbed = history.disturbed();
    for (id, attempt, worker, _) in stalls(state) {
        let pid = state.pids.get(&worker);
        if pid.is_none_or(|pid| !disturbed.contains(pid)) {
            let what = format!("stalled in a process that nobody touched ({pid:?})");
            verdict.blame(format!("J6: attempt {attempt} of job {} {what}", show(&id)));
        }
    }
}

/// Returns the attempts whose lease expired: job, attempt, worker, when it was rescued.
fn stalls(state: &FinalState) -> impl Iterator<Item = (Id, u32, i64, i64)> {
    state.jobs.iter().flat_map(|(id, found)| {
        let logged = found.log.iter().filter(|row| row.outcome == code::STALLED);
        let logged = logged.map(|row| (*id, row.attempt, row.worker, row.finished_at));
        logged.chain(quarantined(found).map(|(a, w, at)| (*id, a, w, at)))
    })
}

fn quarantined(found: &Found) -> impl Iterator<Item = (u32, i64, i64)> {
    let dead = found.places.iter().filter(|row| row.place == Place::Dead);
    dead.filter(|row| row.detail == code::QUARANTINED)
        .map(|row| (row.attempt, row.worker, row.finished_at))
}

/// How long the jobs of killed processes waited for their rescue.
pub(super) fn rescues_are_prompt(
    history: &History,
    state: &FinalState,
    rules: &Rules,
    verdict: &mut Verdict,
) {
    let killed = history.killed();
    let killed_at = |worker: &i64| killed.get(state.pids.get(worker)?).copied();
    let waits = stalls(state)
        .filter_map(|(_, _, worker, rescued_at)| Some((rescued_at - killed_at(&worker)?).max(0)));
    verdict.rescue_ms = Percentiles::of_us(waits.collect());
    let worst = verdict.rescue_ms.p99;
    if let Some(max) = rules.rescue_us_max
        && worst > max as f64 / 1000.0
    {
        let max = max / 1000;
        verdict.blame(format!("T5: 1 in 100 rescues came after {worst} ms, promised are {max} ms"));
    }
}

/// After each return of the server a completion is accepted soon.
pub(super) fn work_goes_on(history: &History, rules: &Rules, verdict: &mut Verdict) {
    let Some(max) = rules.back_us_max else { return };
    for (n, back) in history.returns().into_iter().enumerate() {
        let ms = back.map(|us| us as f64 / 1000.0);
        verdict.back_ms_max = verdict.back_ms_max.max(ms.unwrap_or(0.0));
        if back.is_none_or(|us| us > max) {
            let what = ms.map_or("never".to_owned(), |ms| format!("{ms} ms later"));
            verdict.blame(format!("T17: after outage {} a job was completed {what}", n + 1));
        }
    }
}

/// A handler that ran while its process stood still, and whose lease was lost, hears of it soon
/// after the awakening: it is cancelled, or it ended by itself before that.
pub(super) fn cancellation_is_heard(
    history: &History,
    state: &FinalState,
    rules: &Rules,
    verdict: &mut Verdict,
) {
    let Some(max) = rules.cancel_us_max else { return };
    let sleeps = sleeps(history);
    for (id, attempt, _, rescued_at) in stalls(state) {
        let entries = history.job(&id);
        let Some(run) = of_kind(entries, Kind::Start).find(|entry| entry.attempt == attempt) else {
            continue;
        };
        let mut slept = sleeps.get(&run.pid).into_iter().flatten();
        // The sleep that cost the lease: the last that began before the rescue.
        let cost = slept.rfind(|(from, _)| run.at < *from && *from < rescued_at);
        let Some((_, woken)) = cost.copied().filter(|(_, until)| *until != i64::MAX) else {
            continue;
        };
        let heard = heard_at(entries, run);
        let late = heard.map(|at| at - woken);
        verdict.cancel_ms_max = verdict.cancel_ms_max.max(late.unwrap_or(0).max(0) as f64 / 1000.0);
        if late.is_none_or(|late| late > max) {
            let what = match late {
                Some(late) => format!("{} ms after its process woke up", late / 1000),
                None => "never".to_owned(),
            };
            let job = show(&id);
            verdict.blame(format!("T3: attempt {attempt} of job {job} was cancelled {what}"));
        }
    }
}

/// J4 by the outside clock: who cannot renew stops by itself before its lease can be given to
/// another. Only who was killed, or stood still, may be overtaken.
pub(super) fn nobody_is_overtaken(
    history: &History,
    state: &FinalState,
    rules: &Rules,
    verdict: &mut Verdict,
) {
    // A transaction under way cannot be stopped, only refused.
    let Some(max) = rules.cancel_us_max else { return };
    let (killed, sleeps) = (history.killed(), sleeps(history));
    for (id, attempt, _, _) in stalls(state) {
        let entries = history.job(&id);
        let mut runs = of_kind(entries, Kind::Start);
        let Some(run) = runs.find(|entry| entry.attempt == attempt) else { continue };
        let Some(next) = of_kind(entries, Kind::Start).find(|entry| entry.attempt > attempt) else {
            continue;
        };
        let dead = killed.get(&run.pid).is_some_and(|at| *at <= next.at);
        let mut slept = sleeps.get(&run.pid).into_iter().flatten();
        let asleep =
            slept.any(|(from, until)| *from <= next.at && next.at <= until.saturating_add(max));
        if !dead && !asleep && heard_at(entries, run).is_none_or(|at| at > next.at) {
            let (job, later) = (show(&id), next.attempt);
            verdict.blame(format!("J4: attempt {attempt} of job {job} still ran beside {later}"));
        }
    }
}

/// When each process stood still: from SIGSTOP to SIGCONT, or for ever.
fn sleeps(history: &History) -> HashMap<u32, Vec<(i64, i64)>> {
    let mut sleeps: HashMap<u32, Vec<(i64, i64)>> = HashMap::new();
    for stopped in history.signals(Kind::Stopped) {
        let woken = history
            .signals(Kind::Continued)
            .find(|entry| entry.pid == stopped.pid && entry.at >= stopped.at);
        let until = woken.map_or(i64::MAX, |entry| entry.at);
        sleeps.entry(stopped.pid).or_default().push((stopped.at, until));
    }
    sleeps
}

/// When the handler of this run learnt that it is over.
fn heard_at(entries: &[Entry], run: &Entry) -> Option<i64> {
    let mine = |entry: &&Entry| (entry.attempt, entry.nonce) == (run.attempt, run.nonce);
    let over = [Kind::CancelledSeen, Kind::Effect];
    entries.iter().filter(mine).find(|entry| over.contains(&entry.kind)).map(|entry| entry.at)
}
