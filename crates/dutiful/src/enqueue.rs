//! Enqueue: a builder that is awaited, with every setting of a job.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use crate::client::Client;
use crate::clock::Timestamp;
use crate::error::{Error, InvalidJob};
use crate::id::{JobId, Name};
use crate::job::{Delivery, Job, Record, Settings, TypeDefaults};
use crate::store::Enqueued;
use crate::telemetry::{inherited_correlation, trace_parent};

/// A job to enqueue, by name; for callers that have no Rust type for it.
#[derive(Clone, Debug, Default)]
pub struct NewJob {
    /// The type.
    pub job_type: String,
    /// JSON, kept byte for byte.
    pub payload: Vec<u8>,
    /// What differs from the type's own settings.
    pub settings: Settings,
}

/// Gives ids to those jobs of a batch that have none yet, queue by queue; in each the order stays.
/// Ids go up, and stores keep records by id: jobs that are claimed together lie together.
pub(crate) fn number(batch: &mut [NewJob]) {
    let mut queue_by_queue: Vec<&mut NewJob> = batch.iter_mut().collect();
    queue_by_queue.sort_by(|a, b| a.settings.queue.cmp(&b.settings.queue));
    for job in queue_by_queue {
        job.settings.id.get_or_insert_with(JobId::new);
    }
}

/// A job on its way into the store, as the middleware of a client sees it.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The type, which stays.
    pub job_type: &'a Name,
    /// JSON; what is changed here is checked again.
    pub payload: &'a mut Vec<u8>,
    /// What the caller asked for, and what is inherited from where it enqueues.
    pub settings: &'a mut Settings,
}

/// Sees each job before it is checked and stored; an error refuses it.
pub(crate) type Middleware = dyn Fn(&mut Outgoing<'_>) -> Result<(), InvalidJob> + Send + Sync;

/// An enqueue being put together; await it to store the job.
#[must_use = "nothing is enqueued before it is awaited"]
pub struct Enqueue<'a> {
    client: &'a Client,
    what: Result<What, InvalidJob>,
    settings: Settings,
    late: Option<InvalidJob>,
}

enum What {
    /// A typed job, serialized already.
    Typed(TypeDefaults, Vec<u8>),
    /// Bytes of a type whose settings the store may know.
    Raw(Name, Vec<u8>),
}

impl<'a> Enqueue<'a> {
    pub(crate) fn typed<J: Job>(client: &'a Client, job: &J) -> Self {
        let what = TypeDefaults::of::<J>().and_then(|defaults| {
            let payload = crate::payload::serialize(job, client.payload_bytes_max())?;
            Ok(What::Typed(defaults, payload))
        });
        Self { client, what, settings: Settings::default(), late: None }
    }

    pub(crate) fn raw(client: &'a Client, job_type: &str, payload: Vec<u8>) -> Self {
        let what = Name::new("type", job_type).map(|name| What::Raw(name, payload));
        Self { client, what, settings: Settings::default(), late: None }
    }

    /// Uses this id; a repeated enqueue with it changes nothing.
    pub fn id(mut self, id: JobId) -> Self {
        self.settings.id = Some(id);
        self
    }

    /// Puts it into this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.settings.queue = Some(queue.into());
        self
    }

    /// 0 to 1000, lower runs first.
    pub fn priority(mut self, priority: i64) -> Self {
        self.settings.priority = Some(priority);
        self
    }

    /// Runs it after a while, by the store's clock.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.settings.delay = Some(delay);
        self
    }

    /// Runs it at this time or soon after.
    pub fn at(mut self, at: SystemTime) -> Self {
        match Timestamp::from_system(at) {
            Ok(at) => self.settings.scheduled_for = Some(at),
            Err(error) => self.late = Some(error),
        }
        self
    }

    /// Runs it at this time or soon after.
    pub fn at_time(mut self, at: Timestamp) -> Self {
        self.settings.scheduled_for = Some(at);
        self
    }

    /// 1 to 1000 failures, then it is dead.
    pub fn max_attempts(mut self, attempts: i64) -> Self {
        self.settings.max_attempts = Some(attempts);
        self
    }

    /// How long one attempt may run (1 ms to 30 days).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// The id of the request or process that this job belongs to; its children inherit it.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.settings.correlation_id = Some(id.into());
        self
    }

    /// W3C `traceparent`.
    pub fn trace_parent(mut self, trace_parent: impl Into<String>) -> Self {
        self.settings.trace_parent = Some(trace_parent.into());
        self
    }

    /// The key by which jobs share fairness or limits (a tenant).
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into());
        self
    }

    /// Stores it only if no live job has this key; the answer names the one that has.
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.settings.unique_key = Some(key.into());
        self
    }

    /// Adds a word to find it by.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.settings.tags.push(tag.into());
        self
    }

    /// What a crash does to it.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.settings.delivery = Some(delivery);
        self
    }

    /// Replaces all settings given so far.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Returns the checked record. A type without a Rust type has the settings that the store knows
    /// (`None`: the general ones, where there is no time to ask it).
    pub(crate) fn into_record(self, known: Option<TypeDefaults>) -> Result<Record, InvalidJob> {
        let client = self.client;
        self.into_parts().and_then(|(what, settings)| match what {
            What::Typed(defaults, payload) => Record::build(&defaults, payload, settings),
            What::Raw(name, payload) => {
                let defaults = known.unwrap_or_else(|| TypeDefaults::unknown(name));
                Record::from_bytes(&defaults, payload, settings, client.payload_bytes_max())
            }
        })
    }

    /// The same, after the store was asked for the settings of a type without a Rust type.
    pub(crate) async fn record(self) -> Result<Record, Error> {
        let known = match &self.what {
            Ok(What::Raw(name, _)) => {
                Some(self.client.defaults(std::slice::from_ref(name)).await?.remove(0))
            }
            _ => None,
        };
        Ok(self.into_record(known)?)
    }

    fn into_parts(self) -> Result<(What, Settings), InvalidJob> {
        if let Some(late) = self.late {
            return Err(late);
        }
        let (mut what, mut settings) = (self.what?, inherit(self.settings));
        let (job_type, payload) = match &mut what {
            What::Typed(defaults, payload) => (&defaults.job_type, payload),
            What::Raw(name, payload) => (&*name, payload),
        };
        self.client.pass(Outgoing { job_type, payload, settings: &mut settings })?;
        Ok((what, settings))
    }

    async fn send(self) -> Result<Enqueued, Error> {
        let client = self.client;
        let record = self.record().await?;
        client.store_one(record).await
    }

    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }
}

/// Many jobs of one type on their way into the store; await it to store them.
#[must_use = "nothing is enqueued before it is awaited"]
pub struct EnqueueAll<'a> {
    client: &'a Client,
    given: Result<(TypeDefaults, Vec<Vec<u8>>), InvalidJob>,
}

impl<'a> EnqueueAll<'a> {
    pub(crate) fn new<J: Job>(client: &'a Client, jobs: impl IntoIterator<Item = J>) -> Self {
        let payload = |job: J| crate::payload::serialize(&job, client.payload_bytes_max());
        let given = TypeDefaults::of::<J>().and_then(|defaults| {
            Ok((defaults, jobs.into_iter().map(payload).collect::<Result<_, _>>()?))
        });
        Self { client, given }
    }

    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }

    /// Returns all records. Each is seen by the middleware before the first is stored, so that a
    /// refusal leaves nothing behind.
    pub(crate) fn into_records(self) -> Result<Vec<Record>, InvalidJob> {
        let (defaults, payloads) = self.given?;
        let settings = inherit(Settings::default());
        let seen = |mut payload| {
            let (job_type, mut settings) = (&defaults.job_type, settings.clone());
            let outgoing = Outgoing { job_type, payload: &mut payload, settings: &mut settings };
            self.client.pass(outgoing)?;
            Record::build(&defaults, payload, settings)
        };
        payloads.into_iter().map(seen).collect()
    }

    async fn send(self) -> Result<Vec<Enqueued>, Error> {
        let client = self.client;
        if client.has_middleware() {
            return client.store_many(self.into_records()?.into_iter().map(Ok)).await;
        }
        // Records are put together while those before them are written.
        let (defaults, payloads) = self.given?;
        let settings = inherit(Settings::default());
        let record = |payload| Record::build(&defaults, payload, settings.clone());
        client.store_many(payloads.into_iter().map(record)).await
    }
}

impl<'a> IntoFuture for EnqueueAll<'a> {
    type Output = Result<Vec<Enqueued>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Fills in what a job inherits from where it is enqueued; explicit values win.
pub(crate) fn inherit(mut settings: Settings) -> Settings {
    settings.correlation_id = settings.correlation_id.or_else(inherited_correlation);
    settings.trace_parent = settings.trace_parent.or_else(trace_parent);
    settings
}

impl<'a> IntoFuture for Enqueue<'a> {
    type Output = Result<Enqueued, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
