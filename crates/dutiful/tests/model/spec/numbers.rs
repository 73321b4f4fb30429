//! `queues` and `stats`: numbers that equal the rows, whatever happened, and what to look at.

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful::{Counts, Name, QueueInfo, State, Timestamp};

use super::{Model, Place};

/// A worker silent for longer no longer counts as serving its types.
const SILENT: Duration = Duration::from_secs(60);

/// A queue, a type, how many of its attempts failed, and how many by class.
pub(crate) type Failures = (Name, Name, u64, BTreeMap<String, u64>);

impl Model {
    /// Every queue that ever had a job, or is paused, in the order of their names.
    pub(crate) fn queues(&self) -> Vec<QueueInfo> {
        let known = self.queues.iter().filter(|(_, queue)| queue.counted || queue.paused);
        known
            .map(|(name, queue)| QueueInfo {
                queue: name.clone(),
                counts: Counts { stalled_total: queue.stalled_total, ..self.count(name) },
                oldest_pending_s: self.oldest_pending_s(name),
                overdue_s: self.overdue_s(name),
                paused: queue.paused,
            })
            .collect()
    }

    /// Returns the sum of all queues.
    pub(crate) fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        self.queues().iter().for_each(|queue| totals.add(&queue.counts));
        totals
    }

    /// Returns how many attempts failed with what, of each queue and type of which one did.
    pub(crate) fn failures(&self) -> Vec<Failures> {
        let all = self.failed.iter();
        all.map(|((queue, job_type), classes)| {
            (queue.clone(), job_type.clone(), classes.values().sum(), classes.clone())
        })
        .collect()
    }

    /// Counts the jobs of a queue. One that stalled counts as active until its rescue.
    fn count(&self, queue: &Name) -> Counts {
        let mut counts = Counts::default();
        for job in self.jobs.values().filter(|job| job.record.queue == *queue) {
            let number = match job.state(self.now) {
                State::Pending => &mut counts.pending,
                State::Scheduled => &mut counts.scheduled,
                State::Active | State::Stalled => &mut counts.active,
                State::Failed => &mut counts.failed,
                State::Completed => &mut counts.completed,
                State::Dead => &mut counts.dead,
                State::Cancelled => &mut counts.cancelled,
            };
            *number += 1;
        }
        counts
    }

    fn oldest_pending_s(&self, queue: &Name) -> f64 {
        self.age_s(queue, |place| match place {
            Place::Ready { run_at } => Some(*run_at),
            _ => None,
        })
    }

    fn overdue_s(&self, queue: &Name) -> f64 {
        self.age_s(queue, |place| match place {
            Place::Scheduled { run_at, .. } => Some(*run_at),
            _ => None,
        })
    }

    /// How long ago the earliest of these times was.
    fn age_s(&self, queue: &Name, time: impl Fn(&Place) -> Option<Timestamp>) -> f64 {
        let mine = self.jobs.values().filter(|job| job.record.queue == *queue);
        let earliest = mine.filter_map(|job| time(&job.place)).min();
        earliest.map_or(0.0, |since| self.now.since(since).as_millis() as f64 / 1000.0)
    }

    /// What a person should look at: a word that each warning has, one for each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut words: Vec<_> = self.foreign().iter().map(|name| format!("type {name},")).collect();
        let totals = self.totals();
        let stalled = self.jobs.values().any(|job| job.state(self.now) == State::Stalled);
        if stalled {
            words.push("jobs are stalled".into());
        }
        let is_led = self.leader.is_some_and(|leader| leader.until >= self.now);
        if !is_led && (totals.scheduled + totals.failed > 0 || stalled) {
            words.push("no worker leads".into());
        }
        let stuck = |queue: &&QueueInfo| queue.paused && queue.counts.pending > 0;
        words.extend(self.queues().iter().filter(stuck).map(|q| format!("{} is paused", q.queue)));
        if totals.dead > 0 {
            words.push("dead jobs".into());
        }
        words
    }

    /// The types of pending jobs that no worker alive serves.
    fn foreign(&self) -> Vec<Name> {
        let silent = self.now.minus(SILENT);
        let alive =
            |worker: &&super::Worker| worker.stopped_at.is_none() && worker.beat_at >= silent;
        let served: Vec<_> =
            self.workers.values().filter(alive).flat_map(|worker| &worker.types).collect();
        let pending = self.jobs.values().filter(|job| matches!(job.place, Place::Ready { .. }));
        let mut foreign: Vec<_> = pending
            .map(|job| job.record.job_type.clone())
            .filter(|job_type| !served.contains(&job_type))
            .collect();
        foreign.sort();
        foreign.dedup();
        foreign
    }
}
