//! J1 to J5, J7 and J11: what must be true of each job, whatever was done to the processes.

use std::collections::{HashMap, HashSet};

use super::{Rules, Verdict, show};
use crate::final_state::{FinalState, Found, Place, Standing, code};
use crate::history::{History, has, of_kind};
use crate::ledger::{END_COUNTED, END_DEAD, END_QUARANTINED, Entry, Id, Kind};

/// A store may be this much behind its own clock (it holds small steps back), in µs.
const CLOCK_SLACK_US: i64 = 1000;

/// J1: what was acknowledged, and what is stored, stands in exactly one final place.
pub(super) fn ends_once(history: &History, state: &FinalState, verdict: &mut Verdict) {
    for (id, entries) in &history.jobs {
        if has(entries, Kind::Acked) && !state.jobs.contains_key(id) {
            verdict.lost += 1;
            verdict.blame(format!("J1: job {} was acknowledged and is gone", show(id)));
        }
    }
    for (id, found) in &state.jobs {
        let wrong = match found.places.as_slice() {
            [] => Some("stands nowhere".to_owned()),
            [one] => not_final(one).or_else(|| unasked_end(history.job(id), one)),
            several => {
                let places: Vec<_> = several.iter().map(|one| one.place).collect();
                Some(format!("stands in {} places at once: {places:?}", places.len()))
            }
        };
        let wrong = wrong
            .or_else(|| (found.records != 1).then(|| format!("has {} records", found.records)));
        if let Some(wrong) = wrong {
            verdict.lost += 1;
            let acked = has(history.job(id), Kind::Acked);
            verdict.blame(format!("J1: job {} (acknowledged: {acked}) {wrong}", show(id)));
        }
    }
}

fn not_final(one: &Standing) -> Option<String> {
    match one.place {
        Place::Done | Place::Dead => None,
        place => Some(format!("has not ended, it stands in {place:?}")),
    }
}

/// The producer wrote down how the handler will end the job.
fn unasked_end(entries: &[Entry], one: &Standing) -> Option<String> {
    let asked = of_kind(entries, Kind::Intent).next()?.attempt;
    let quarantined = one.detail == code::QUARANTINED;
    let (asked, fits) = match asked {
        END_DEAD => ("give up", one.place == Place::Dead && !quarantined),
        END_QUARANTINED => ("be quarantined", one.place == Place::Dead && quarantined),
        _ => ("complete", one.place == Place::Done && one.detail == code::COMPLETED),
    };
    (!fits).then(|| format!("should {asked}, and stands in {:?} with {}", one.place, one.detail))
}

/// J2: what was never sent, or was rolled back, neither exists nor runs.
pub(super) fn was_intended(history: &History, state: &FinalState, verdict: &mut Verdict) {
    for (id, entries) in &history.jobs {
        let (sent, back) = (has(entries, Kind::Intent), has(entries, Kind::RolledBack));
        let ran = has(entries, Kind::Start);
        if ran && !sent {
            verdict.blame(format!("J2: job {} ran and nobody sent it", show(id)));
        }
        if back && (ran || state.jobs.contains_key(id)) {
            verdict.blame(format!("J2: job {} was rolled back and exists or ran", show(id)));
        }
    }
    for id in state.jobs.keys().filter(|id| !has(history.job(id), Kind::Intent)) {
        verdict.blame(format!("J2: job {} is stored and nobody sent it", show(id)));
    }
}

/// J3: one completion is accepted, it belongs to an attempt that did the work, and no later claim
/// was made.
pub(super) fn completed_once(history: &History, state: &FinalState, verdict: &mut Verdict) {
    for (id, entries) in &history.jobs {
        let accepted: HashSet<_> = of_kind(entries, Kind::DoneOk).map(fence).collect();
        if accepted.len() > 1 {
            let what = format!("{} completions were accepted: {accepted:?}", accepted.len());
            verdict.blame(format!("J3: of job {} {what}", show(id)));
        }
        let done = state.jobs.get(id).and_then(completed);
        for (attempt, nonce) in &accepted {
            if done.is_none_or(|row| (row.attempt, row.nonce) != (*attempt, *nonce)) {
                let what = format!("attempt {attempt} was told that it completed");
                let row = done.map(|row| row.attempt);
                verdict.blame(format!("J3: of job {} {what}, on record is {row:?}", show(id)));
            }
        }
        if let Some(row) = done {
            is_last_and_worked(id, entries, row, verdict);
            // Who gave its lease up may hear later that its transaction was in time after all.
            if !counts(entries) {
                was_not_refused(id, entries, row, verdict);
            }
        }
    }
}

fn is_last_and_worked(id: &Id, entries: &[Entry], row: &Standing, verdict: &mut Verdict) {
    let mine = |entry: &&Entry| fence(entry) == (row.attempt, row.nonce);
    if let Some(later) = of_kind(entries, Kind::Start).find(|entry| entry.attempt > row.attempt) {
        let what = format!("attempt {} is on record as completed", row.attempt);
        verdict.blame(format!("J3: of job {} {what}, but {} began", show(id), later.attempt));
    }
    if !of_kind(entries, Kind::Effect).any(|entry| mine(&entry)) {
        let what = format!("attempt {} completed without doing the work", row.attempt);
        verdict.blame(format!("J3: of job {} {what}", show(id)));
    }
}

fn was_not_refused(id: &Id, entries: &[Entry], row: &Standing, verdict: &mut Verdict) {
    let mine = |entry: &Entry| fence(entry) == (row.attempt, row.nonce);
    if of_kind(entries, Kind::DoneLost).any(mine) {
        let what = format!("attempt {} was refused and is on record as completed", row.attempt);
        verdict.blame(format!("J3: of job {} {what}", show(id)));
    }
}

fn completed(found: &Found) -> Option<&Standing> {
    let is_completed = |row: &&Standing| row.place == Place::Done && row.detail == code::COMPLETED;
    found.places.iter().find(is_completed)
}

fn fence(entry: &Entry) -> (u32, i64) {
    (entry.attempt, entry.nonce)
}

/// J4: a fence starts once, an attempt has one nonce, and attempts follow one another: each begins
/// after the one before has ended, and none is taken away before its lease could expire.
pub(super) fn never_overlaps(
    history: &History,
    state: &FinalState,
    rules: &Rules,
    verdict: &mut Verdict,
) {
    for (id, entries) in &history.jobs {
        let mut nonces = HashMap::new();
        for start in of_kind(entries, Kind::Start) {
            let what = match nonces.insert(start.attempt, start.nonce) {
                Some(nonce) if nonce == start.nonce => "began twice",
                Some(_) => "was given to two claims",
                None => continue,
            };
            let attempt = start.attempt;
            verdict.blame(format!("J4: attempt {attempt} of job {} {what}", show(id)));
        }
    }
    for (id, found) in &state.jobs {
        let mut spans: Vec<_> =
            found.log.iter().map(|row| (row.attempt, row.started_at, row.finished_at)).collect();
        let last = found.places.iter().filter(|row| row.worker != 0);
        spans.extend(last.map(|row| (row.attempt, row.started_at, row.finished_at)));
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let ((earlier, _, ended), (later, began, _)) = (pair[0], pair[1]);
            if began + CLOCK_SLACK_US < ended {
                let early = ended - began;
                let what = format!("began {early} µs before attempt {earlier} had ended");
                verdict.blame(format!("J4: attempt {later} of job {} {what}", show(id)));
            }
        }
        for row in found.log.iter().filter(|row| row.outcome == code::STALLED) {
            let held = row.finished_at - row.started_at;
            if held + CLOCK_SLACK_US < rules.lease_us {
                let what = format!("was taken away {held} µs after its claim");
                verdict.blame(format!("J4: attempt {} of job {} {what}", row.attempt, show(id)));
            }
        }
    }
}

/// J5: the log and the final row hold the attempts 1 to n, and exactly the failures are charged:
/// those in the log, which are those that the job was sent to have.
pub(super) fn attempts_are_whole(history: &History, state: &FinalState, verdict: &mut Verdict) {
    for (id, found) in &state.jobs {
        let [last] = found.places.as_slice() else { continue };
        let mut attempts: Vec<u32> = found.log.iter().map(|row| row.attempt).collect();
        if matches!(last.place, Place::Done | Place::Dead | Place::Lease) {
            attempts.push(last.attempt);
        }
        if !attempts.iter().copied().eq(1..=last.attempt) {
            let what = format!("has the attempts {attempts:?} and ended with {}", last.attempt);
            verdict.blame(format!("J5: job {} {what}", show(id)));
        }
        let failed = found.log.iter().filter(|row| row.outcome == code::FAILED).count() as u32;
        let gave_up = last.place == Place::Dead && last.detail != code::QUARANTINED;
        let charged = failed + u32::from(gave_up);
        if last.failures != charged {
            let what = format!("failed {charged} times and was charged {}", last.failures);
            verdict.blame(format!("J5: job {} {what}", show(id)));
        }
        let intent = of_kind(history.job(id), Kind::Intent).next();
        if let Some(sent) = intent.filter(|sent| sent.nonce != i64::from(last.failures)) {
            let what = format!("had to fail {} times and failed {}", sent.nonce, last.failures);
            verdict.blame(format!("J5: job {} {what}", show(id)));
        }
    }
}

/// J7: what the tally counted is what the rows say.
pub(super) fn tally_is_exact(state: &FinalState, verdict: &mut Verdict) {
    let failed = verdict.failed + state.jobs.values().filter(|found| gave_up(found)).count() as u64;
    let expected = [
        ("enqueued", code::TALLY_ENQUEUED, verdict.stored),
        ("completed", code::TALLY_COMPLETED, verdict.completed),
        ("failed", code::TALLY_FAILED, failed),
        ("stalled", code::TALLY_STALLED, verdict.stalled),
    ];
    for (name, event, rows) in expected {
        let counted = state.tally.get(&event).copied().unwrap_or(0);
        if counted != rows as i64 {
            verdict.blame(format!("J7: the tally counted {counted} {name}, the rows say {rows}"));
        }
    }
}

fn gave_up(found: &Found) -> bool {
    found.places.iter().any(|row| row.place == Place::Dead && row.detail != code::QUARANTINED)
}

/// J11: the counter, raised by jobs in the transaction that completes them, is the number of those
/// that are done; no handler saw its transaction commit twice for a job.
pub(super) fn counter_is_exact(history: &History, state: &FinalState, verdict: &mut Verdict) {
    let counting: Vec<_> = history.jobs.iter().filter(|(_, entries)| counts(entries)).collect();
    if counting.is_empty() {
        return;
    }
    let is_done = |id| state.jobs.get(id).and_then(completed).is_some();
    let done = counting.iter().filter(|(id, _)| is_done(*id)).count();
    verdict.counted = done as u64;
    if state.counter != Some(done as i64) {
        let counter = state.counter;
        verdict.blame(format!("J11: the counter is {counter:?} and {done} of its jobs are done"));
    }
    for (id, entries) in counting {
        let committed = of_kind(entries, Kind::DoneOk).count();
        if committed > 1 {
            let what = format!("the transaction committed {committed} times");
            verdict.blame(format!("J11: of job {} {what}", show(id)));
        }
    }
}

/// True for a job that was sent to raise the counter.
fn counts(entries: &[Entry]) -> bool {
    of_kind(entries, Kind::Intent).any(|sent| sent.attempt == END_COUNTED)
}
