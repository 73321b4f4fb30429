//! What is usual in each queue, from the last day of the store's history: how many jobs complete in
//! a minute, and how long attempts run.

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful::{Client, StoreError};

use super::judge::{ATTEMPTS_MIN, QUANTILE};
use super::sample::{Buckets, quantile};
use crate::history::{self, Numbers, Resolution};

/// How far back what is usual is looked for, in seconds.
const DAY_S: i64 = 24 * 3600;
/// Windows with work in them that make a baseline: an hour of them at the default.
const WINDOWS_MIN: usize = 12;
/// Attempts that make a baseline of how long they run.
const RAN_MIN: u64 = 5 * ATTEMPTS_MIN;

/// Reads what was usual in the last day, up to the window that is looked at.
pub(super) async fn read(
    client: &Client,
    now_ms: i64,
    window: Duration,
) -> Result<Baselines, StoreError> {
    let now = now_ms / 1000;
    let window_s = i64::try_from(window.as_secs()).unwrap_or(DAY_S);
    let points = history::since(client, Resolution::Minute, now - DAY_S).await?;
    let mut queues: BTreeMap<String, Vec<Minute>> = BTreeMap::new();
    for point in points.into_iter().filter(|point| point.at < now - window_s) {
        for (queue, numbers) in point.queues {
            let Numbers { completed, ran, .. } = numbers;
            queues.entry(queue).or_default().push(Minute { at: point.at / 60, completed, ran });
        }
    }
    Ok(Baselines::of(queues, window_s / 60))
}

/// What one queue did within one minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minute {
    /// Its start, in minutes since 1970.
    pub(crate) at: i64,
    pub(crate) completed: u64,
    pub(crate) ran: Buckets,
}

/// What is usual in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usual {
    per_minute: Option<f64>,
    ran_s: Option<f64>,
}

/// What is usual, by queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Baselines(BTreeMap<String, Usual>);

impl Baselines {
    /// Makes them of each queue's minutes, in any order; windows are of so many minutes.
    pub(crate) fn of(queues: BTreeMap<String, Vec<Minute>>, window: i64) -> Self {
        let usual = |minutes: Vec<Minute>| {
            let mut ran = Buckets::default();
            for minute in &minutes {
                for (sum, n) in ran.iter_mut().zip(minute.ran) {
                    *sum = sum.saturating_add(n);
                }
            }
            let enough = ran.iter().sum::<u64>() >= RAN_MIN;
            let ran_s = quantile(&ran, QUANTILE).filter(|_| enough);
            Usual { per_minute: per_minute(&minutes, window.max(1)), ran_s }
        };
        Self(queues.into_iter().map(|(queue, minutes)| (queue, usual(minutes))).collect())
    }

    /// Returns how many jobs usually complete in a minute, when the queue has work.
    pub(crate) fn per_minute(&self, queue: &str) -> Option<f64> {
        self.0.get(queue)?.per_minute
    }

    /// Returns how long attempts usually run, as the quantile that they are judged by.
    pub(crate) fn ran_s(&self, queue: &str) -> Option<f64> {
        self.0.get(queue)?.ran_s
    }
}

/// The median over windows in which something completed: a queue that has nothing to do at night
/// is not slow at noon by comparison with that.
fn per_minute(minutes: &[Minute], window: i64) -> Option<f64> {
    let mut windows: BTreeMap<i64, u64> = BTreeMap::new();
    for minute in minutes {
        *windows.entry(minute.at.div_euclid(window)).or_default() += minute.completed;
    }
    let mut done: Vec<u64> = windows.into_values().filter(|n| *n > 0).collect();
    if done.len() < WINDOWS_MIN {
        return None;
    }
    done.sort_unstable();
    let middle = done.len() / 2;
    let median = match done.len() % 2 {
        1 => done[middle] as f64,
        _ => (done[middle - 1] + done[middle]) as f64 / 2.0,
    };
    Some(median / window as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(completed: impl IntoIterator<Item = u64>) -> Vec<Minute> {
        let each = completed.into_iter().enumerate();
        each.map(|(at, completed)| Minute { at: at as i64, completed, ..Minute::default() })
            .collect()
    }

    fn of(minutes: Vec<Minute>) -> Baselines {
        Baselines::of(BTreeMap::from([("mail".to_owned(), minutes)]), 5)
    }

    #[test]
    fn the_usual_rate_is_the_median_of_windows_with_work() {
        // Half a day of nothing, 12 windows of 100, and one of 5000 that happened once.
        let night = std::iter::repeat_n(0, 700);
        let day = std::iter::repeat_n(20, 60).chain(std::iter::repeat_n(1000, 5));
        assert_eq!(of(minutes(night.chain(day))).per_minute("mail"), Some(20.0));
        let short = of(minutes(std::iter::repeat_n(20, 30)));
        assert_eq!(short.per_minute("mail"), None, "half an hour is not usual yet");
        assert_eq!(short.per_minute("other"), None);
    }

    #[test]
    fn the_usual_duration_needs_enough_attempts() {
        let mut minute = Minute::default();
        minute.ran[6] = RAN_MIN - 1; // 100 to 250 ms
        assert_eq!(of(vec![minute.clone()]).ran_s("mail"), None);
        minute.ran[6] = RAN_MIN;
        let usual = of(vec![minute]).ran_s("mail");
        assert!(usual.is_some_and(|s| s > 0.2 && s <= 0.25), "{usual:?}");
    }
}
