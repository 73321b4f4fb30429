//! Waiting for the end of a job: a builder that is awaited.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::Error;
use crate::id::JobId;
use crate::inspect::JobResult;
use crate::job::State;

/// How long the end of a job is waited for unless somebody says otherwise.
pub const RESULT_WAIT: Duration = Duration::from_secs(60);
/// The first look comes after so long …
const LOOK_FIRST: Duration = Duration::from_millis(1);
/// … each waits half as long again, up to this: an end is heard of at most so late.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// A wait for the end of a job; await it.
#[must_use = "nothing is waited for before it is awaited"]
pub struct Awaiting<'a> {
    client: &'a Client,
    id: JobId,
    timeout: Duration,
}

impl<'a> Awaiting<'a> {
    pub(crate) fn new(client: &'a Client, id: JobId) -> Self {
        Self { client, id, timeout: RESULT_WAIT }
    }

    /// Waits at most so long; zero looks once.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Looks, each time after a longer pause: the end of a job is a row in the store, and whoever
    /// wrote it need not know who waits. A look reads two rows and takes no lock.
    async fn wait(self) -> Result<JobResult, Error> {
        let looks = async {
            let mut pause = LOOK_FIRST;
            loop {
                let job = self.look().await?;
                if job.has_ended() {
                    return Ok(job);
                }
                // With jitter, so that many who wait for one thing do not look all at once.
                let jitter = 0.8 + 0.4 * fastrand::f64();
                tokio::time::sleep(pause.mul_f64(jitter)).await;
                pause = pause.mul_f64(1.5).min(LOOK_MAX);
            }
        };
        if let Ok(answer) = tokio::time::timeout(self.timeout, looks).await {
            return answer;
        }
        let job = self.look().await?;
        if job.has_ended() {
            return Ok(job);
        }
        Err(Error::NotEnded { id: self.id, state: job.state, waited: self.timeout })
    }

    async fn look(&self) -> Result<JobResult, Error> {
        let seen = self.client.call(self.client.store().result(vec![self.id])).await?.pop();
        seen.flatten().ok_or(Error::NotFound(self.id))
    }
}

impl<'a> IntoFuture for Awaiting<'a> {
    type Output = Result<JobResult, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

impl JobResult {
    /// True when the job is completed, dead or cancelled.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Completed | State::Dead | State::Cancelled)
    }

    /// Returns what the handler returned; a handler without a result returns `()`.
    ///
    /// # Errors
    /// [`Error::NoResult`] when the job did not complete, or its only attempt failed
    /// (at-most-once), with what it failed with; or when its result is of another type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let no = |reason| Error::NoResult { id: self.id, reason };
        if self.state != State::Completed || self.error.is_some() {
            let why = match &self.error {
                Some(error) => format!(" ({}: {})", error.class, error.message),
                None => String::new(),
            };
            return Err(no(format!("it is {}{why}", self.state)));
        }
        let json = self.result.as_deref().map_or("null", |raw| raw.get());
        serde_json::from_str(json).map_err(|error| no(format!("it is of another type: {error}")))
    }
}
