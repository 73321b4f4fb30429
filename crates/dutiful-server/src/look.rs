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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_no_longer_than_it_is_told_for_a_store_that_hangs() {
        let look = Look::new(Client::connect("sqlite::memory:").await.unwrap());
        let asked_by_another = look.last.lock().await;
        let why = look.stats(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(why, "the store did not answer within 1ms");
        drop(asked_by_another);
        assert!(look.stats(Duration::from_secs(30)).await.is_ok());
    }

    #[tokio::test]
    async fn asks_once_for_many_who_ask_at_once() {
        let look = Look::new(Client::connect("sqlite::memory:").await.unwrap());
        let first = look.stats(Duration::from_secs(30)).await.unwrap();
        *look.last.lock().await = Some((Instant::now(), first.clone()));
        let second = look.stats(Duration::from_secs(30)).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second), "fresh enough");
        let old = Instant::now().checked_sub(FRESH).unwrap();
        *look.last.lock().await = Some((old, first.clone()));
        let third = look.stats(Duration::from_secs(30)).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &third), "too old");
    }
}
