//! The numbers of one queue in one step of the history: counters, what stood in it at the end, and
//! how its attempts were spread.

use dutiful::{Counts, SPREAD_MS, TypeTotals};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many buckets a spread has: one more than it has bounds.
const BUCKETS: usize = SPREAD_MS.len() + 1;

/// How many attempts fell into each bucket.
pub(crate) type Buckets = [u64; BUCKETS];

/// The numbers of a queue, or of several together. What is zero is not written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Numbers {
    /// Jobs stored within the step.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) enqueued: u64,
    /// Attempts within the step that succeeded.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) completed: u64,
    /// Attempts within the step that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) failed: u64,
    /// Jobs that died within the step.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) died: u64,
    /// Leases that ran out within the step.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) stalled: u64,
    /// Due and waiting at the end of the step.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) pending: u64,
    /// Waiting for a time at the end of the step.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) scheduled: u64,
    /// Under a lease at the end of the step.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) active: u64,
    /// In the dead letter queue at the end of the step.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) dead: u64,
    /// Longest time in seconds for which a job was seen to be due within the step.
    #[serde(skip_serializing_if = "is_none_at_all")]
    pub(crate) oldest_s: f64,
    /// How long attempts ran that ended within the step.
    #[serde(
        skip_serializing_if = "are_empty",
        serialize_with = "write",
        deserialize_with = "read"
    )]
    pub(crate) ran: Buckets,
    /// How long their jobs had been due before they began.
    #[serde(
        skip_serializing_if = "are_empty",
        serialize_with = "write",
        deserialize_with = "read"
    )]
    pub(crate) waited: Buckets,
}

impl Numbers {
    /// Adds what was counted of one type since the store was made.
    pub(super) fn count_type(&mut self, one: &TypeTotals) {
        self.count(&Self {
            enqueued: one.enqueued,
            completed: one.completed,
            failed: one.failed,
            died: one.dead,
            stalled: one.stalled,
            ran: one.ran.buckets,
            waited: one.waited.buckets,
            ..Self::default()
        });
    }

    /// Takes over how many jobs stand in the queue now.
    pub(super) fn stand(&mut self, counts: &Counts, oldest_s: f64) {
        self.pending = counts.pending;
        self.scheduled = counts.scheduled;
        self.active = counts.active;
        self.dead = counts.dead;
        self.oldest_s = oldest_s;
    }

    /// Goes on to a later look: counters add up, what stands there replaces what stood there.
    pub(super) fn go_on(&mut self, later: &Self) {
        self.count(later);
        (self.pending, self.scheduled) = (later.pending, later.scheduled);
        (self.active, self.dead) = (later.active, later.dead);
        self.oldest_s = self.oldest_s.max(later.oldest_s);
    }

    /// Adds the numbers of another queue in the same step.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count(other);
        self.pending += other.pending;
        self.scheduled += other.scheduled;
        self.active += other.active;
        self.dead += other.dead;
        self.oldest_s = self.oldest_s.max(other.oldest_s);
    }

    /// Returns these numbers with what was counted since `earlier` only. A store that was restored
    /// counts less than before; that is no number of jobs.
    pub(super) fn since(mut self, earlier: &Self) -> Self {
        self.each(earlier, u64::saturating_sub);
        self
    }

    /// Returns what falls on the part of an interval: of all parts together each is counted once.
    pub(super) fn part(&self, from: i64, to: i64, whole: i64) -> Self {
        let mut part = self.clone();
        let until = |number: u64, at: i64| (u128::from(number) * at as u128 / whole as u128) as u64;
        part.each(self, |number, _| until(number, to) - until(number, from));
        part
    }

    /// Returns the counters alone.
    pub(super) fn counters(mut self) -> Self {
        (self.pending, self.scheduled, self.active, self.dead) = (0, 0, 0, 0);
        self.oldest_s = 0.0;
        self
    }

    /// Returns what stands there alone.
    pub(super) fn standing(self) -> Self {
        let same = self.clone();
        self.since(&same)
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// By this the busiest queues are chosen.
    pub(super) fn business(&self) -> u64 {
        let moved = self.enqueued + self.completed + self.failed + self.stalled;
        moved + self.pending + self.active + self.dead
    }

    fn count(&mut self, other: &Self) {
        self.each(other, u64::saturating_add);
    }

    /// Makes of each counter and that of another what the function says.
    fn each(&mut self, other: &Self, make: impl Fn(u64, u64) -> u64) {
        self.enqueued = make(self.enqueued, other.enqueued);
        self.completed = make(self.completed, other.completed);
        self.failed = make(self.failed, other.failed);
        self.died = make(self.died, other.died);
        self.stalled = make(self.stalled, other.stalled);
        let spreads = [(&mut self.ran, &other.ran), (&mut self.waited, &other.waited)];
        for (mine, theirs) in spreads {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = make(*mine, *theirs));
        }
    }
}

/// Returns below how many ms this share of the attempts stayed, as evenly as they may lie within
/// their bucket; of those over the last bound that bound. `None` where there were none.
pub(crate) fn quantile_ms(buckets: &Buckets, share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = share * all as f64;
    let (mut before, mut lower) = (0.0, 0.0);
    for (number, bound) in buckets.iter().zip(SPREAD_MS) {
        let (number, upper) = (*number as f64, bound as f64);
        if number > 0.0 && before + number >= rank {
            return Some(lower + (upper - lower) * (rank - before) / number);
        }
        (before, lower) = (before + number, upper);
    }
    Some(lower)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_none_at_all(seconds: &f64) -> bool {
    *seconds == 0.0
}

fn are_empty(buckets: &Buckets) -> bool {
    buckets.iter().all(is_zero)
}

/// Most attempts are fast: the empty buckets at the end are not written.
fn write<S: Serializer>(buckets: &Buckets, to: S) -> Result<S::Ok, S::Error> {
    let used = buckets.iter().rposition(|number| *number > 0).map_or(0, |last| last + 1);
    buckets[..used].serialize(to)
}

fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Buckets, D::Error> {
    let given = Vec::<u64>::deserialize(from)?;
    let mut buckets = Buckets::default();
    buckets.iter_mut().zip(given).for_each(|(bucket, number)| *bucket = number);
    Ok(buckets)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote_and_writes_no_zeros() {
        let mut numbers = Numbers { completed: 7, oldest_s: 1.5, ..Numbers::default() };
        numbers.ran[2] = 7;
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(text, r#"{"completed":7,"oldest_s":1.5,"ran":[0,0,7]}"#);
        assert_eq!(serde_json::from_str::<Numbers>(&text).unwrap(), numbers);
        assert_eq!(serde_json::to_string(&Numbers::default()).unwrap(), "{}");
    }

    #[test]
    fn counts_each_job_in_one_part_of_an_interval() {
        let numbers = Numbers { completed: 7, pending: 3, ..Numbers::default() };
        let parts = [(0, 10), (10, 70), (70, 130)].map(|(a, b)| numbers.part(a, b, 130));
        assert_eq!(parts.iter().map(|one| one.completed).sum::<u64>(), 7);
        assert!(parts.iter().all(|one| one.pending == 3), "what stands there is not shared out");
        assert_eq!(numbers.part(0, 60, 60), numbers);
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let mut buckets = Buckets::default();
        assert_eq!(quantile_ms(&buckets, 0.5), None);
        // A hundred of up to 1 ms, and a hundred of 10 to 25 ms.
        (buckets[0], buckets[3]) = (100, 100);
        assert_eq!(quantile_ms(&buckets, 0.5), Some(1.0));
        assert_eq!(quantile_ms(&buckets, 0.75), Some(17.5));
        assert_eq!(quantile_ms(&buckets, 1.0), Some(25.0));
        buckets[BUCKETS - 1] = 1000;
        assert_eq!(quantile_ms(&buckets, 0.95), Some(300_000.0), "over the last bound");
    }
}
