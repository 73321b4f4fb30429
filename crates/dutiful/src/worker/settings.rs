//! How a worker is set up: completed and checked before anything runs.

use std::time::Duration;

use super::registry::Registry;
use crate::error::Error;
use crate::id::Name;
use crate::store::Retention;

/// Slots of a queue that nobody gave a number.
pub(super) const SLOTS_DEFAULT: usize = 10;
/// Most slots of one queue.
pub(super) const SLOTS_MAX: usize = 10_000;
/// A shorter lease could not be renewed in time on a busy machine.
const LEASE_MIN: Duration = Duration::from_millis(300);
/// A longer lease would leave crashed work lying for too long.
const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A shorter poll would keep the store busy for nothing.
const POLL_MIN: Duration = Duration::from_millis(1);
/// A longer poll is none.
const POLL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time to finish after the stop.
pub(super) const GRACE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longest leadership without renewal.
const LEADER_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) struct QueueSettings {
    pub(super) name: Name,
    pub(super) slots: usize,
    pub(super) weight: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) queues: Vec<QueueSettings>,
    pub(super) slots: Option<usize>,
    pub(super) strict: bool,
    pub(super) lease: Duration,
    pub(super) grace: Duration,
    pub(super) crashes_max: u32,
    pub(super) poll: Duration,
    pub(super) retention: Retention,
    pub(super) name: String,
    pub(super) until_empty: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queues: Vec::new(),
            slots: None,
            strict: false,
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(25),
            crashes_max: 3,
            poll: Duration::from_millis(250),
            retention: Retention::default(),
            name: format!("pid-{}", std::process::id()),
            until_empty: false,
        }
    }
}

impl Settings {
    /// Fills in the queues of the types, and refuses what cannot work.
    pub(super) fn complete(mut self, registry: &Registry) -> Result<Self, Error> {
        let refuse = |text: String| Err(Error::Worker(text));
        if registry.is_empty() {
            return refuse("it has no handler; add one with .job(handler)".into());
        }
        if let Some(twice) = registry.twice() {
            return refuse(format!("type {twice} has two handlers; keep one"));
        }
        if self.queues.is_empty() {
            self.queues = registry
                .queues()
                .into_iter()
                .map(|name| QueueSettings { name, slots: SLOTS_DEFAULT, weight: 1 })
                .collect();
        }
        for (at, queue) in self.queues.iter().enumerate() {
            let name = &queue.name;
            if queue.slots == 0 || queue.slots > SLOTS_MAX || queue.weight == 0 {
                return refuse(format!(
                    "queue {name} needs 1 to {SLOTS_MAX} slots and a weight of at least 1"
                ));
            }
            if self.queues[..at].iter().any(|other| other.name == *name) {
                return refuse(format!("queue {name} is named twice; keep one"));
            }
        }
        if self.slots == Some(0) {
            return refuse("it has 0 slots in all; give it at least 1".into());
        }
        if !(LEASE_MIN..=LEASE_MAX).contains(&self.lease) {
            let lease = self.lease;
            return refuse(format!("a lease of {lease:?} is not within 300 ms and 24 h"));
        }
        if !(POLL_MIN..=POLL_MAX).contains(&self.poll) {
            let poll = self.poll;
            return refuse(format!("a poll of {poll:?} is not within 1 ms and 24 h"));
        }
        if self.grace > GRACE_MAX {
            let grace = self.grace;
            return refuse(format!("a grace of {grace:?} is over 30 days"));
        }
        Ok(self)
    }

    /// How often leases are renewed.
    pub(super) fn beat(&self) -> Duration {
        self.lease / 3
    }

    /// How often the leader looks for expired leases.
    pub(super) fn sweep(&self) -> Duration {
        self.lease / 6
    }

    /// How long a rescuer waits between the first sight of an expired lease and its rescue: a beat
    /// and half of one more, so that an owner who is there goes first.
    pub(super) fn patience(&self) -> Duration {
        self.lease / 2
    }

    /// How long a leadership lasts without renewal: well under a lease, so that a leader that died
    /// with its jobs is replaced before they are due for rescue.
    pub(super) fn leader_ttl(&self) -> Duration {
        (self.lease / 2).min(LEADER_MAX)
    }

    /// A worker that could not renew for this long stops its handlers itself.
    pub(super) fn self_fence(&self) -> Duration {
        self.lease * 2 / 3
    }
}
