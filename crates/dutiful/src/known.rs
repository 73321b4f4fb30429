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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(at: usize) -> TypeDefaults {
        TypeDefaults::unknown(Name::new("type", &format!("t{at}")).expect("a name"))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_good_for_a_second_or_until_a_worker_registers() {
        let (known, names) = (Known::default(), [settings(0).job_type, settings(1).job_type]);
        known.put(Instant::now(), &[settings(0)]);
        assert!(known.get(&names[..1]).is_some());
        assert!(known.get(&names).is_none(), "one of them was never asked for");
        tokio::time::advance(GOOD_FOR - Duration::from_millis(1)).await;
        assert!(known.get(&names[..1]).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(known.get(&names[..1]).is_none(), "another process may have registered others");
        known.put(Instant::now(), &[settings(0)]);
        known.forget();
        assert!(known.get(&names[..1]).is_none());
    }

    #[test]
    fn names_from_anywhere_do_not_fill_the_memory() {
        let known = Known::default();
        (0..3 * TYPES_MAX).for_each(|at| known.put(Instant::now(), &[settings(at)]));
        assert!(known.lock().len() <= TYPES_MAX);
    }
}
