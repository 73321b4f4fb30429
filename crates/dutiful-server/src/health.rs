//! Whether the worker lives and whether it is ready, judged by what it does, not by what it says.
//!
//! Stuck is a worker with free slots that claims nothing while one and the same job that it could
//! run lies due for long. No clock is compared with another: the job was seen by the first look
//! and by the last, and between them nothing was claimed here.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dutiful::{Event, Filter, JobId, JobInfo, Name, State, Stats};
use tokio::sync::Mutex;

use crate::labels::lock;
use crate::look::Look;
use crate::monitor::Monitor;

/// A failed call to the store is news for this long; one that goes on failing is told again sooner.
const TROUBLE_FRESH: Duration = Duration::from_secs(10);
/// What was over within this time was no more than a hiccup.
const TROUBLE_LASTS: Duration = Duration::from_secs(1);
/// The calls without which a worker gets nothing done.
const NEEDED: [&str; 3] = ["claim", "finish", "heartbeat"];
/// So many due jobs of a queue are looked through for one that this worker could run.
const PAGE: usize = 100;

/// Where the worker stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Starting,
    Working,
    Stopping,
}

/// A call that failed, when it first did and when it last did.
#[derive(Clone, Copy)]
struct Trouble {
    verb: &'static str,
    first: Instant,
    last: Instant,
}

/// A job that lies due in a queue with free slots.
struct Suspicion {
    job: JobId,
    attempt: u32,
    queue: Name,
    job_type: Name,
    since: Instant,
    /// How many claims there had been.
    claims: u64,
}

pub(crate) struct Health {
    stuck_after: Duration,
    phase: StdMutex<Phase>,
    trouble: StdMutex<Option<Trouble>>,
    claims: AtomicU64,
    suspicion: Mutex<Option<Suspicion>>,
}

/// Ends the time in which the worker is ready, however the wait for its stop ended.
pub(crate) struct Working<'a>(&'a Health);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        *lock(&self.0.phase) = Phase::Stopping;
    }
}

impl Health {
    pub(crate) fn new(stuck_after: Duration) -> Self {
        Self {
            stuck_after,
            phase: StdMutex::new(Phase::Starting),
            trouble: StdMutex::default(),
            claims: AtomicU64::new(0),
            suspicion: Mutex::default(),
        }
    }

    pub(crate) fn working(&self) -> Working<'_> {
        *lock(&self.phase) = Phase::Working;
        Working(self)
    }

    pub(crate) fn phase(&self) -> Phase {
        *lock(&self.phase)
    }

    pub(crate) fn hear(&self, event: &Event<'_>) {
        match event {
            Event::Claimed { .. } => {
                self.claims.fetch_add(1, Ordering::SeqCst);
            }
            Event::StoreTrouble { verb, .. } if NEEDED.contains(verb) => {
                let (mut trouble, now) = (lock(&self.trouble), Instant::now());
                let known = trouble.filter(|known| now - known.last < TROUBLE_FRESH);
                let first = known.map_or(now, |known| known.first);
                *trouble = Some(Trouble { verb, first, last: now });
            }
            _ => {}
        }
    }

    /// Returns the call that goes on failing, if there is one.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        let trouble = (*lock(&self.trouble))?;
        let lasts = trouble.last - trouble.first >= TROUBLE_LASTS;
        (lasts && trouble.last.elapsed() < TROUBLE_FRESH).then_some(trouble.verb)
    }

    /// Says what the worker leaves alone, when it is stuck. One look at a time; without an answer
    /// of the store nothing is held against the worker, for it has none either.
    pub(crate) async fn stuck(
        &self,
        monitor: &Monitor,
        look: &Look,
        stats: &Stats,
    ) -> Option<String> {
        let mut suspicion = self.suspicion.try_lock().ok()?;
        let claims = self.claims.load(Ordering::SeqCst);
        let open = open(monitor, stats);
        if let Some(known) = suspicion.as_ref()
            && known.claims == claims
            && open.contains(&known.queue)
            && lies_still(look, known).await
        {
            let lies = known.since.elapsed();
            return (lies >= self.stuck_after).then(|| known.sentence(lies));
        }
        *suspicion = None;
        for queue in open {
            if let Some(job) = due(look, monitor, &queue).await {
                let JobInfo { id: job, attempt, job_type, .. } = job;
                let since = Instant::now();
                *suspicion = Some(Suspicion { job, attempt, queue, job_type, since, claims });
                break;
            }
        }
        None
    }
}

impl Suspicion {
    fn sentence(&self, lies: Duration) -> String {
        let Self { job, queue, job_type, .. } = self;
        let seconds = lies.as_secs();
        format!(
            "the worker is stuck: {job_type} job {job} has been due in queue {queue} for \
             {seconds} s while slots were free, and nothing was claimed; restart the worker"
        )
    }
}

/// Returns the queues from which the worker should claim something now.
fn open(monitor: &Monitor, stats: &Stats) -> Vec<Name> {
    let due = stats.queues.iter().filter(|one| one.counts.pending > 0 && !one.paused);
    let names = due.map(|one| &one.queue);
    names.filter(|queue| monitor.has_room(queue.as_str())).cloned().collect()
}

/// Finds a due job that this worker could run. One with a crash on its record may have to wait for
/// another such, so it proves nothing.
async fn due(look: &Look, monitor: &Monitor, queue: &Name) -> Option<JobInfo> {
    let (state, queue) = (Some(State::Pending), Some(queue.clone()));
    let filter = Filter { state, queue, limit: Some(PAGE), ..Filter::default() };
    let jobs = look.client().jobs(filter).await.ok()?.jobs;
    jobs.into_iter().find(|job| job.crashes == 0 && monitor.served().runs(job.job_type.as_str()))
}

async fn lies_still(look: &Look, known: &Suspicion) -> bool {
    let job = look.client().job(known.job).await.ok().flatten();
    job.is_some_and(|job| job.state == State::Pending && job.attempt == known.attempt)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use dutiful::StoreError;

    use super::*;

    #[test]
    fn stops_to_be_ready_however_the_wait_for_the_stop_ends() {
        let health = Health::new(Duration::ZERO);
        assert_eq!(health.phase(), Phase::Starting);
        let working = health.working();
        assert_eq!(health.phase(), Phase::Working);
        drop(working);
        assert_eq!(health.phase(), Phase::Stopping);
    }

    #[test]
    fn tells_trouble_that_lasts_from_a_hiccup() {
        let health = Health::new(Duration::ZERO);
        let error = StoreError::Full;
        health.hear(&Event::StoreTrouble { verb: "claim", error: &error });
        assert_eq!(health.trouble(), None, "once is a hiccup");
        let long_ago = Instant::now().checked_sub(TROUBLE_LASTS).unwrap();
        lock(&health.trouble).as_mut().unwrap().first = long_ago;
        health.hear(&Event::StoreTrouble { verb: "upkeep", error: &error });
        assert_eq!(health.trouble(), None, "upkeep is done by others too");
        health.hear(&Event::StoreTrouble { verb: "finish", error: &error });
        assert_eq!(health.trouble(), Some("finish"));
        let stale = Instant::now().checked_sub(TROUBLE_FRESH).unwrap();
        let (verb, first) = ("finish", stale - TROUBLE_LASTS);
        *lock(&health.trouble) = Some(Trouble { verb, first, last: stale });
        assert_eq!(health.trouble(), None, "it is over");
    }
}
