//! A worker: claims jobs and runs their handlers, under leases that it renews, until it is told to
//! stop.
//!
//! One attempt passes through the files here in this order: [`claim`] takes it, [`execute`] runs
//! it,
//! [`finish`] writes how it ended, while [`heartbeat`] renews its lease and [`upkeep`] does the
//! leader's chores; [`shutdown`] ends all of them in order.

mod claim;
mod control;
mod engine;
mod execute;
mod finish;
mod guard;
mod heartbeat;
mod middleware;
mod registry;
mod settings;
mod shutdown;
mod step;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use self::engine::Engine;
use self::middleware::Layer;
use self::registry::Registry;
use self::settings::{QueueSettings, Settings};
use crate::client::Client;
use crate::context::Context;
use crate::error::{Error, InvalidJob};
use crate::id::Name;
use crate::job::{Job, TypeDefaults};
use crate::outcome::{Answer, IntoOutcome, Result as HandlerResult};
use crate::retry::Retry;
use crate::store::Retention;
use crate::telemetry::{Observer, Observers};

pub use self::control::{WorkerHandle, quiet_signals};
pub use self::engine::Report;
pub use self::middleware::Next;
pub use self::shutdown::shutdown_signal;
pub(crate) use self::step::Step;

/// A worker being put together, and then run.
///
/// ```
/// # use dutiful::{Client, Context, Job, Result, Worker};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl Job for Greet { const TYPE: &'static str = "greet"; }
/// async fn greet(job: Greet, cx: Context<()>) -> Result<()> {
///     assert_eq!((job.name.as_str(), cx.attempt()), ("Ada", 1));
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dutiful::Error> {
/// let client = Client::connect("sqlite::memory:").await?;
/// client.enqueue(Greet { name: "Ada".into() }).await?;
/// let report = Worker::new(&client, ()).job(greet).until_empty(true).run().await?;
/// assert_eq!(report.completed, 1);
/// # Ok(()) }
/// ```
#[must_use = "a worker does nothing before it is run"]
pub struct Worker<A> {
    client: Client,
    app: Arc<A>,
    registry: Registry,
    settings: Settings,
    observers: Observers,
    layers: Vec<Layer<A>>,
    handle: WorkerHandle,
    mistake: Option<InvalidJob>,
}

impl<A: Send + Sync + 'static> Worker<A> {
    /// Returns a worker for this store, whose handlers reach `app` as `cx.app`.
    pub fn new(client: &Client, app: impl Into<Arc<A>>) -> Self {
        Self {
            client: client.clone(),
            app: app.into(),
            registry: Registry::default(),
            settings: Settings::default(),
            observers: Observers::default(),
            layers: Vec::new(),
            handle: WorkerHandle::default(),
            mistake: None,
        }
    }

    /// Runs jobs of type `J` with an async handler: `async fn(J, Context<A>) -> Result<…>`.
    pub fn job<J, F, Fut, R>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult<R>> + Send + 'static,
        R: IntoOutcome,
    {
        match TypeDefaults::of::<J>() {
            Ok(defaults) => self.registry.add_async(defaults, J::RETRY, self.app.clone(), handler),
            Err(mistake) => self.mistake = Some(mistake),
        }
        self
    }

    /// Runs jobs of type `J` with a function that may block, each on a thread of its own.
    pub fn job_blocking<J, F, R>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<A>) -> HandlerResult<R> + Send + Sync + 'static,
        R: IntoOutcome,
    {
        match TypeDefaults::of::<J>() {
            Ok(defaults) => {
                self.registry.add_blocking(defaults, J::RETRY, self.app.clone(), handler);
            }
            Err(mistake) => self.mistake = Some(mistake),
        }
        self
    }

    /// Runs jobs of a type that is known by name only; the handler gets the payload's bytes.
    pub fn raw<F, Fut, R>(mut self, defaults: TypeDefaults, retry: Retry, handler: F) -> Self
    where
        F: Fn(Vec<u8>, Context<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult<R>> + Send + 'static,
        R: IntoOutcome,
    {
        self.registry.add_raw(defaults, retry, self.app.clone(), handler);
        self
    }

    /// Serves a queue with so many slots (jobs at a time). Without any queue named, the worker
    /// serves the queues of its types with 10 slots each.
    pub fn queue(self, queue: &str, slots: usize) -> Self {
        self.queue_weighted(queue, slots, 1)
    }

    /// Serves a queue with so many slots and a weight, which counts where [`Worker::slots`] makes
    /// the queues compete.
    pub fn queue_weighted(mut self, queue: &str, slots: usize, weight: u32) -> Self {
        match Name::new("queue", queue) {
            Ok(name) => self.settings.queues.push(QueueSettings { name, slots, weight }),
            Err(mistake) => self.mistake = Some(mistake),
        }
        self
    }

    /// Runs at most so many jobs at a time over all queues (default: the sum of their slots).
    pub fn slots(mut self, slots: usize) -> Self {
        self.settings.slots = Some(slots);
        self
    }

    /// Serves the queues strictly in the order in which they were named, instead of by weight.
    pub fn strict_order(mut self) -> Self {
        self.settings.strict = true;
        self
    }

    /// Sets how long a lease lasts without being renewed (default 30 s, at least 300 ms). It is
    /// renewed each third of it; a crashed worker's jobs run again soon after it.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Sets how long running handlers may go on after the worker was told to stop (default 25 s).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Declares a job dead after it crashed so many workers in a row (default 3, 0 is never).
    pub fn crashes_max(mut self, crashes: u32) -> Self {
        self.settings.crashes_max = crashes;
        self
    }

    /// Sets how often an idle worker looks without being rung (default 250 ms ± 20 %).
    pub fn poll(mut self, poll: Duration) -> Self {
        self.settings.poll = poll;
        self
    }

    /// Sets how long finished jobs are kept while this worker leads (default 7 and 90 days).
    pub fn retention(mut self, keep: Retention) -> Self {
        self.settings.retention = keep;
        self
    }

    /// Tells this observer of everything that happens here.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.add(observer);
        self
    }

    /// Sets the name by which people know this worker (default `pid-N`).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Ends when none of its types is pending, scheduled, failed or active in its queues.
    pub fn until_empty(mut self, until_empty: bool) -> Self {
        self.settings.until_empty = until_empty;
        self
    }

    /// Puts a layer around every handler: it is called with the context and the rest of the way,
    /// and decides what is done before and after. The first layer given is the outermost. Around a
    /// blocking handler it runs on that handler's own thread.
    ///
    /// ```
    /// # use dutiful::{Client, Worker};
    /// # fn put_together(client: &Client) -> Worker<()> {
    /// Worker::new(client, ()).middleware(|cx, next| async move {
    ///     cx.log(format!("attempt {} begins", cx.attempt()));
    ///     let answer = next.run().await;
    ///     if let Err(error) = &answer {
    ///         cx.log(format!("it failed: {}", error.failure().message));
    ///     }
    ///     answer
    /// })
    /// # }
    /// ```
    pub fn middleware<F, Fut>(mut self, layer: F) -> Self
    where
        F: Fn(Context<A>, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult<Answer>> + Send + 'static,
    {
        self.layers.push(Arc::new(move |cx, next| Box::pin(layer(cx, next))));
        self
    }

    /// Returns a handle that tells this worker what to do while it runs: stop, be quiet, resume,
    /// other slots.
    pub fn handle(&self) -> WorkerHandle {
        self.handle.clone()
    }

    /// Runs until the handle stops it, or, with [`Worker::until_empty`], until nothing is left.
    ///
    /// # Errors
    /// [`Error::Worker`] for settings that cannot work; [`Error::Store`] when the store cannot be
    /// reached at the start. Later trouble with the store is told to observers and tried again.
    pub async fn run(self) -> Result<Report, Error> {
        self.run_until(std::future::pending()).await
    }

    /// Runs until the future resolves, then stops in order.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<Report, Error> {
        self.into_engine()?.run(stop).await
    }

    fn into_engine(mut self) -> Result<Arc<Engine>, Error> {
        if let Some(mistake) = self.mistake {
            return Err(mistake.into());
        }
        for layer in self.layers.into_iter().rev() {
            let around = |handler| middleware::around(handler, self.app.clone(), layer.clone());
            self.registry.wrap(around);
        }
        let settings = self.settings.complete(&self.registry)?;
        let control = self.handle.control();
        Ok(Engine::new(self.client, self.registry, settings, self.observers, control))
    }
}
