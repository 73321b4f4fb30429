//! What the rules look at: the store's numbers at a moment, and a ring of the last minutes of them.

use std::collections::{BTreeMap, VecDeque};

use dutiful::{SPREAD_MS, Spread, Stats, TypeTotals, WorkerInfo, WorkerState};

/// Most queues that are watched: first those in which something is to see.
const QUEUES_MAX: usize = 200;
/// Most samples that are kept. Where they come so often that a window has more of them, the newest
/// takes the place of the one before it until that is this part of a window apart from its own.
const SAMPLES_MAX: usize = 128;
const PARTS: i64 = 100;
/// A window counts as whole when samples span this part of it: ticks are not punctual.
const WHOLE: f64 = 0.9;

/// How durations are spread over the buckets of [`SPREAD_MS`].
pub(crate) type Buckets = [u64; SPREAD_MS.len() + 1];

/// What was seen of one queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) pending: u64,
    pub(crate) active: u64,
    pub(crate) dead: u64,
    pub(crate) oldest_s: f64,
    pub(crate) overdue_s: f64,
    pub(crate) paused: bool,
    /// Workers that live and claim, and their slots in this queue.
    pub(crate) workers: u64,
    pub(crate) slots: u64,
    /// Leases that have ended and were not rescued yet.
    pub(crate) stalled_now: u64,
    /// Counted since the store was made.
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) died: u64,
    pub(crate) stalled: u64,
    pub(crate) ran: Buckets,
    pub(crate) waited: Buckets,
}

/// Something about the store itself that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) text: String,
    pub(crate) advice: Option<String>,
    /// True when jobs are lost, late or in danger.
    pub(crate) bad: bool,
}

/// The numbers of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// In ms since 1970.
    pub(crate) at: i64,
    /// False when the store did not answer: then nothing is known but that.
    pub(crate) answers: bool,
    pub(crate) queues: BTreeMap<String, Line>,
    /// False when there were more queues than are watched.
    pub(crate) whole: bool,
    pub(crate) troubles: Vec<Trouble>,
}

/// Warnings of `Client::stats` that are about what other rules look at.
const COVERED: [&str; 3] =
    ["dead jobs wait for a person", "is paused while", "are stalled and wait for their rescue"];

impl Sample {
    /// Puts the store's answers together.
    pub(crate) fn of(
        at: i64,
        stats: &Stats,
        totals: &[TypeTotals],
        workers: &[WorkerInfo],
        stalled: &BTreeMap<String, u64>,
    ) -> Self {
        let mut queues: BTreeMap<String, Line> = BTreeMap::new();
        for info in &stats.queues {
            let line = queues.entry(info.queue.to_string()).or_default();
            line.pending = info.counts.pending;
            line.active = info.counts.active;
            line.dead = info.counts.dead;
            line.oldest_s = info.oldest_pending_s;
            line.overdue_s = info.overdue_s;
            line.paused = info.paused;
        }
        let all = queues.len();
        if all > QUEUES_MAX {
            queues = busiest(queues);
        }
        for one in totals {
            if let Some(line) = queues.get_mut(one.queue.as_str()) {
                line.count(one);
            }
        }
        let claims = |one: &&WorkerInfo| one.state == WorkerState::Alive && !one.quiet;
        for worker in workers.iter().filter(claims) {
            for (queue, slots) in worker.queues.iter().filter(|(_, slots)| **slots > 0) {
                if let Some(line) = queues.get_mut(queue.as_str()) {
                    line.workers += 1;
                    line.slots += *slots as u64;
                }
            }
        }
        for (queue, n) in stalled {
            if let Some(line) = queues.get_mut(queue) {
                line.stalled_now = *n;
            }
        }
        let own = |text: &&String| !COVERED.iter().any(|covered| text.contains(covered));
        let told = |text: &String| Trouble { text: text.clone(), advice: None, bad: false };
        let troubles = stats.warnings.iter().filter(own).map(told).collect();
        Self { at, answers: true, whole: all <= QUEUES_MAX, queues, troubles }
    }

    /// What is known when the store does not answer.
    pub(crate) fn silent(at: i64, why: &str) -> Self {
        let advice = "Look whether the database runs and this server reaches it; `dutiful doctor` \
                      says more once it answers.";
        let trouble = Trouble { text: why.to_owned(), advice: Some(advice.into()), bad: true };
        Self { at, troubles: vec![trouble], ..Self::default() }
    }
}

fn busiest(queues: BTreeMap<String, Line>) -> BTreeMap<String, Line> {
    let mut all: Vec<_> = queues.into_iter().collect();
    let weight = |line: &Line| line.pending + line.active + line.dead;
    all.sort_by_key(|(_, line)| std::cmp::Reverse(weight(line)));
    all.truncate(QUEUES_MAX);
    all.into_iter().collect()
}

impl Line {
    fn count(&mut self, one: &TypeTotals) {
        self.completed += one.completed;
        self.failed += one.failed;
        self.died += one.dead;
        self.stalled += one.stalled;
        add(&mut self.ran, &one.ran);
        add(&mut self.waited, &one.waited);
    }
}

fn add(to: &mut Buckets, spread: &Spread) {
    for (mine, theirs) in to.iter_mut().zip(spread.buckets) {
        *mine = mine.saturating_add(theirs);
    }
}

/// The samples of the last minutes, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring(VecDeque<Sample>);

/// What happened in one queue within a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// How much of it the samples span.
    pub(crate) span_ms: i64,
    /// True when that is all of it.
    pub(crate) whole: bool,
    /// True when jobs were due at every look.
    pub(crate) waiting: bool,
    /// What was due at its beginning; `None` with a single sample.
    pub(crate) pending_before: Option<u64>,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) stalled: u64,
    pub(crate) ran: Buckets,
    pub(crate) waited: Buckets,
}

impl Ring {
    /// Takes a sample in, and forgets those that no window of this length needs.
    pub(crate) fn push(&mut self, sample: Sample, window_ms: i64) {
        let begins = sample.at - window_ms;
        let before = self.0.len().checked_sub(2).and_then(|at| self.0.get(at));
        if before.is_some_and(|before| sample.at - before.at < window_ms / PARTS) {
            self.0.pop_back();
        }
        self.0.push_back(sample);
        // The last one before the window stays: the window begins with it.
        while self.0.len() > SAMPLES_MAX || self.0.get(1).is_some_and(|next| next.at <= begins) {
            self.0.pop_front();
        }
    }

    pub(crate) fn last(&self) -> Option<&Sample> {
        self.0.back()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns what happened in a queue within the last `window_ms`.
    pub(crate) fn window(&self, queue: &str, window_ms: i64) -> Option<Window> {
        let answered = || self.0.iter().filter(|one| one.answers);
        let last = answered().next_back()?;
        let now = last.queues.get(queue)?;
        // A queue that was not there yet had counted nothing.
        let none = Line::default();
        let line = |one| known(one, queue, &none).map(|line| (one.at, line));
        let (began, first) = answered().find_map(line)?;
        let span_ms = last.at - began;
        let pending = |one: &Sample| one.queues.get(queue).map_or(0, |line| line.pending);
        Some(Window {
            span_ms,
            whole: span_ms as f64 >= window_ms as f64 * WHOLE,
            waiting: answered().all(|one| pending(one) > 0),
            pending_before: (span_ms > 0).then_some(first.pending),
            completed: now.completed.saturating_sub(first.completed),
            failed: now.failed.saturating_sub(first.failed),
            stalled: now.stalled.saturating_sub(first.stalled),
            ran: less(&now.ran, &first.ran),
            waited: less(&now.waited, &first.waited),
        })
    }
}

fn known<'a>(sample: &'a Sample, queue: &str, none: &'a Line) -> Option<&'a Line> {
    sample.queues.get(queue).or_else(|| sample.whole.then_some(none))
}

fn less(now: &Buckets, before: &Buckets) -> Buckets {
    std::array::from_fn(|n| now[n].saturating_sub(before[n]))
}

/// Returns the time in seconds that this part of the durations does not exceed, as well as buckets
/// tell: within one they are taken to lie evenly; of what is over the last bound only that.
pub(crate) fn quantile(buckets: &Buckets, part: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 {
        return None;
    }
    let (rank, mut below, mut from) = (part * all as f64, 0.0, 0.0);
    for (count, bound) in buckets.iter().zip(SPREAD_MS) {
        let (count, to) = (*count as f64, bound as f64 / 1000.0);
        if count > 0.0 && below + count >= rank {
            return Some(from + (to - from) * ((rank - below) / count));
        }
        below += count;
        from = to;
    }
    Some(from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn sample(at: i64, pending: u64, completed: u64) -> Sample {
        let line = Line { pending, completed, ..Line::default() };
        let queues = BTreeMap::from([("mail".to_owned(), line)]);
        Sample { at, answers: true, whole: true, queues, ..Sample::default() }
    }

    #[test]
    fn a_window_begins_with_the_last_sample_before_it() {
        let mut ring = Ring::default();
        for n in 0..100 {
            ring.push(sample(n * 10_000, 1, 7 * n as u64), 60_000);
        }
        assert_eq!(ring.0.len(), 7, "no more are kept than it needs");
        let window = ring.window("mail", 60_000).unwrap();
        assert_eq!((window.span_ms, window.completed, window.whole), (60_000, 42, true));
        assert!(window.waiting);
        ring.push(sample(1_000_000, 0, 700), 60_000);
        assert!(!ring.window("mail", 60_000).unwrap().waiting, "once nothing was due");
    }

    #[test]
    fn a_window_is_whole_however_often_somebody_looks() {
        let mut ring = Ring::default();
        for n in 0..20_000 {
            ring.push(sample(n * 10, 1, n as u64), 60_000);
        }
        assert!(ring.0.len() <= SAMPLES_MAX, "{}", ring.0.len());
        let window = ring.window("mail", 60_000).unwrap();
        assert!(window.whole && window.span_ms <= 61_000, "{}", window.span_ms);
        assert_eq!(ring.last().unwrap().at, 199_990, "the newest is always there");
    }

    #[test]
    fn what_is_not_whole_says_so_and_a_new_queue_begins_at_nothing() {
        let mut ring = Ring::default();
        ring.push(Sample { at: 0, answers: true, whole: true, ..Sample::default() }, 60_000);
        ring.push(sample(20_000, 3, 5), 60_000);
        let window = ring.window("mail", 60_000).unwrap();
        assert_eq!((window.whole, window.completed, window.waiting), (false, 5, false));
        assert_eq!(ring.window("other", 60_000), None);
        let mut one = Ring::default();
        one.push(sample(0, 3, 5), 60_000);
        let window = one.window("mail", 60_000).unwrap();
        assert_eq!((window.completed, window.pending_before), (0, None));
    }

    #[test]
    fn a_store_that_was_silent_for_a_moment_tears_no_hole() {
        let mut ring = Ring::default();
        ring.push(sample(0, 1, 0), 60_000);
        ring.push(Sample::silent(10_000, "it did not answer"), 60_000);
        ring.push(sample(20_000, 1, 4), 60_000);
        let window = ring.window("mail", 60_000).unwrap();
        assert_eq!((window.completed, window.waiting), (4, true));
    }

    #[test]
    fn a_quantile_lies_within_the_bucket_of_its_rank() {
        let mut buckets = Buckets::default();
        assert_eq!(quantile(&buckets, 0.95), None);
        buckets[0] = 95; // up to 1 ms
        buckets[12] = 5; // 10 s to 30 s
        assert_eq!(quantile(&buckets, 0.95), Some(0.001));
        assert_eq!(quantile(&buckets, 1.0), Some(30.0));
        let p96 = quantile(&buckets, 0.96).unwrap();
        assert!(p96 > 10.0 && p96 < 30.0, "{p96}");
        buckets[15] = 1000;
        assert_eq!(quantile(&buckets, 0.95), Some(300.0), "it is known to be longer, not how much");
    }
}
