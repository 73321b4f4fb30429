//! The same client for programs without a runtime.

use std::future::IntoFuture;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::{Error, StoreError};

/// A client with a small runtime of its own: whatever the other client awaits, this one waits for.
///
/// ```
/// # use dutiful::Job;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Resize { file: String }
/// # impl Job for Resize { const TYPE: &'static str = "resize"; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = dutiful::blocking::Client::connect("sqlite::memory:")?;
/// let job = jobs.wait(jobs.enqueue(Resize { file: "a.png".into() }).priority(1))?;
/// let info = jobs.wait(jobs.job(job.id))?.expect("it was just stored");
/// assert_eq!(info.priority, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl Client {
    /// Opens the store that the URL names.
    ///
    /// # Errors
    /// As [`crate::Client::connect`].
    pub fn connect(url: &str) -> Result<Self, Error> {
        // All of it: whoever waits here for a worker waits for signals, too.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let client = runtime.block_on(crate::Client::connect(url))?;
        Ok(Self { client, runtime: Arc::new(runtime) })
    }

    /// Waits for anything that the client would await. Not to be called from async code.
    pub fn wait<F: IntoFuture>(&self, future: F) -> F::Output {
        self.runtime.block_on(async { future.into_future().await })
    }
}

impl Deref for Client {
    type Target = crate::Client;
    fn deref(&self) -> &crate::Client {
        &self.client
    }
}
