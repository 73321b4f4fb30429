//! Whether a worker can be counted on, from what it last wrote of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::Name;
use crate::inspect::WorkerState;

/// Most workers in one answer.
pub(in crate::store) const WORKERS_MAX: i64 = 1000;
/// A worker without a beat for this long may be silent: six beats at the default lease.
pub(in crate::store) const SILENT: Duration = Duration::from_secs(60);

/// What a worker's row and its leases say of it.
pub(in crate::store) struct Heard {
    pub(in crate::store) beat_at: Timestamp,
    pub(in crate::store) stopped_at: Option<Timestamp>,
    /// When the last of its leases ends.
    pub(in crate::store) lease_until: Option<Timestamp>,
}

impl Heard {
    pub(in crate::store) fn state(&self, now: Timestamp) -> WorkerState {
        match self.stopped_at {
            Some(_) => WorkerState::Stopped,
            None if self.is_silent(now) => WorkerState::Silent,
            None => WorkerState::Alive,
        }
    }

    /// A lease lasts three beats from the last one on, so while one is good its owner may be quiet.
    fn is_silent(&self, now: Timestamp) -> bool {
        now.since(self.beat_at) > SILENT && self.lease_until.is_none_or(|until| until < now)
    }
}

/// Writes the queues of a worker and their slots as `register` keeps them.
pub(in crate::store) fn join_queues(queues: &[(Name, usize)]) -> String {
    let all = queues.iter().map(|(name, slots)| (name.to_string(), (*slots).into()));
    serde_json::Value::Object(all.collect()).to_string()
}

/// Reads what `register` wrote; text of another shape says nothing.
pub(in crate::store) fn split_queues(json: &str) -> BTreeMap<Name, usize> {
    let all: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).unwrap_or_default();
    let slots = |value: serde_json::Value| value.as_u64().unwrap_or(0) as usize;
    all.into_iter().map(|(name, value)| (Name::stored(&name), slots(value))).collect()
}
