//! The numbers that stand in rows for states, outcomes and reasons. They are stored, so
//! they never change their meaning.

use crate::clock::Timestamp;
use crate::job::State;
use crate::store::{CLASS_BYTES_MAX, DeadReason, Failure};

/// `flags` of a place: the job holds a unique key.
pub(in crate::store) const UNIQUE: i64 = 1;
/// `flags` of a place: a crash loses the job rather than repeat it.
pub(in crate::store) const AT_MOST_ONCE: i64 = 2;

/// Where a job stands: ready, scheduled, lease, done, dead.
pub(in crate::store) const IN_LEASE: i64 = 3;
pub(in crate::store) const IN_DONE: i64 = 4;

/// `outcome` in done.
pub(in crate::store) const COMPLETED: i64 = 1;
pub(in crate::store) const CANCELLED: i64 = 2;
pub(in crate::store) const UNHEARD: i64 = 3;
pub(in crate::store) const FAILED_ONCE: i64 = 4;

/// `outcome` in attempt.
pub(in crate::store) const LOG_FAILED: i64 = 2;
pub(in crate::store) const LOG_DEAD: i64 = 3;
pub(in crate::store) const LOG_SNOOZED: i64 = 4;
pub(in crate::store) const LOG_RELEASED: i64 = 5;
pub(in crate::store) const LOG_STALLED: i64 = 6;
pub(in crate::store) const LOG_CANCELLED: i64 = 7;

/// `reason` in scheduled.
pub(in crate::store) const WAITS_FAILED: i64 = 1;
pub(in crate::store) const WAITS_SNOOZED: i64 = 2;

/// Returns the state that a place (1 ready, 2 scheduled, 3 lease, 4 done, 5 dead) and its detail
/// mean.
pub(in crate::store) fn state_of(place: i64, detail: i64, now: Timestamp) -> State {
    match (place, detail) {
        (1, _) | (2, 3) => State::Pending,
        (2, 1) => State::Failed,
        (2, _) => State::Scheduled,
        (3, until) if until < now.us() => State::Stalled,
        (3, _) => State::Active,
        (4, CANCELLED) => State::Cancelled,
        (4, _) => State::Completed,
        _ => State::Dead,
    }
}

/// Returns the class of a failure as it is kept: it is part of a key, so it is short, whoever made
/// it.
pub(in crate::store) fn class_of(failure: &Failure) -> &str {
    &failure.class[..failure.class.floor_char_boundary(CLASS_BYTES_MAX)]
}

/// Returns what `reason` in dead stands for.
pub(in crate::store) fn dead_reason(detail: i64) -> DeadReason {
    match detail {
        1 => DeadReason::Exhausted,
        2 => DeadReason::Discarded,
        _ => DeadReason::Quarantined,
    }
}

/// Writes tags as they are kept; none are no value.
pub(in crate::store) fn join_tags(tags: &[String]) -> Option<String> {
    (!tags.is_empty()).then(|| serde_json::to_string(tags).expect("strings always serialize"))
}

/// Returns what stands as `reason` in dead.
pub(in crate::store) fn reason_code(reason: DeadReason) -> i64 {
    match reason {
        DeadReason::Exhausted => 1,
        DeadReason::Discarded => 2,
        DeadReason::Quarantined => 3,
    }
}

/// Reads tags, which are kept as a JSON array, for they may hold any character.
pub(in crate::store) fn split_tags(text: Option<String>) -> Vec<String> {
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}
