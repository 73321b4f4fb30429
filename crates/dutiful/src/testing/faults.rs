//! A store that fails when a test wants it to, around one that does not.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::future::{Future, pending, ready};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::inspect::{
    Backup, Filter, Finding, JobInfo, JobResult, Page, QueueInfo, Stats, Vitals, WorkerInfo,
};
use crate::job::{Record, TypeDefaults};
use crate::store::{
    Beat, Change, ClaimRequest, Claimed, End, Enqueued, Facts, Finish, HeartbeatRequest, Held,
    Keep, KeptItem, KeptRange, Leadership, Migrated, Note, Once, OnceRequest, Promoted, Reply,
    RescueRequest, Rescued, Retention, Store, WorkerCard,
};
use crate::totals::TypeTotals;

/// Faults of a store that happen when they are asked for. A [`super::Lab`] has them; around a store
/// of its own, with the machine's clock, a test puts them so:
///
/// ```
/// use dutiful::testing::Faults;
/// # async fn open() -> Result<(), dutiful::Error> {
/// let client = dutiful::Client::connect("sqlite:jobs.db").await?;
/// let (store, faults) = Faults::around(client.store().clone());
/// let client = dutiful::Client::builder().with_store(store);
/// faults.cut("heartbeat");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Faults {
    plan: Arc<Plan>,
    store: Arc<dyn Store>,
}

impl Faults {
    /// Returns a store that fails as it is told to, and what tells it.
    pub fn around(store: Arc<dyn Store>) -> (Arc<dyn Store>, Self) {
        let plan = Arc::new(Plan::default());
        let faulty = Faulty { inner: store.clone(), plan: plan.clone() };
        (Arc::new(faulty), Self { plan, store })
    }

    /// Lets the next call of this verb of the store (`"claim"`, `"finish"`, … as in [`VERBS`]) fail
    /// before anything is done, with [`StoreError::Planned`].
    ///
    /// # Panics
    /// When there is no such verb; so do the others.
    pub fn fail(&self, verb: &'static str) {
        self.fail_times(verb, 1);
    }

    /// Lets the next so many calls of this verb fail.
    pub fn fail_times(&self, verb: &'static str, times: usize) {
        check(verb);
        self.plan.planned().failures.insert(verb, times);
    }

    /// Lets every call of this verb fail until [`Faults::mend`].
    pub fn cut(&self, verb: &'static str) {
        self.fail_times(verb, usize::MAX);
    }

    /// Lets every call of this verb go without an answer until [`Faults::mend`]: nothing is done,
    /// and whoever asked waits for as long as they have patience.
    pub fn hang(&self, verb: &'static str) {
        check(verb);
        self.plan.planned().hung.insert(verb);
    }

    /// Lets calls of this verb pass again.
    pub fn mend(&self, verb: &'static str) {
        self.fail_times(verb, 0);
        self.plan.planned().hung.remove(verb);
    }

    /// Lets the next call of this verb be done, but its answer be lost: whoever asked hears
    /// [`StoreError::Timeout`].
    pub fn lose_answer(&self, verb: &'static str) {
        check(verb);
        *self.plan.planned().lost.entry(verb).or_default() += 1;
    }

    /// Takes the lease of a running attempt away, as a rescue would: the job is pending again, and
    /// whatever its handler still does about it is refused.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no attempt of this job runs that was claimed through here.
    pub async fn lose_lease(&self, id: JobId) -> Result<(), StoreError> {
        let claim = self.plan.planned().claims.get(&id).cloned();
        let no = || StoreError::Unavailable(format!("no attempt of job {id} runs here"));
        let (worker, job) = claim.ok_or_else(no)?;
        // In its holder's name, and behind its back.
        let end = job.unstarted(End::Released);
        match self.store.finish(worker, vec![end]).await?.first() {
            Some(Held::Yes) => Ok(()),
            _ => Err(no()),
        }
    }
}

/// What is to go wrong.
#[derive(Default)]
struct Plan(Mutex<Planned>);

#[derive(Default)]
struct Planned {
    /// So many calls of a verb fail yet.
    failures: HashMap<&'static str, usize>,
    /// Calls of these verbs are not answered.
    hung: HashSet<&'static str>,
    /// So many calls of a verb are done, and their answers lost.
    lost: HashMap<&'static str, usize>,
    /// The last claim of each job.
    claims: HashMap<JobId, (WorkerId, Claimed)>,
}

enum Fate {
    Passes,
    Fails,
    Hangs,
    LosesAnswer,
}

impl Plan {
    fn fate(&self, verb: &'static str) -> Fate {
        let planned = &mut *self.planned();
        let is_due = |of: &mut HashMap<&'static str, usize>| {
            let left = of.get_mut(verb).filter(|left| **left > 0);
            // A verb that is cut stays so.
            left.map(|left| *left -= usize::from(*left < usize::MAX)).is_some()
        };
        if is_due(&mut planned.failures) {
            Fate::Fails
        } else if planned.hung.contains(verb) {
            Fate::Hangs
        } else if is_due(&mut planned.lost) {
            Fate::LosesAnswer
        } else {
            Fate::Passes
        }
    }

    fn remember(&self, worker: WorkerId, claimed: &[Claimed]) {
        let claims = claimed.iter().map(|job| (job.fence.id, (worker, job.clone())));
        self.planned().claims.extend(claims);
    }

    fn planned(&self) -> MutexGuard<'_, Planned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault in a verb that does not exist would never happen, and the test would prove nothing.
fn check(verb: &str) {
    assert!(VERBS.contains(&verb), "no verb \"{verb}\"; there are {}", VERBS.join(", "));
}

/// The store that a test's client sees.
struct Faulty {
    inner: Arc<dyn Store>,
    plan: Arc<Plan>,
}

/// Verbs that pass through the plan: their name, arguments and answer, as in the trait.
macro_rules! verbs {
    ($($verb:ident($($name:ident: $what:ty),*) -> $answer:ty;)*) => {
        /// The verbs of the store that can be made to fail.
        pub const VERBS: &[&str] = &["claim", $(stringify!($verb)),*];

        impl Store for Faulty {
            $(fn $verb(&self, $($name: $what),*) -> Reply<'_, $answer> {
                const VERB: &str = stringify!($verb);
                match self.plan.fate(VERB) {
                    Fate::Passes => self.inner.$verb($($name),*),
                    Fate::Fails => Box::pin(ready(Err(StoreError::Planned(VERB)))),
                    Fate::Hangs => Box::pin(pending()),
                    Fate::LosesAnswer => {
                        let done = self.inner.$verb($($name),*);
                        Box::pin(async move { lost(done.await) })
                    }
                }
            })*

            fn claim(&self, ask: ClaimRequest) -> Reply<'_, Vec<Claimed>> {
                let fate = self.plan.fate("claim");
                match fate {
                    Fate::Fails => return Box::pin(ready(Err(StoreError::Planned("claim")))),
                    Fate::Hangs => return Box::pin(pending()),
                    Fate::Passes | Fate::LosesAnswer => {}
                }
                let worker = ask.worker;
                let claimed = self.inner.claim(ask);
                Box::pin(async move {
                    let claimed = claimed.await?;
                    self.plan.remember(worker, &claimed);
                    if matches!(fate, Fate::LosesAnswer) { lost(Ok(claimed)) } else { Ok(claimed) }
                })
            }

            fn facts(&self) -> Facts {
                self.inner.facts()
            }

            fn doorbell(&self, heard: u64) -> Pin<Box<dyn Future<Output = u64> + Send + '_>> {
                self.inner.doorbell(heard)
            }

            fn as_any(&self) -> &dyn Any {
                self.inner.as_any()
            }
        }
    };
}

fn lost<T>(done: Result<T, StoreError>) -> Result<T, StoreError> {
    done.and(Err(StoreError::Timeout(Duration::ZERO)))
}

verbs! {
    enqueue(jobs: Vec<Record>) -> Vec<Enqueued>;
    finish(worker: WorkerId, ends: Vec<Finish>) -> Vec<Held>;
    heartbeat(ask: HeartbeatRequest) -> Vec<Beat>;
    cancel_requests(worker: WorkerId) -> Vec<JobId>;
    held(fences: Vec<Fence>) -> Vec<Held>;
    note(notes: Vec<Note>) -> Vec<Held>;
    cancel(ids: Vec<JobId>) -> Vec<Change>;
    retry(ids: Vec<JobId>) -> Vec<Change>;
    discard(ids: Vec<JobId>) -> Vec<Change>;
    reschedule(ids: Vec<JobId>, at: Timestamp) -> Vec<Change>;
    delete(ids: Vec<JobId>) -> Vec<Change>;
    pause(queue: Name, paused: bool) -> bool;
    clear(queue: Name, limit: usize) -> usize;
    show(id: JobId) -> Option<JobInfo>;
    result(ids: Vec<JobId>) -> Vec<Option<JobResult>>;
    list(filter: Filter) -> Page;
    queues() -> Vec<QueueInfo>;
    totals() -> Vec<TypeTotals>;
    stats() -> Stats;
    workers() -> Vec<WorkerInfo>;
    doctor(full: bool) -> Vec<Finding>;
    vitals() -> Vitals;
    backup(to: PathBuf) -> Backup;
    register(worker: WorkerCard) -> ();
    leave(worker: WorkerId) -> ();
    types(types: Vec<Name>) -> Vec<TypeDefaults>;
    lead(worker: WorkerId, ttl: Duration) -> Leadership;
    abdicate(worker: WorkerId, term: i64) -> ();
    promote(term: i64, limit: usize) -> Promoted;
    rescue(term: i64, ask: RescueRequest) -> Vec<Rescued>;
    prune(term: i64, keep: Retention) -> usize;
    fold(term: i64) -> usize;
    once(ask: OnceRequest) -> Once;
    once_store(key: String, fence: Fence, result: Option<Vec<u8>>) -> Held;
    keep(ask: Keep) -> Option<i64>;
    kept(range: KeptRange) -> Vec<KeptItem>;
    migrate(version: Option<i64>) -> Migrated;
    close() -> ();
}
