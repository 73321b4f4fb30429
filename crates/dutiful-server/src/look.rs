//! One look at the store at a time, whoever asks: a store that hangs is asked by one at most, and
//! one in which millions of jobs wait to be counted is asked seldom.

use std::sync::Arc;
use std::time::Duration;

use dutiful::store::KeptRange;
use dutiful::{Client, Error, Name, Stats, StoreError, Vitals};
use tokio::time::timeout;

use crate::shown::{SHOWN_MAX, SLOW, Shown};

/// A look is as good as a new one for this long, so that nobody loads a store with probes.
const FRESH: Duration = Duration::from_millis(500);
/// So is one at the store's own health, of which nothing changes as fast.
const VITALS_FRESH: Duration = Duration::from_secs(1);

pub(crate) struct Look {
    client: Client,
    stats: Shown<Stats>,
    vitals: Shown<Vitals>,
    turns: Shown<usize>,
}

impl Look {
    pub(crate) fn new(client: Client) -> Self {
        let (stats, vitals) = (Shown::new(FRESH, SLOW), Shown::new(VITALS_FRESH, SLOW));
        Self { client, stats, vitals, turns: Shown::new(FRESH, SLOW) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the store's numbers as they are now, or why there are none, in a clause that fits a
    /// sentence.
    pub(crate) async fn stats(&self, within: Duration) -> Result<Arc<Stats>, String> {
        in_time(within, self.stats.now(ask(self.client.clone()))).await
    }

    /// Returns the store's numbers for people and machines that watch: where a look is slow they
    /// are some seconds old.
    pub(crate) async fn shown(&self, within: Duration) -> Result<Arc<Stats>, String> {
        in_time(within, self.stats.shown(ask(self.client.clone()))).await
    }

    /// The same for who looks again and again by itself: others are shown what it saw.
    pub(crate) async fn sampled(&self) -> Result<Arc<Stats>, Error> {
        if self.is_slow() {
            let shown = self.shown(SHOWN_MAX).await;
            return shown.map_err(|why| StoreError::Unavailable(why).into());
        }
        self.stats.anew(ask(self.client.clone())).await
    }

    /// Returns why the store does not answer, where it does not: a question that costs nothing.
    pub(crate) async fn answers(&self, within: Duration) -> Result<(), String> {
        let asked = self.turns.now(turns(self.client.clone()));
        in_time(within, asked).await.map(drop)
    }

    /// Returns what is known of the store's own health; nothing where it does not answer in time.
    pub(crate) async fn vitals(&self, within: Duration) -> Vitals {
        let client = self.client.clone();
        let asked = self.vitals.now(async move { client.vitals().await });
        let asked = timeout(within, asked).await;
        asked.ok().and_then(Result::ok).map_or_else(Vitals::default, |vitals| *vitals)
    }

    /// True while looks are slow: then queues are shown as the last one saw them.
    pub(crate) fn is_slow(&self) -> bool {
        self.stats.is_slow()
    }

    /// A change came through this server.
    pub(crate) fn changed(&self) {
        self.stats.changed();
    }

    /// The numbers changed by the hand of somebody who wants to see it.
    pub(crate) fn forget(&self) {
        self.stats.forget();
    }
}

async fn ask(client: Client) -> Result<Stats, Error> {
    client.stats().await
}

/// Asks for one of the few things that stand on a small shelf.
async fn turns(client: Client) -> Result<usize, Error> {
    let shelf = Name::new("shelf", "turns")?;
    let range = KeptRange { shelf, from: String::new(), to: None, newest_first: false, limit: 1 };
    Ok(client.store().kept(range).await?.len())
}

async fn in_time<T>(
    within: Duration,
    asked: impl Future<Output = Result<Arc<T>, Error>>,
) -> Result<Arc<T>, String> {
    match timeout(within, asked).await {
        Ok(Ok(stats)) => Ok(stats),
        Ok(Err(error)) => Err(format!("the store failed to {error}")),
        Err(_) => Err(format!("the store did not answer within {within:?}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use dutiful::testing::Faults;

    use super::*;

    #[tokio::test]
    async fn waits_no_longer_than_it_is_told_for_a_store_that_hangs() {
        let client = Client::connect("sqlite::memory:").await.unwrap();
        let (store, faults) = Faults::around(client.store().clone());
        let look = Look::new(Client::builder().with_store(store));
        faults.hang("stats");
        let why = look.stats(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(why, "the store did not answer within 1ms");
        faults.mend("stats");
        let look = Look::new(look.client().clone());
        let first = look.stats(Duration::from_secs(30)).await.unwrap();
        let second = look.shown(Duration::from_secs(30)).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second), "one look for both");
    }

    #[tokio::test]
    async fn waits_no_longer_for_the_health_of_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
        let client = Client::connect(&url).await.unwrap();
        let (store, faults) = Faults::around(client.store().clone());
        let look = Look::new(Client::builder().with_store(store));
        faults.hang("vitals");
        assert_eq!(look.vitals(Duration::from_millis(1)).await, Vitals::default());
        faults.mend("vitals");
        let look = Look::new(look.client().clone());
        let vitals = look.vitals(Duration::from_secs(30)).await;
        assert!(vitals.wal_bytes.is_some(), "{vitals:?}");
    }
}
