//! Remembers which ends may have been written though nobody was told, so that who asks again hears
//! that they were, and not that the lease is lost.
//!
//! A server that is killed takes the answer with it, and often refuses connections after that: the
//! call fails, and the worker makes it again with the same fences. By then the lease is gone,
//! because the first call took it. Only ends that were once in doubt are looked for in the
//! records: whoever finishes a second time on purpose has lost the lease.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::Fence;
use crate::store::{Finish, Held};

/// Fences kept at most. Those of workers that gave up stay here, so there is an end to them; what
/// is forgotten is answered as lost, and that only costs a repeat's refusal.
const FENCES_MAX: usize = 10_000;

/// The fences in doubt.
#[derive(Default)]
pub(super) struct Unsure(Mutex<HashSet<Fence>>);

impl Unsure {
    /// Remembers that these ends may have been written.
    pub(super) fn remember<'f>(&self, ends: impl IntoIterator<Item = &'f Finish>) {
        let mut fences = self.fences();
        if fences.len() >= FENCES_MAX {
            fences.clear();
        }
        fences.extend(ends.into_iter().map(|one| one.fence));
    }

    /// Says whether an end was in doubt.
    pub(super) fn has(&self, one: &Finish) -> bool {
        cfg!(not(bug = "answer_lost")) && self.fences().contains(&one.fence)
    }

    /// Forgets ends whose fate was told; that of a locked one is not known yet.
    pub(super) fn forget<'f>(&self, told: impl Iterator<Item = (&'f Finish, &'f Held)>) {
        let mut fences = self.fences();
        if !fences.is_empty() {
            told.filter(|(_, held)| **held != Held::Locked).for_each(|(one, _)| {
                fences.remove(&one.fence);
            });
        }
    }

    fn fences(&self) -> MutexGuard<'_, HashSet<Fence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
