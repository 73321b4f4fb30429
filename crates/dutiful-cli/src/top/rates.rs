//! What the totals of several looks say together: rates for the last minutes, and quantiles.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::shapes::Totals;

/// Looks that are remembered, and so the columns of the widest sparkline.
pub(crate) const LOOKS_MAX: usize = 300;
/// Most columns that one look fills, when it came late.
const LATE_MAX: usize = 60;
/// Quantiles are of what happened in so long a time.
pub(crate) const QUANTILES_OVER: Duration = Duration::from_secs(60);

/// What happened in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) enqueued: f64,
    pub(crate) completed: f64,
    pub(crate) failed: f64,
}

/// An upper bound: so many were no slower than `ms`, or slower than the largest bound there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) ms: u64,
    pub(crate) beyond: bool,
}

/// The totals of one look, added up over queues and types.
#[derive(Clone, Debug, Default)]
struct Sums {
    enqueued: u64,
    completed: u64,
    failed: u64,
    ran: Vec<u64>,
    waited: Vec<u64>,
}

/// The last looks.
#[derive(Debug, Default)]
pub(crate) struct History {
    looks: VecDeque<(Instant, Sums)>,
    columns: VecDeque<Rates>,
    bounds_ms: Vec<u64>,
}

impl History {
    /// Takes in the totals of a look; a column of a sparkline stands for the time `every`.
    pub(crate) fn note(&mut self, at: Instant, totals: &Totals, every: Duration) {
        let sums = Sums::of(totals);
        self.bounds_ms.clone_from(&totals.bounds_ms);
        if let Some((before, last)) = self.looks.back() {
            let took = at.saturating_duration_since(*before);
            if took.is_zero() {
                return;
            }
            match sums.since(last) {
                Some(news) => self.columns.extend(columns(&news, took, every)),
                // Counts only grow: this is another store, or one that was restored.
                None => self.looks.clear(),
            }
        }
        self.looks.push_back((at, sums));
        trim(&mut self.looks);
        trim(&mut self.columns);
    }

    /// Returns what happened lately, the last column of [`Self::columns`].
    pub(crate) fn now(&self) -> Option<Rates> {
        self.columns.back().copied()
    }

    /// Returns the rates of each column, the oldest first.
    pub(crate) fn columns(&self) -> impl DoubleEndedIterator<Item = Rates> {
        self.columns.iter().copied()
    }

    /// Returns how long attempts ran that ended in the last minute, at this part of them.
    pub(crate) fn ran(&self, part: f64) -> Option<Bound> {
        self.quantile(part, |sums| &sums.ran)
    }

    /// Returns how long jobs had been due whose attempts ended in the last minute.
    pub(crate) fn waited(&self, part: f64) -> Option<Bound> {
        self.quantile(part, |sums| &sums.waited)
    }

    fn quantile(&self, part: f64, buckets: fn(&Sums) -> &Vec<u64>) -> Option<Bound> {
        let (last_at, last) = self.looks.back()?;
        let recent = |at: &Instant| last_at.saturating_duration_since(*at) <= QUANTILES_OVER;
        let (_, first) = self.looks.iter().find(|(at, _)| recent(at))?;
        let first = buckets(first).iter().chain(std::iter::repeat(&0));
        let news = buckets(last).iter().zip(first);
        let news: Vec<u64> = news.map(|(now, then)| now.saturating_sub(*then)).collect();
        quantile(&news, &self.bounds_ms, part)
    }
}

impl Sums {
    fn of(totals: &Totals) -> Self {
        let mut sums = Self::default();
        for one in &totals.totals {
            sums.enqueued = sums.enqueued.saturating_add(one.enqueued);
            sums.completed = sums.completed.saturating_add(one.completed);
            sums.failed = sums.failed.saturating_add(one.failed);
            add(&mut sums.ran, &one.ran.buckets);
            add(&mut sums.waited, &one.waited.buckets);
        }
        sums
    }

    /// Returns the counts that came since, without the spreads.
    fn since(&self, before: &Self) -> Option<[u64; 3]> {
        Some([
            self.enqueued.checked_sub(before.enqueued)?,
            self.completed.checked_sub(before.completed)?,
            self.failed.checked_sub(before.failed)?,
        ])
    }
}

fn add(mine: &mut Vec<u64>, theirs: &[u64]) {
    if mine.len() < theirs.len() {
        mine.resize(theirs.len(), 0);
    }
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = mine.saturating_add(*theirs);
    }
}

/// A look that came late fills as many columns as looks are missing.
fn columns(news: &[u64; 3], took: Duration, every: Duration) -> impl Iterator<Item = Rates> {
    let seconds = took.as_secs_f64();
    let [enqueued, completed, failed] = news.map(|n| n as f64 / seconds);
    let missed = (seconds / every.as_secs_f64().max(0.001)).round() as usize;
    std::iter::repeat_n(Rates { enqueued, completed, failed }, missed.clamp(1, LATE_MAX))
}

fn trim<T>(all: &mut VecDeque<T>) {
    while all.len() > LOOKS_MAX {
        all.pop_front();
    }
}

/// Returns the bound of the bucket in which this part of all is reached; `None` of nothing.
fn quantile(buckets: &[u64], bounds_ms: &[u64], part: f64) -> Option<Bound> {
    let all = buckets.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let largest = *bounds_ms.last()?;
    if all == 0 {
        return None;
    }
    let wanted = (all as f64 * part).ceil().max(1.0) as u64;
    let mut seen = 0_u64;
    for (count, bound) in buckets.iter().zip(bounds_ms) {
        seen = count.saturating_add(seen);
        if seen >= wanted {
            return Some(Bound { ms: *bound, beyond: false });
        }
    }
    Some(Bound { ms: largest, beyond: true })
}

#[cfg(test)]
mod tests {
    use super::super::shapes::{Spread, TypeTotals};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn totals(enqueued: u64, buckets: [u64; 3]) -> Totals {
        let spread = Spread { buckets: buckets.to_vec() };
        let of = |job_type: &str, enqueued| TypeTotals {
            job_type: job_type.to_owned(),
            enqueued,
            completed: enqueued / 2,
            failed: 0,
            ran: spread.clone(),
            waited: Spread::default(),
        };
        Totals { bounds_ms: vec![10, 100], totals: vec![of("a", enqueued), of("b", enqueued)] }
    }

    #[test]
    fn rates_are_what_came_between_two_looks() {
        let (mut history, began) = (History::default(), Instant::now());
        history.note(began, &totals(1000, [0; 3]), SECOND);
        assert_eq!(history.now(), None, "one look says nothing of rates");
        history.note(began + SECOND * 2, &totals(1010, [0; 3]), SECOND);
        let rates = Rates { enqueued: 10.0, completed: 5.0, failed: 0.0 };
        assert_eq!(history.now(), Some(rates));
        assert_eq!(history.columns().count(), 2, "it came a second late");
        history.note(began + SECOND * 3, &totals(7, [0; 3]), SECOND);
        history.note(began + SECOND * 4, &totals(8, [0; 3]), SECOND);
        assert_eq!(history.now().unwrap().enqueued, 2.0, "another store begins anew");
        for n in 5..1000 {
            history.note(began + SECOND * n, &totals(u64::from(n) * 10, [0; 3]), SECOND);
        }
        assert_eq!(history.columns().count(), LOOKS_MAX);
    }

    #[test]
    fn quantiles_are_of_the_last_minute() {
        let (mut history, began) = (History::default(), Instant::now());
        history.note(began, &totals(0, [1000, 0, 0]), SECOND);
        assert_eq!((history.ran(0.5), history.waited(0.5)), (None, None));
        history.note(began + SECOND * 100, &totals(0, [1000, 0, 0]), SECOND);
        history.note(began + SECOND * 101, &totals(0, [1000, 19, 1]), SECOND);
        assert_eq!(history.ran(0.5), Some(Bound { ms: 100, beyond: false }));
        assert_eq!(history.ran(0.95), Some(Bound { ms: 100, beyond: false }));
        assert_eq!(history.ran(0.99), Some(Bound { ms: 100, beyond: true }));
    }
}
