//! The front door: enqueue, inspect, and change jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::time::Instant;

use crate::builder::ClientBuilder;
use crate::clock::Timestamp;
use crate::enqueue::{Enqueue, EnqueueAll, Middleware, NewJob, Outgoing, inherit, number};
use crate::error::{Error, InvalidJob, StoreError};
use crate::id::{JobId, Name};
use crate::inspect::{Filter, JobInfo, Page, QueueInfo, Stats, Vitals};
use crate::job::{Job, Record, TypeDefaults};
use crate::known::Known;
use crate::result::Awaiting;
use crate::store::{Change, EnqueueOutcome, Enqueued, Facts, Migrated, Store};
use crate::telemetry::{self, Event, Observers};
use crate::totals::TypeTotals;

/// Jobs in one call to the store.
const CHUNK: usize = 1000;
/// Chunks under way at once.
const CHUNKS_UNDER_WAY: usize = 12;
/// No call to a store waits longer for its answer.
const CALL_MAX: Duration = Duration::from_secs(30);

/// A connection to a store; cheap to clone, shared by as many tasks as you like.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    payload_bytes_max: usize,
    observers: Observers,
    middleware: Vec<Box<Middleware>>,
    known: Known,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.facts().place).finish()
    }
}

/// A change by id, for many jobs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Stop it.
    Cancel,
    /// Run it again, now.
    Retry,
    /// Take it out of the dead letter queue.
    Discard,
    /// Remove every trace.
    Delete,
    /// Give it another time.
    Reschedule(Timestamp),
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Delete => "delete",
            Self::Reschedule(_) => "reschedule",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Cancel => "only a job that has not ended can be cancelled",
            Self::Retry => "only a failed, dead or cancelled job can be retried",
            Self::Discard => "only a dead job can be discarded; cancel one that waits or runs",
            Self::Delete => "cancel it first, an active job cannot be deleted",
            Self::Reschedule(_) => "only a waiting job can be rescheduled",
        }
    }
}

impl Client {
    /// Puts a client together; its builder knows how.
    pub(crate) fn of(
        store: Arc<dyn Store>,
        payload_bytes_max: usize,
        observers: Observers,
        middleware: Vec<Box<Middleware>>,
    ) -> Self {
        let inner =
            Inner { store, payload_bytes_max, observers, middleware, known: Known::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Opens the store that the URL names: `sqlite:jobs.db`, `sqlite::memory:`.
    ///
    /// # Errors
    /// [`Error::Store`] that says what is wrong with the URL or the place.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder().connect(url).await
    }

    /// Returns a builder for a connection with other than the default settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Enqueues a job; await the builder to store it. One round trip, durable when it answers.
    pub fn enqueue<J: Job>(&self, job: J) -> Enqueue<'_> {
        Enqueue::typed(self, &job)
    }

    /// Enqueues a job by the name of its type. Settings that a worker registered for the type
    /// apply; the store is asked for them once a second at most.
    pub fn enqueue_raw(&self, job_type: &str, payload: impl Into<Vec<u8>>) -> Enqueue<'_> {
        Enqueue::raw(self, job_type, payload.into())
    }

    /// Enqueues many jobs of one type, in chunks of 1000, each chunk atomic; to be awaited.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] before anything is stored; [`Error::Partly`] when a later chunk
    /// failed.
    pub fn enqueue_all<J: Job>(&self, jobs: impl IntoIterator<Item = J>) -> EnqueueAll<'_> {
        EnqueueAll::new(self, jobs)
    }

    /// Enqueues many jobs by name, in chunks of 1000, each chunk atomic. The answers keep the order
    /// of the jobs, and so does each queue; ids go up queue by queue.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] before anything is stored; [`Error::Partly`] when a later chunk
    /// failed.
    pub async fn enqueue_many(&self, mut jobs: Vec<NewJob>) -> Result<Vec<Enqueued>, Error> {
        let mut known: HashMap<String, TypeDefaults> = HashMap::new();
        for job in &mut jobs {
            crate::payload::check(&job.payload, self.payload_bytes_max())?;
            job.settings.check()?;
            if !known.contains_key(&job.job_type) {
                let name = Name::new("type", &job.job_type)?;
                known.insert(job.job_type.clone(), self.defaults(&[name]).await?.remove(0));
            }
            job.settings = inherit(std::mem::take(&mut job.settings));
            let job_type = &known[&job.job_type].job_type;
            let (payload, settings) = (&mut job.payload, &mut job.settings);
            self.pass(Outgoing { job_type, payload, settings })?;
        }
        jobs.chunks_mut(CHUNK).for_each(number);
        let record = |job: NewJob| Record::build(&known[&job.job_type], job.payload, job.settings);
        self.store_many(jobs.into_iter().map(record)).await
    }

    /// Returns a job with its payload, result and attempts, or `None`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn job(&self, id: JobId) -> Result<Option<JobInfo>, Error> {
        self.call(self.inner.store.show(id)).await
    }

    /// Waits for the end of a job, and for what its handler returned: a minute, unless the builder
    /// is told otherwise. The worker may be any process; a job that ended long ago answers at once.
    ///
    /// ```
    /// # async fn ask(client: dutiful::Client, id: dutiful::JobId) -> Result<(), dutiful::Error> {
    /// let ended = client.result(id).timeout(std::time::Duration::from_secs(5)).await?;
    /// let pages: u32 = ended.decode()?; // what is no completion is an error here
    /// # Ok(()) }
    /// ```
    pub fn result(&self, id: JobId) -> Awaiting<'_> {
        Awaiting::new(self, id)
    }

    /// Returns a page of jobs, newest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn jobs(&self, filter: Filter) -> Result<Page, Error> {
        self.call(self.inner.store.list(filter)).await
    }

    /// Stops a job: a waiting one at once; an active one is `Requested`, and its worker stops it
    /// within a second.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`] when it has ended, [`Error::Store`].
    pub async fn cancel(&self, id: JobId) -> Result<Change, Error> {
        self.change(Verb::Cancel, id).await
    }

    /// Puts a dead, failed or cancelled job back into the queue, due now.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`], [`Error::Conflict`] when its key is taken.
    pub async fn retry(&self, id: JobId) -> Result<Change, Error> {
        self.change(Verb::Retry, id).await
    }

    /// Takes a dead job out of the dead letter queue; it stays on record as cancelled.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`].
    pub async fn discard(&self, id: JobId) -> Result<Change, Error> {
        self.change(Verb::Discard, id).await
    }

    /// Gives a waiting job another time.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`].
    pub async fn reschedule(&self, id: JobId, at: Timestamp) -> Result<Change, Error> {
        self.change(Verb::Reschedule(at), id).await
    }

    /// Removes every trace of a job that is not active.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`] when it is active.
    pub async fn delete(&self, id: JobId) -> Result<Change, Error> {
        self.change(Verb::Delete, id).await
    }

    /// Changes many jobs; the answers keep the order, and no single one is an error.
    ///
    /// # Errors
    /// [`Error::Store`]; chunks before it are done.
    pub async fn change_many(
        &self,
        verb: Verb,
        ids: Vec<JobId>,
    ) -> Result<Vec<(JobId, Change)>, Error> {
        let mut answers = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            let chunk = chunk.to_vec();
            let store = &self.inner.store;
            let asked = match verb {
                Verb::Cancel => store.cancel(chunk.clone()),
                Verb::Retry => store.retry(chunk.clone()),
                Verb::Discard => store.discard(chunk.clone()),
                Verb::Delete => store.delete(chunk.clone()),
                Verb::Reschedule(at) => store.reschedule(chunk.clone(), at),
            };
            answers.extend(chunk.into_iter().zip(self.call(asked).await?));
        }
        Ok(answers)
    }

    async fn change(&self, verb: Verb, id: JobId) -> Result<Change, Error> {
        let answers = self.change_many(verb, vec![id]).await?;
        let word = verb.as_str();
        match answers.first().map_or(Change::NotFound, |(_, change)| *change) {
            Change::NotFound => Err(Error::NotFound(id)),
            Change::Conflict { holder } => Err(Error::Conflict { verb: word, id, holder }),
            Change::Refused { state } => {
                Err(Error::WrongState { verb: word, id, state, advice: verb.advice() })
            }
            done => Ok(done),
        }
    }

    /// Stops claims from a queue; jobs that run go on. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for a bad name, [`Error::Store`].
    pub async fn pause(&self, queue: &str) -> Result<bool, Error> {
        let queue = Name::new("queue", queue)?;
        self.call(self.inner.store.pause(queue, true)).await
    }

    /// Lets claims from a queue go on. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for a bad name, [`Error::Store`].
    pub async fn resume(&self, queue: &str) -> Result<bool, Error> {
        let queue = Name::new("queue", queue)?;
        self.call(self.inner.store.pause(queue, false)).await
    }

    /// Returns every queue with its numbers.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        self.call(self.inner.store.queues()).await
    }

    /// Returns totals, queues and warnings.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.call(self.inner.store.stats()).await
    }

    /// Returns what was counted by queue and type since the store was made, by all processes
    /// together: exact, however many jobs there were.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn totals(&self) -> Result<Vec<TypeTotals>, Error> {
        self.call(self.inner.store.totals()).await
    }

    /// Returns numbers of the store's own health, for metrics: cheap, however many jobs there are.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn vitals(&self) -> Result<Vitals, Error> {
        self.call(self.inner.store.vitals()).await
    }

    /// Brings the schema to a version (`None`: the newest).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn migrate(&self, version: Option<i64>) -> Result<Migrated, Error> {
        self.call(self.inner.store.migrate(version)).await
    }

    /// Returns the SQL by which people with tools of their own bring the schema that a
    /// `postgres://` URL names from one version (0: nothing there) to another (`None`: the newest).
    /// It is one transaction; no connection is made.
    ///
    /// # Errors
    /// [`Error::Store`] for a version that this program does not know, or another kind of store.
    pub fn migration_sql(url: &str, from: i64, to: Option<i64>) -> Result<String, Error> {
        Ok(crate::store::connect::migration_sql(url, from, to)?)
    }

    /// Returns the SQL that makes the roles that programs need in the schema that a `postgres://`
    /// URL names, and grants them no more than that.
    ///
    /// # Errors
    /// [`Error::Store`] for another kind of store.
    pub fn roles_sql(url: &str) -> Result<String, Error> {
        Ok(crate::store::connect::roles_sql(url)?)
    }

    /// Returns what the store is and promises.
    pub fn facts(&self) -> Facts {
        self.inner.store.facts()
    }

    /// Finishes what was asked and lets go of the store; later calls fail.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn close(&self) -> Result<(), Error> {
        self.call(self.inner.store.close()).await
    }

    /// Returns the store itself, for tests and tools.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Shows a job to the middleware, in order; checks again what it may have changed.
    pub(crate) fn pass(&self, mut job: Outgoing<'_>) -> Result<(), InvalidJob> {
        if self.inner.middleware.is_empty() {
            return Ok(());
        }
        for see in &self.inner.middleware {
            see(&mut job)?;
        }
        crate::payload::check(job.payload, self.payload_bytes_max())?;
        job.settings.check()
    }

    pub(crate) fn has_middleware(&self) -> bool {
        !self.inner.middleware.is_empty()
    }

    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.inner.payload_bytes_max
    }

    /// Returns the settings of types: what a worker registered, else the general defaults.
    pub(crate) async fn defaults(&self, names: &[Name]) -> Result<Vec<TypeDefaults>, Error> {
        if let Some(known) = self.inner.known.get(names) {
            return Ok(known);
        }
        let asked = Instant::now();
        let known = self.call(self.inner.store.types(names.to_vec())).await?;
        let of = |name: &Name| {
            let found = known.iter().find(|one| one.job_type == *name);
            found.cloned().unwrap_or_else(|| TypeDefaults::unknown(name.clone()))
        };
        let all: Vec<TypeDefaults> = names.iter().map(of).collect();
        self.inner.known.put(asked, &all);
        Ok(all)
    }

    /// Asks the store anew for what it knows of types.
    pub(crate) fn forget_types(&self) {
        self.inner.known.forget();
    }

    pub(crate) async fn store_one(&self, record: Record) -> Result<Enqueued, Error> {
        let id = record.id;
        let mut answers = self.store_chunk(vec![record]).await?;
        Ok(answers.pop().unwrap_or(Enqueued { id, outcome: EnqueueOutcome::New }))
    }

    /// Stores records that were checked; each is put together while the chunks before it are
    /// written.
    pub(crate) async fn store_many(
        &self,
        records: impl ExactSizeIterator<Item = Result<Record, InvalidJob>>,
    ) -> Result<Vec<Enqueued>, Error> {
        let total = records.len();
        let mut answers = Vec::with_capacity(total);
        let mut records = records.fuse();
        let mut under_way = FuturesOrdered::new();
        let mut failed = None;
        loop {
            while under_way.len() < CHUNKS_UNDER_WAY && failed.is_none() {
                match records.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>() {
                    Ok(chunk) if chunk.is_empty() => break,
                    Ok(chunk) => under_way.push_back(self.store_chunk(chunk)),
                    Err(error) => failed = Some(Error::from(error)),
                }
            }
            match under_way.next().await {
                Some(Ok(chunk)) => answers.extend(chunk),
                // What is under way is waited for, so that the number of those stored is right.
                Some(Err(error)) => failed = failed.or(Some(error)),
                None => break,
            }
        }
        match failed {
            None => Ok(answers),
            Some(error) if answers.is_empty() => Err(error),
            Some(error) => {
                let stored = answers.len();
                Err(Error::Partly { total, stored, source: Box::new(error) })
            }
        }
    }

    async fn store_chunk(&self, mut records: Vec<Record>) -> Result<Vec<Enqueued>, Error> {
        let observers = &self.inner.observers;
        let names: Vec<_> = match observers.is_empty() {
            true => Vec::new(),
            false => records.iter().map(|r| (r.queue.clone(), r.job_type.clone())).collect(),
        };
        let span = telemetry::producer(&mut records);
        let asked = self.call(self.inner.store.enqueue(records));
        let answers = telemetry::watched(span, asked).await?;
        for (one, (queue, job_type)) in answers.iter().zip(&names) {
            let (id, outcome) = (one.id, one.outcome);
            observers.tell(&Event::Enqueued { id, outcome, queue, job_type });
        }
        Ok(answers)
    }

    /// Waits for the store's answer, but not for ever.
    pub(crate) async fn call<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(CALL_MAX, asked).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(StoreError::Timeout(CALL_MAX).into()),
        }
    }
}
