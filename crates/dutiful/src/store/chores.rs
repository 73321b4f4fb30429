//! What the leader's chores ask of a store, and what it answers.

use std::time::Duration;

use crate::id::{Fence, Name, WorkerId};

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// The one who leads now.
    pub leader: WorkerId,
    /// Grows with every change.
    pub term: i64,
}

/// What a promotion did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promoted {
    /// How many moved.
    pub moved: usize,
    /// How long until the next is due, if any.
    pub next: Option<Duration>,
}

/// How to treat expired leases.
#[derive(Clone, Copy, Debug)]
pub struct RescueRequest {
    /// Dead after so many stalls in a row; 0 is never.
    pub crashes_max: u32,
    /// At most so many.
    pub limit: usize,
    /// A store whose owner may have been unable to write waits this long between the first sight
    /// of an expired lease and its rescue.
    pub patience: Duration,
}

/// A stalled job that was rescued.
#[derive(Clone, Debug)]
pub struct Rescued {
    /// The attempt that ended so.
    pub fence: Fence,
    /// Its queue.
    pub queue: Name,
    /// Its type.
    pub job_type: Name,
    /// Stalls in a row, this one included.
    pub crashes: u32,
    /// True when it is dead now.
    pub dead: bool,
}

/// How long finished jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Completed and cancelled ones.
    pub completed: Duration,
    /// Dead ones.
    pub dead: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { completed: DAY * 7, dead: DAY * 90 }
    }
}
