//! One look at the store at a time, whoever asks: a store that hangs is asked by one at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::{Client, Stats};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// A look is as good as a new one for this long, so that nobody loads a store with probes.
const FRESH: Duration = Duration::from_millis(500);

pub(crate) struct Look {
    client: Client,
    last: Mutex<Option<(Instant, Arc<Stats>)>>,
}

impl Look {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, last: Mutex::default() }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the store's numbers, or why there are none, in a clause that fits a sentence.
    pub(crate) async fn stats(&self, within: Duration) -> Result<Arc<Stats>, String> {
        match timeout(within, self.ask()).await {
            Ok(Ok(stats)) => Ok(stats),
            Ok(Err(error)) => Err(format!("the store failed to {error}")),
            Err(_) => Err(format!("the store did not answer within {within:?}")),
        }
    }

    async fn ask(&self) -> Result<Arc<Stats>, dutiful::Error> {
        let mut last = self.last.lock().await;
        if let Some((at, stats)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(stats.clone());
        }
        let stats = Arc::new(self.client.stats().await?);
        *last = Some((Instant::now(), stats.clone()));
        Ok(stats)
    }
}
