//! The numbers of queues, summed from what stands in the places and from the tally, and the
//! warnings that follow from them.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::id::Name;
use crate::inspect::{Counts, QueueInfo, Stats, seconds};
use crate::store::tally::Event;

/// What was counted of each queue.
#[derive(Default)]
pub(in crate::store) struct Counted(BTreeMap<String, One>);

#[derive(Default)]
struct One {
    counts: Counts,
    /// Ended and not gone again; a sum only at the end, for events come in any order.
    completed: i64,
    cancelled: i64,
    oldest: Option<Timestamp>,
    /// The earliest time that scheduled jobs wait for.
    soonest: Option<Timestamp>,
    paused: bool,
}

impl Counted {
    fn of(&mut self, queue: String) -> &mut One {
        self.0.entry(queue).or_default()
    }

    pub(in crate::store) fn pending(&mut self, queue: String, n: u64, oldest: Option<Timestamp>) {
        let one = self.of(queue);
        one.counts.pending += n;
        one.oldest = oldest;
    }

    /// Adds scheduled rows of one reason, and the earliest time that they wait for.
    pub(in crate::store) fn scheduled(
        &mut self,
        queue: String,
        reason: i64,
        n: u64,
        soonest: Option<Timestamp>,
    ) {
        let one = self.of(queue);
        one.soonest = one.soonest.into_iter().chain(soonest).min();
        let counts = &mut one.counts;
        match reason {
            1 => counts.failed += n,
            3 => counts.pending += n,
            _ => counts.scheduled += n,
        }
    }

    pub(in crate::store) fn active(&mut self, queue: String, n: u64) {
        self.of(queue).counts.active += n;
    }

    pub(in crate::store) fn dead(&mut self, queue: String, n: u64) {
        self.of(queue).counts.dead += n;
    }

    pub(in crate::store) fn paused(&mut self, queue: String) {
        self.of(queue).paused = true;
    }

    /// Adds what the tally says of one kind of event.
    pub(in crate::store) fn event(&mut self, queue: String, event: i64, n: i64) {
        const COMPLETED: i64 = Event::Completed as i64;
        const COMPLETED_GONE: i64 = Event::CompletedGone as i64;
        const CANCELLED: i64 = Event::Cancelled as i64;
        const CANCELLED_GONE: i64 = Event::CancelledGone as i64;
        const STALLED: i64 = Event::Stalled as i64;
        let one = self.of(queue);
        match event {
            COMPLETED => one.completed += n,
            COMPLETED_GONE => one.completed -= n,
            CANCELLED => one.cancelled += n,
            CANCELLED_GONE => one.cancelled -= n,
            STALLED => one.counts.stalled_total += n.max(0) as u64,
            _ => {}
        }
    }

    /// Returns the queues in the order of their names.
    pub(in crate::store) fn queues(self, now: Timestamp) -> Vec<QueueInfo> {
        let age = |since: Option<Timestamp>| since.map_or(0.0, |at| seconds(now.since(at)));
        let info = |(queue, one): (String, One)| QueueInfo {
            queue: Name::stored(&queue),
            counts: Counts {
                completed: one.completed.max(0) as u64,
                cancelled: one.cancelled.max(0) as u64,
                ..one.counts
            },
            oldest_pending_s: age(one.oldest),
            overdue_s: age(one.soonest),
            paused: one.paused,
        };
        self.0.into_iter().map(info).collect()
    }
}

/// What else a look at the store found.
pub(in crate::store) struct Seen {
    /// Types of which jobs wait, and that no worker serves.
    pub(in crate::store) foreign: Vec<String>,
    /// Leases that ended and were not rescued.
    pub(in crate::store) stalled: u64,
    /// True while somebody leads.
    pub(in crate::store) led: bool,
}

/// Sums the queues and says what a person should look at.
pub(in crate::store) fn stats(queues: Vec<QueueInfo>, seen: &Seen) -> Stats {
    let mut stats = Stats { queues, ..Stats::default() };
    for queue in &stats.queues {
        stats.totals.add(&queue.counts);
    }
    stats.warnings = warnings(&stats, seen);
    stats
}

fn warnings(stats: &Stats, seen: &Seen) -> Vec<String> {
    let mut warnings = Vec::new();
    for job_type in &seen.foreign {
        warnings.push(format!("no running worker serves type {job_type}, and jobs of it wait"));
    }
    let stalled = seen.stalled;
    if stalled > 0 {
        warnings.push(format!("{stalled} jobs are stalled and wait for their rescue"));
    }
    let waits = stats.totals.scheduled + stats.totals.failed + stalled;
    if !seen.led && waits > 0 {
        warnings.push("no worker leads, so scheduled, failed and stalled jobs wait".into());
    }
    for queue in &stats.queues {
        if queue.paused && queue.counts.pending > 0 {
            let n = queue.counts.pending;
            warnings.push(format!("queue {} is paused while {n} jobs wait in it", queue.queue));
        }
    }
    if stats.totals.dead > 0 {
        let n = stats.totals.dead;
        warnings.push(format!("{n} dead jobs wait for a person (dutiful dead list)"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_add_up_in_whatever_order_they_come() {
        let mut all = Counted::default();
        all.event("mail".into(), Event::CompletedGone as i64, 1);
        all.event("mail".into(), Event::Completed as i64, 3);
        all.event("mail".into(), Event::CancelledGone as i64, 2);
        let counts = all.queues(Timestamp::from_us(0))[0].counts;
        assert_eq!((counts.completed, counts.cancelled), (2, 0));
    }
}
