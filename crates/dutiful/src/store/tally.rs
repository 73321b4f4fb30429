//! What is counted and in which buckets: the same numbers in every store, so they never change.

use std::time::Duration;

/// Upper bounds of the histogram's buckets in ms; one more bucket holds what is slower.
pub(crate) const BOUNDS_MS: [u64; 15] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000];

/// How many buckets a histogram has.
pub(crate) const BUCKETS: usize = BOUNDS_MS.len() + 1;

/// What is counted. The numbers are stored, so they never change their meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i64)]
pub(super) enum Event {
    Enqueued = 0,
    Completed = 1,
    Failed = 2,
    Dead = 3,
    Cancelled = 4,
    Snoozed = 5,
    Released = 6,
    Stalled = 7,
    /// A completed job left the record (pruned or deleted).
    CompletedGone = 8,
    /// A cancelled job left the record or went back into the queue.
    CancelledGone = 9,
}

/// Returns the bucket that a duration falls into, counted from 0.
pub(super) fn bucket(took: Duration) -> usize {
    let ms = took.as_millis() as u64;
    BOUNDS_MS.partition_point(|bound| *bound < ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_upper_bound_and_the_last_one_all_that_is_slower() {
        let of = |ms| bucket(Duration::from_millis(ms));
        assert_eq!([of(0), of(1), of(2), of(5), of(300_000)], [0, 0, 1, 1, 14]);
        assert_eq!((of(300_001), bucket(Duration::MAX)), (15, 15));
        assert_eq!(BUCKETS, 16);
    }
}
