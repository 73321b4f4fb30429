//! How a client is put together: its clock, limits, observers, middleware, and the store it opens.

use std::sync::Arc;

use crate::client::Client;
use crate::clock::Clock;
use crate::enqueue::{Middleware, Outgoing};
use crate::error::{Error, InvalidJob};
use crate::payload::PAYLOAD_BYTES_MAX;
use crate::store::{Store, connect::Opening, connect::connect};
use crate::telemetry::{Observer, Observers};

/// Settings of a connection.
#[derive(Default)]
#[must_use = "nothing is opened before .connect(url)"]
pub struct ClientBuilder {
    pub(crate) clock: Clock,
    payload_bytes_max: Option<usize>,
    observers: Observers,
    middleware: Vec<Box<Middleware>>,
    opening: Opening,
}

impl ClientBuilder {
    /// Refuses to make a new store where there is none: for programs that only look, to which a
    /// slip of the pen would else seem an empty store.
    pub fn must_exist(mut self) -> Self {
        self.opening.must_exist = true;
        self
    }

    /// Brings the schema of a store in Postgres to this program's version: for workers, whose
    /// starters may all do it at once. Without this, [`connect`](Self::connect) refuses a schema
    /// that is missing or older and names `dutiful migrate`, so that a program that only enqueues
    /// needs no right to change tables. A SQLite store is migrated whenever it is opened.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.opening.migrate = migrate;
        self
    }

    /// Takes the schema of a store in Postgres as it is, even if there is none: for programs that
    /// go on to call [`Client::migrate`].
    pub fn as_it_is(mut self) -> Self {
        self.opening.as_it_is = true;
        self
    }

    /// Makes this the program of a version to come, for the tests of upgrades: it knows these
    /// versions of the schema in Postgres beyond ours, each up and down, in SQL that writes
    /// `dutiful.` before our names.
    #[doc(hidden)]
    pub fn further_versions(mut self, further: &'static [(&'static str, &'static str)]) -> Self {
        self.opening.further = further;
        self
    }

    /// Takes the time from this clock; for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Accepts payloads up to so many bytes (default 256 KiB, at most 1 MiB).
    pub fn payload_bytes_max(mut self, max: usize) -> Self {
        self.payload_bytes_max = Some(max.min(1024 * 1024));
        self
    }

    /// Tells this observer of every enqueue.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.add(observer);
        self
    }

    /// Lets this function see every job before it is checked and stored: it can add a tag or a
    /// group, change the payload, or refuse the job with [`InvalidJob::Refused`]. Several are
    /// called in the order in which they were given. What became of the job an observer hears.
    ///
    /// ```
    /// # async fn connect() -> Result<dutiful::Client, dutiful::Error> {
    /// let client = dutiful::Client::builder()
    ///     .middleware(|job| {
    ///         job.settings.tags.push("web".into());
    ///         Ok(())
    ///     })
    ///     .connect("sqlite:jobs.db")
    ///     .await?;
    /// # Ok(client) }
    /// ```
    pub fn middleware(
        mut self,
        see: impl Fn(&mut Outgoing<'_>) -> Result<(), InvalidJob> + Send + Sync + 'static,
    ) -> Self {
        self.middleware.push(Box::new(see));
        self
    }

    /// Opens the store that the URL names.
    ///
    /// # Errors
    /// [`Error::Store`] that says what is wrong with the URL or the place.
    pub async fn connect(self, url: &str) -> Result<Client, Error> {
        let store = connect(url, self.clock.clone(), self.opening).await?;
        Ok(self.with_store(store))
    }

    /// Uses a store that is open already: another client's, or one of your own that wraps it, to
    /// count its calls or to fail them in tests. The store has its clock already.
    ///
    /// ```
    /// # async fn open() -> Result<(), dutiful::Error> {
    /// let client = dutiful::Client::connect("sqlite::memory:").await?;
    /// let twin = dutiful::Client::builder().with_store(client.store().clone());
    /// assert_eq!(twin.facts().place, client.facts().place);
    /// # Ok(()) }
    /// ```
    pub fn with_store(self, store: Arc<dyn Store>) -> Client {
        let payload_bytes_max = self.payload_bytes_max.unwrap_or(PAYLOAD_BYTES_MAX);
        let (observers, middleware) = (self.observers, self.middleware);
        Client::of(store, payload_bytes_max, observers, middleware)
    }
}
