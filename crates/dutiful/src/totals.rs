//! What was counted of all jobs since the store was made: events by queue and type, how long
//! attempts took, and what they failed with.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::id::Name;
use crate::store::tally::{BOUNDS_MS, BUCKETS};

/// Most error classes of one queue and type that are counted by themselves.
pub const ERROR_CLASSES_MAX: usize = 50;
/// The class under which the rest of them is counted, and failures of which no class is known.
pub const ERROR_CLASS_OTHER: &str = "other";

/// What was counted of the jobs of one type in one queue since the store was made, by all processes
/// together. Counts only grow; jobs that left the record stay counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeTotals {
    /// The queue.
    pub queue: Name,
    /// The type.
    #[serde(rename = "type")]
    pub job_type: Name,
    /// Jobs stored.
    pub enqueued: u64,
    /// Attempts that succeeded; at-most-once jobs count when they are claimed.
    pub completed: u64,
    /// Attempts that failed, the last one of a dead job among them.
    pub failed: u64,
    /// Jobs that died.
    pub dead: u64,
    /// Jobs that were stopped.
    pub cancelled: u64,
    /// Attempts that asked for a later run.
    pub snoozed: u64,
    /// Attempts that were given back.
    pub released: u64,
    /// Leases that ran out.
    pub stalled: u64,
    /// How long attempts ran that completed or failed.
    pub ran: Spread,
    /// How long their jobs had been due before they began.
    pub waited: Spread,
    /// The failed attempts by the class of their failure; together they are `failed`. At most
    /// [`ERROR_CLASSES_MAX`] have a number of their own, those seen first as a rule; the rest is
    /// `other`.
    pub error_classes: BTreeMap<String, u64>,
}

impl TypeTotals {
    /// Returns the totals of a type of which nothing was counted.
    pub fn none(queue: Name, job_type: Name) -> Self {
        Self {
            queue,
            job_type,
            enqueued: 0,
            completed: 0,
            failed: 0,
            dead: 0,
            cancelled: 0,
            snoozed: 0,
            released: 0,
            stalled: 0,
            ran: Spread::default(),
            waited: Spread::default(),
            error_classes: BTreeMap::new(),
        }
    }

    /// Adds those of another queue or type.
    pub fn add(&mut self, other: &Self) {
        self.enqueued += other.enqueued;
        self.completed += other.completed;
        self.failed += other.failed;
        self.dead += other.dead;
        self.cancelled += other.cancelled;
        self.snoozed += other.snoozed;
        self.released += other.released;
        self.stalled += other.stalled;
        self.ran.merge(&other.ran);
        self.waited.merge(&other.waited);
        for (class, n) in &other.error_classes {
            *self.error_classes.entry(class.clone()).or_default() += n;
        }
        bound_classes(&mut self.error_classes, ERROR_CLASSES_MAX, |_| false);
    }
}

/// Leaves the number of so many classes: those that are known, then the greatest, then by name. The
/// others go into [`ERROR_CLASS_OTHER`], which counts for none.
pub(crate) fn bound_classes(
    classes: &mut BTreeMap<String, u64>,
    most: usize,
    is_known: impl Fn(&str) -> bool,
) {
    // Nearly always there are few.
    if classes.len() <= most {
        return;
    }
    let other = classes.remove(ERROR_CLASS_OTHER);
    let mut all: Vec<_> = std::mem::take(classes).into_iter().collect();
    // It keeps the order of names where all else is the same.
    all.sort_by_key(|(class, n)| Reverse((is_known(class), *n)));
    let rest = all.split_off(most.min(all.len()));
    classes.extend(all);
    if other.is_some() || !rest.is_empty() {
        let sum = rest.iter().map(|(_, n)| n).sum::<u64>() + other.unwrap_or(0);
        classes.insert(ERROR_CLASS_OTHER.into(), sum);
    }
}

/// Upper bounds of the buckets of a [`Spread`], in ms; one more bucket holds what is slower.
pub const SPREAD_MS: [u64; BUCKETS - 1] = BOUNDS_MS;

/// How durations are spread: how many fell into each bucket, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many were no longer than each of [`SPREAD_MS`] (and longer than the one before); the
    /// last of these are all that were slower.
    pub buckets: [u64; BUCKETS],
    /// Their sum.
    pub sum: Duration,
}

impl Spread {
    /// Returns how many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds the durations of another.
    pub fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(classes: &[(&str, u64)]) -> BTreeMap<String, u64> {
        classes.iter().map(|(class, n)| ((*class).to_owned(), *n)).collect()
    }

    #[test]
    fn too_many_classes_leave_the_known_ones_then_the_greatest_and_no_failure_is_lost() {
        let all = named(&[("a", 1), ("b", 9), ("c", 5), ("d", 5), ("other", 2)]);
        let bounded = |most: usize, known: &str| {
            let mut classes = all.clone();
            bound_classes(&mut classes, most, |class| class == known);
            assert_eq!(classes.values().sum::<u64>(), 22);
            classes
        };
        assert_eq!(bounded(4, ""), all, "as many as there may be");
        assert_eq!(bounded(5, ""), all);
        assert_eq!(bounded(2, ""), named(&[("b", 9), ("c", 5), ("other", 8)]));
        assert_eq!(bounded(2, "a"), named(&[("a", 1), ("b", 9), ("other", 12)]));
    }

    #[test]
    fn sums_of_two_types_have_the_classes_of_both_within_the_limit() {
        let Ok(name) = Name::new("queue", "q") else { panic!("a name") };
        let of = |from: usize| {
            let mut one = TypeTotals::none(name.clone(), name.clone());
            one.failed = 40;
            one.error_classes = (from..from + 40).map(|n| (format!("exit {n}"), 1)).collect();
            one
        };
        let mut sum = of(0);
        sum.add(&of(20));
        assert_eq!(sum.failed, 80);
        assert_eq!(sum.error_classes.len(), ERROR_CLASSES_MAX + 1);
        assert_eq!(sum.error_classes["exit 25"], 2, "what both have is added");
        assert_eq!(sum.error_classes.values().sum::<u64>(), 80);
    }
}
