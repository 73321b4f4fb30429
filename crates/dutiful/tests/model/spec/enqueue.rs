//! `enqueue`: what becomes of jobs that are handed in.

use std::collections::BTreeMap;

use dutiful::store::{EnqueueOutcome, Enqueued};
use dutiful::{Record, Timestamp};

use super::{Job, Model, Place, Wait};

impl Model {
    /// Stores each job of the batch in turn.
    pub(crate) fn enqueue(&mut self, jobs: &[Record]) -> Vec<Enqueued> {
        jobs.iter().map(|record| self.enqueue_one(record)).collect()
    }

    fn enqueue_one(&mut self, record: &Record) -> Enqueued {
        // A known id wins over everything: the caller repeats itself, and nothing changes.
        if self.jobs.contains_key(&record.id) {
            return Enqueued { id: record.id, outcome: EnqueueOutcome::Exists };
        }
        // Of all live jobs one has the key; the answer says which.
        if let Some(key) = &record.unique_key {
            if let Some(holder) = self.keys.get(key) {
                return Enqueued { id: *holder, outcome: EnqueueOutcome::Duplicate };
            }
            self.keys.insert(key.clone(), record.id);
        }
        let asked_for = self.asked_for(record);
        let job = Job {
            record: record.clone(),
            created_at: self.now,
            asked_for,
            attempt: 0,
            failures: 0,
            crashes: 0,
            place: self.first_place(asked_for),
            log: Vec::new(),
            progress: None,
            checkpoint: None,
            lines: BTreeMap::new(),
        };
        self.jobs.insert(record.id, job);
        self.queues.entry(record.queue.clone()).or_default().counted = true;
        Enqueued { id: record.id, outcome: EnqueueOutcome::New }
    }

    /// A time stands as it is; a delay counts from the store's now.
    fn asked_for(&self, record: &Record) -> Option<Timestamp> {
        let delayed = (!record.delay.is_zero()).then(|| self.now.plus(record.delay));
        record.scheduled_for.or(delayed)
    }

    /// A job whose time lies ahead waits for it; any other is due since now, so that a time long
    /// past does not overtake those that wait already.
    fn first_place(&self, asked_for: Option<Timestamp>) -> Place {
        match asked_for {
            Some(run_at) if run_at > self.now => Place::Scheduled { run_at, wait: Wait::Time },
            _ => Place::Ready { run_at: self.now },
        }
    }
}
