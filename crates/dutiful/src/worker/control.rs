//! What can be told to a worker while it runs: stop, be quiet, go on, other slots.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::engine::lock;
use super::settings::{GRACE_MAX, SLOTS_MAX};
use crate::error::Error;
use crate::id::Name;

/// Tells a worker what to do from elsewhere in the program; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WorkerHandle(Arc<Control>);

/// What was told and is to be heeded.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// No more claims, and then the end.
    pub(super) stop: CancellationToken,
    /// By when.
    end_by: Mutex<EndBy>,
    quiet: AtomicBool,
    /// Slots by queue that the claimer has not yet taken note of.
    slots: Mutex<HashMap<Name, usize>>,
    /// The claimer is to look at this again.
    pub(super) changed: Notify,
}

/// When it was told to stop.
#[derive(Debug, Default)]
struct EndBy {
    /// Within its own grace: since when.
    told: Option<Instant>,
    /// By this time.
    by: Option<Instant>,
}

impl WorkerHandle {
    /// Tells the worker to stop in order: no more claims, finish or release, flush.
    pub fn stop(&self) {
        self.0.told();
        self.0.stop.cancel();
    }

    /// The same with another grace than its own, from now on, of 30 days at most. Of several times
    /// that it was told the earliest counts, also if it is told while it stops.
    pub fn stop_within(&self, grace: Duration) {
        self.0.hurry(grace.min(GRACE_MAX));
        self.0.stop.cancel();
    }

    /// Tells the worker to claim nothing more and to end what it runs; what it claimed ahead is
    /// given back. It goes on living, renewing its leases, until it is told to resume or to stop.
    pub fn quiet(&self) {
        self.0.set_quiet(true);
    }

    /// Lets a quiet worker claim again.
    pub fn resume(&self) {
        self.0.set_quiet(false);
    }

    /// True while the worker is told to be quiet.
    pub fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }

    /// True once the worker is told to stop.
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Gives a queue that the worker serves other slots, from its next claim on. Fewer slots end
    /// nothing that runs; zero stops claims from this queue alone. A queue that the worker does
    /// not serve is left out.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for a bad name, [`Error::Worker`] for more than 10,000 slots.
    pub fn set_slots(&self, queue: &str, slots: usize) -> Result<(), Error> {
        let queue = Name::new("queue", queue)?;
        if slots > SLOTS_MAX {
            let text = format!("queue {queue} can have at most {SLOTS_MAX} slots, not {slots}");
            return Err(Error::Worker(text));
        }
        lock(&self.0.slots).insert(queue, slots);
        self.0.changed.notify_one();
        Ok(())
    }

    pub(super) fn control(&self) -> Arc<Control> {
        self.0.clone()
    }
}

impl Control {
    /// Its own grace begins, if it has not.
    pub(super) fn told(&self) {
        lock(&self.end_by).told.get_or_insert_with(Instant::now);
    }

    pub(super) fn hurry(&self, grace: Duration) {
        let by = Instant::now() + grace;
        let mut end = lock(&self.end_by);
        end.by = Some(end.by.map_or(by, |before| before.min(by)));
    }

    /// By when what runs has to end, with this grace; `None` where nobody said since when.
    pub(super) fn end_by(&self, grace: Duration) -> Option<Instant> {
        let end = lock(&self.end_by);
        let own = end.told.map(|told| told + grace);
        own.into_iter().chain(end.by).min()
    }

    fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::SeqCst);
        self.changed.notify_one();
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    /// Takes the slots that were asked for since the last time.
    pub(super) fn take_slots(&self) -> HashMap<Name, usize> {
        std::mem::take(&mut *lock(&self.slots))
    }
}

/// Heeds signals until it is dropped: SIGTSTP makes the worker quiet, SIGCONT lets it resume.
/// Run it beside the worker: `tokio::spawn(dutiful::quiet_signals(worker.handle()))`.
///
/// While it runs, Ctrl-Z does not suspend the process, for SIGTSTP is what it sends.
pub async fn quiet_signals(handle: WorkerHandle) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // Linux, macOS and the BSDs number these two differently.
        let (stop, go_on) = if cfg!(target_os = "linux") { (20, 18) } else { (18, 19) };
        let (Ok(mut quiet), Ok(mut resume)) =
            (signal(SignalKind::from_raw(stop)), signal(SignalKind::from_raw(go_on)))
        else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = quiet.recv() => handle.quiet(),
                _ = resume.recv() => handle.resume(),
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = handle;
        std::future::pending::<()>().await;
    }
}
