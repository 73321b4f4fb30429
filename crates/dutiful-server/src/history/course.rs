//! The course of the numbers from look to look: what the last one saw, the steps that are not over,
//! and those that just ended. Pure: time and numbers come in, points come out.

use std::collections::BTreeMap;

use dutiful::{Stats, TypeTotals};
use serde::{Deserialize, Serialize};

use super::{Numbers, Point, Resolution};
use crate::labels::OTHER;

/// Most queues of a point; the rest is summed up.
const QUEUES_MAX: usize = 100;
/// Most queues whose counts are remembered by themselves from look to look.
const REMEMBERED_MAX: usize = 500;
/// What happened between two looks is shared out over the steps between them when there was no more
/// time than this, or than a step, between them: what a restart takes. A longer time stays a gap.
const TOGETHER_MAX_S: i64 = 5 * 60;
/// A look that lies further ahead of the store's own clock than this was made by a wrong clock.
const AHEAD_MAX_S: i64 = 5 * 60;

/// What one look saw: each queue with all that was counted since the store was made, and with what
/// stands in it now.
pub(super) type Seen = BTreeMap<String, Numbers>;

pub(super) fn seen(totals: &[TypeTotals], stats: &Stats) -> Seen {
    let mut seen = Seen::new();
    for one in totals {
        seen.entry(one.queue.to_string()).or_default().count_type(one);
    }
    for one in &stats.queues {
        let numbers = seen.entry(one.queue.to_string()).or_default();
        numbers.stand(&one.counts, one.oldest_pending_s);
    }
    seen
}

/// Where the history stands after a look. It is written as one thing, so that a look counts whole
/// or not at all: what has ended is in it until it was kept under its own key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
    /// When the look was, in seconds since 1970.
    pub(super) at: i64,
    /// What had been counted of all queues together.
    all: Numbers,
    /// The same of each, but for those over the limit.
    queues: Seen,
    /// The steps that are not over.
    open: Vec<Point>,
    /// The steps that this look ended.
    pub(super) over: Vec<Point>,
}

impl Course {
    /// Returns the course that begins with this look: what was before it is not known.
    pub(super) fn begun(at: i64, seen: Seen) -> Self {
        let all = all(&seen);
        Self { at, all, queues: remembered(seen), open: Vec::new(), over: Vec::new() }
    }

    /// Returns the course after another look.
    pub(super) fn after(&self, at: i64, seen: Seen) -> Self {
        let mut next = Self::begun(at, seen.clone());
        if self.at >= at {
            return next;
        }
        next.open = self.open.clone();
        let (grown, took) = (self.grown(seen, &next.all), at - self.at);
        for resolution in Resolution::ALL {
            if took <= TOGETHER_MAX_S.max(i64::from(resolution.step_s())) {
                next.share_out(resolution, &grown, self.at);
            }
        }
        let is_over = |point: &Point| point.at + i64::from(point.step_s) <= at;
        (next.over, next.open) = std::mem::take(&mut next.open).into_iter().partition(is_over);
        next.over.iter_mut().for_each(bound);
        next
    }

    /// True when a step has ended since this look, so that it is time for another; or when the one
    /// who looked, and wrote it down at this time of the store, cannot have known the time.
    pub(super) fn is_due(&self, now: i64, written_us: i64) -> bool {
        let step = i64::from(Resolution::Minute.step_s());
        let ahead = self.at > written_us / 1_000_000 + AHEAD_MAX_S;
        self.at < now - now.rem_euclid(step) || (ahead && self.at > now)
    }

    pub(super) fn unfinished(mut self, resolution: Resolution) -> Option<Point> {
        let at = self.open.iter().position(|point| point.step_s == resolution.step_s())?;
        let mut point = self.open.swap_remove(at);
        bound(&mut point);
        Some(point)
    }

    /// Returns by how much the counts of each queue grew, and what stands in it now. What grew in
    /// queues that were not remembered is what all together grew more than the others.
    fn grown(&self, seen: Seen, all_now: &Numbers) -> Seen {
        let (mut grown, mut rest) = (Seen::new(), Numbers::default());
        let mut others = all_now.clone().since(&self.all);
        let knows_all = self.queues.len() < REMEMBERED_MAX;
        for (queue, now) in seen {
            let one = match self.queues.get(&queue) {
                Some(before) => now.since(before),
                None if knows_all => now,
                None => {
                    rest.add(&now.standing());
                    continue;
                }
            };
            others = others.since(&one);
            grown.insert(queue, one);
        }
        rest.add(&others.counters());
        if !rest.is_nothing() {
            grown.entry(OTHER.to_owned()).or_default().add(&rest);
        }
        grown
    }

    /// Adds what happened between two looks to the steps that lie between them.
    fn share_out(&mut self, resolution: Resolution, grown: &Seen, from: i64) {
        let (step, whole) = (i64::from(resolution.step_s()), self.at - from);
        let mut start = from - from.rem_euclid(step);
        while start < self.at {
            let (begin, end) = (start.max(from), (start + step).min(self.at));
            let point = self.step(resolution, start);
            for (queue, numbers) in &mut point.queues {
                if !grown.contains_key(queue) {
                    numbers.go_on(&Numbers::default());
                }
            }
            for (queue, numbers) in grown {
                let part = numbers.part(begin - from, end - from, whole);
                point.queues.entry(queue.clone()).or_default().go_on(&part);
            }
            start += step;
        }
    }

    /// Returns the point of the step that begins then.
    fn step(&mut self, resolution: Resolution, at: i64) -> &mut Point {
        let step_s = resolution.step_s();
        let there = self.open.iter().position(|one| one.step_s == step_s && one.at == at);
        let index = there.unwrap_or_else(|| {
            self.open.push(Point { at, step_s, queues: BTreeMap::new() });
            self.open.len() - 1
        });
        &mut self.open[index]
    }
}

fn all(seen: &Seen) -> Numbers {
    let mut all = Numbers::default();
    seen.values().for_each(|one| all.add(one));
    all.counters()
}

/// Leaves what is needed to see by how much the counts grow: of the queues in which most happened.
fn remembered(mut seen: Seen) -> Seen {
    keep_busiest(&mut seen, REMEMBERED_MAX);
    seen.into_iter().map(|(queue, numbers)| (queue, numbers.counters())).collect()
}

/// Leaves the busiest queues of a point by themselves.
fn bound(point: &mut Point) {
    point.queues.retain(|_, numbers| !numbers.is_nothing());
    let rest = keep_busiest(&mut point.queues, QUEUES_MAX);
    if !rest.is_nothing() {
        point.queues.entry(OTHER.to_owned()).or_default().add(&rest);
    }
}

/// Takes out all but so many queues; returns the sum of those.
fn keep_busiest(queues: &mut Seen, most: usize) -> Numbers {
    let mut rest = Numbers::default();
    if queues.len() <= most {
        return rest;
    }
    let mut by_business: Vec<_> = queues.iter().map(|(q, n)| (n.business(), q.clone())).collect();
    by_business.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (_, queue) in by_business.split_off(most) {
        if let Some(numbers) = queues.remove(&queue) {
            rest.add(&numbers);
        }
    }
    rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    /// A midnight.
    const BEGIN: i64 = 1_790_035_200;

    fn seen_of(queues: &[(&str, u64)]) -> Seen {
        let numbers = |n| Numbers { completed: n, pending: 1, ..Numbers::default() };
        queues.iter().map(|(queue, n)| ((*queue).to_owned(), numbers(*n))).collect()
    }

    /// Looks at these times, at which so many had completed; returns all that ended, by step.
    fn looks(looks: &[(i64, u64)]) -> (Vec<Point>, Course) {
        let (at, n) = looks[0];
        let mut course = Course::begun(BEGIN + at, seen_of(&[("mail", n)]));
        let mut over = Vec::new();
        for (at, n) in &looks[1..] {
            course = course.after(BEGIN + at, seen_of(&[("mail", *n)]));
            over.extend(course.over.clone());
        }
        (over, course)
    }

    fn completed(points: &[Point], step_s: i64) -> Vec<(i64, u64)> {
        let steps = points.iter().filter(|one| i64::from(one.step_s) == step_s);
        let sum = |one: &Point| one.queues.values().map(|numbers| numbers.completed).sum();
        steps.map(|one| (one.at - BEGIN, sum(one))).collect()
    }

    #[test]
    fn what_was_before_the_first_look_is_not_counted() {
        let (over, _) = looks(&[(0, 1000), (60, 1007), (120, 1007)]);
        assert_eq!(completed(&over, 60), [(0, 7), (60, 0)], "and a quiet minute is a zero");
    }

    #[test]
    fn a_restart_makes_no_hole_and_a_long_silence_no_zero() {
        let (over, _) = looks(&[(0, 0), (60, 6), (240, 36), (40 * 60, 100), (HOUR, 200)]);
        let minutes = completed(&over, 60);
        assert_eq!(minutes[..4], [(0, 6), (60, 10), (120, 10), (180, 10)]);
        assert_eq!(minutes.len(), 4, "twenty minutes are too long to be shared out: {minutes:?}");
        assert_eq!(completed(&over, HOUR), [(0, 200)], "the hour knows of all of them");
    }

    #[test]
    fn each_job_is_counted_once_in_days_whenever_somebody_looks() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut at, mut all) = (BEGIN + 17, 0);
        let mut course = Course::begun(at, seen_of(&[("mail", 0), ("pdf", 0)]));
        let (mut over, end) = (Vec::new(), BEGIN + 20 * DAY);
        while at < end {
            // Mostly each minute, now and then only after hours.
            at += if random.u8(..) < 250 { 60 } else { random.i64(60..8 * HOUR) };
            all += random.u64(0..50);
            course = course.after(at, seen_of(&[("mail", all), ("pdf", all / 3)]));
            over.append(&mut course.over);
        }
        let mut days = completed(&over, DAY);
        assert!(days.len() >= 20, "{days:?}");
        days.extend(completed(&course.open, DAY));
        assert_eq!(days.iter().map(|day| day.1).sum::<u64>(), all + all / 3);
        let minutes = over.iter().filter(|one| one.step_s == 60).map(|one| one.at);
        let mut minutes: Vec<_> = minutes.collect();
        let number = minutes.len();
        minutes.sort_unstable();
        minutes.dedup();
        assert_eq!(minutes.len(), number, "no minute ends twice");
    }

    #[test]
    fn many_queues_are_summed_up_and_none_is_lost_from_the_sum() {
        let names: Vec<_> = (0..2 * REMEMBERED_MAX).map(|n| format!("q{n:04}")).collect();
        let seen = |times: u64| {
            let each = names.iter().zip(1..).map(|(name, n)| (name.as_str(), n * times));
            seen_of(&each.collect::<Vec<_>>())
        };
        let course = Course::begun(BEGIN, seen(1));
        assert_eq!(course.queues.len(), REMEMBERED_MAX);
        let course = course.after(BEGIN + 60, seen(2)).after(BEGIN + 120, seen(3));
        let point = &course.over[0];
        assert_eq!(
            point.queues.len(),
            QUEUES_MAX,
            "those that were not remembered are one of them"
        );
        let last = names.last().unwrap();
        assert_eq!(point.queues[last].completed, names.len() as u64, "the busiest is by itself");
        let sum: u64 = (1..=names.len() as u64).sum();
        assert_eq!(completed(&course.over, 60), [(60, sum)]);
        let pending: u64 = point.queues.values().map(|one| one.pending).sum();
        assert_eq!(pending, names.len() as u64);
    }

    #[test]
    fn a_queue_that_is_new_counts_from_zero_and_one_that_is_gone_stands_empty() {
        let course = Course::begun(BEGIN, seen_of(&[("old", 5)]));
        let course = course.after(BEGIN + 60, seen_of(&[("old", 6), ("new", 3)]));
        assert_eq!(completed(&course.over, 60), [(0, 4)]);
        let hour = course.clone().unfinished(Resolution::Hour).unwrap();
        assert_eq!((hour.queues["old"].pending, hour.queues["new"].completed), (1, 3));
        let course = course.after(BEGIN + 120, seen_of(&[("new", 3)]));
        let hour = course.unfinished(Resolution::Hour).unwrap();
        assert_eq!((hour.queues["old"].pending, hour.queues["old"].completed), (0, 1));
    }

    #[test]
    fn a_restored_store_counts_no_jobs_that_never_were() {
        let (over, course) = looks(&[(0, 100), (60, 150), (120, 20), (180, 25)]);
        assert_eq!(completed(&over, 60), [(0, 50), (60, 0), (120, 5)]);
        assert_eq!(completed(&course.open, HOUR), [(0, 55)]);
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_not_waited_for() {
        let course = Course::begun(BEGIN + DAY, seen_of(&[("mail", 5)]));
        let us = |at: i64| at * 1_000_000;
        assert!(course.is_due(BEGIN, us(BEGIN)), "the store itself was a day behind it");
        assert!(!course.is_due(BEGIN, us(BEGIN + DAY)), "it is we who are behind");
        let next = course.after(BEGIN, seen_of(&[("mail", 9)]));
        assert_eq!((next.at, next.over.len()), (BEGIN, 0));
        assert!(!next.is_due(BEGIN + 59, us(BEGIN)));
        assert!(next.is_due(BEGIN + 60, us(BEGIN)));
    }
}
