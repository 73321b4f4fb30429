//! What the store said of the settings of types, for a moment: who enqueues by name many times a
//! second asks once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::id::Name;
use crate::job::TypeDefaults;

/// How long an answer is good. A worker of another process that registers other settings is heeded
/// after this long at the latest.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Most types that are remembered: names may come from anywhere.
const TYPES_MAX: usize = 1000;

/// Types and when the store was asked for them.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<Name, (Instant, TypeDefaults)>>);

impl Known {
    /// Returns the settings of all these types, if all of them are known.
    pub(crate) fn get(&self, names: &[Name]) -> Option<Vec<TypeDefaults>> {
        let known = self.lock();
        let good = |name: &Name| {
            let (asked, settings) = known.get(name)?;
            (asked.elapsed() < GOOD_FOR).then(|| settings.clone())
        };
        names.iter().map(good).collect()
    }

    /// Takes note of what the store said when it was asked then.
    pub(crate) fn put(&self, asked: Instant, settings: &[TypeDefaults]) {
        let mut known = self.lock();
        if known.len() + settings.len() > TYPES_MAX {
            known.clear();
        }
        for one in settings.iter().take(TYPES_MAX) {
            known.insert(one.job_type.clone(), (asked, one.clone()));
        }
    }

    /// Forgets all, for a worker of this process has registered its own.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, (Instant, TypeDefaults)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
