//! One look at the store at a time, whoever asks: a store that hangs is asked by one at most, and
//! one in which millions of jobs wait to be counted is asked seldom.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dutiful::{Client, Stats};
use tokio::time::timeout;

use crate::labels::lock;

/// A look is as good as a new one for this long, so that nobody loads a store with probes.
const FRESH: Duration = Duration::from_millis(500);
/// Who only shows the numbers waits no longer than this for new ones while there are older ones.
const SLOW: Duration = Duration::from_millis(20);
/// A slow look is shown for so many times as long as it took, and renewed in the background then:
/// looks take a tenth of the store's time at most.
const REST: u32 = 10;
/// No numbers are shown that are older.
const SHOWN_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Look {
    client: Client,
    last: Arc<Mutex<Option<Last>>>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What the last look saw, when, and how long it took.
#[derive(Clone)]
struct Last {
    at: Instant,
    took: Duration,
    stats: Arc<Stats>,
}

impl Look {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, last: Arc::default(), asking: Arc::default() }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the store's numbers as they are now, or why there are none, in a clause that fits a
    /// sentence.
    pub(crate) async fn stats(&self, within: Duration) -> Result<Arc<Stats>, String> {
        self.known(within, |last| last.at.elapsed() < FRESH).await
    }

    /// Returns the store's numbers for people and machines that watch: where a look is slow they
    /// are some seconds old, and nobody waits for them but the first who asks.
    pub(crate) async fn shown(&self, within: Duration) -> Result<Arc<Stats>, String> {
        self.known(within, |last| {
            let age = last.at.elapsed();
            if age >= FRESH.max(last.took * REST) && last.took > SLOW {
                self.renew();
            }
            age < FRESH || (last.took > SLOW && age < SHOWN_MAX)
        })
        .await
    }

    /// True while looks are slow: then queues are shown as the last one saw them.
    pub(crate) fn is_slow(&self) -> bool {
        lock(&self.last).as_ref().is_some_and(|last| last.took > SLOW)
    }

    /// The numbers changed by the hand of somebody who wants to see it.
    pub(crate) fn forget(&self) {
        *lock(&self.last) = None;
    }

    async fn known(
        &self,
        within: Duration,
        is_good: impl Fn(&Last) -> bool,
    ) -> Result<Arc<Stats>, String> {
        let good = || lock(&self.last).clone().filter(|last| is_good(last)).map(|one| one.stats);
        if let Some(stats) = good() {
            return Ok(stats);
        }
        let asked = async {
            let _turn = self.asking.lock().await;
            match good() {
                Some(stats) => Ok(stats),
                None => ask(&self.client, &self.last).await,
            }
        };
        match timeout(within, asked).await {
            Ok(Ok(stats)) => Ok(stats),
            Ok(Err(error)) => Err(format!("the store failed to {error}")),
            Err(_) => Err(format!("the store did not answer within {within:?}")),
        }
    }

    /// Looks again in the background, unless somebody does already.
    fn renew(&self) {
        let Ok(turn) = self.asking.clone().try_lock_owned() else { return };
        let (client, last) = (self.client.clone(), self.last.clone());
        tokio::spawn(async move {
            let _turn = turn;
            // Who asks when the numbers are too old hears of the trouble.
            let _ = timeout(SHOWN_MAX, ask(&client, &last)).await;
        });
    }
}

async fn ask(client: &Client, last: &Mutex<Option<Last>>) -> Result<Arc<Stats>, dutiful::Error> {
    let begun = Instant::now();
    let stats = Arc::new(client.stats().await?);
    let (at, took) = (Instant::now(), begun.elapsed());
    *lock(last) = Some(Last { at, took, stats: stats.clone() });
    Ok(stats)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    async fn look() -> Look {
        Look::new(Client::connect("sqlite::memory:").await.unwrap())
    }

    /// Makes the last look so old, and says how long it took.
    fn age(look: &Look, age: Duration, took: Duration) {
        let mut last = lock(&look.last);
        let last = last.as_mut().unwrap();
        (last.at, last.took) = (Instant::now().checked_sub(age).unwrap(), took);
    }

    #[tokio::test]
    async fn waits_no_longer_than_it_is_told_for_a_store_that_hangs() {
        let look = look().await;
        let asked_by_another = look.asking.lock().await;
        let why = look.stats(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(why, "the store did not answer within 1ms");
        drop(asked_by_another);
        assert!(look.stats(LONG).await.is_ok());
    }

    #[tokio::test]
    async fn asks_once_for_many_who_ask_at_once() {
        let look = look().await;
        let first = look.stats(LONG).await.unwrap();
        age(&look, Duration::ZERO, Duration::ZERO);
        let second = look.stats(LONG).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second), "fresh enough");
        age(&look, FRESH, Duration::ZERO);
        let third = look.stats(LONG).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &third), "too old");
    }

    #[tokio::test]
    async fn what_is_quickly_counted_is_shown_as_it_is_now() {
        let look = look().await;
        let first = look.shown(LONG).await.unwrap();
        age(&look, FRESH, SLOW);
        assert!(!Arc::ptr_eq(&first, &look.shown(LONG).await.unwrap()));
    }

    #[tokio::test]
    async fn what_is_slowly_counted_is_shown_while_it_is_counted_again() {
        let look = look().await;
        let first = look.shown(LONG).await.unwrap();
        let took = Duration::from_secs(1);
        age(&look, took * (REST - 1), took);
        assert!(Arc::ptr_eq(&first, &look.shown(LONG).await.unwrap()));
        assert!(look.asking.try_lock().is_ok(), "nobody looks so soon again");
        age(&look, took * REST, took);
        assert!(Arc::ptr_eq(&first, &look.shown(LONG).await.unwrap()), "nobody waits");
        while Arc::ptr_eq(&first, &lock(&look.last).clone().unwrap().stats) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        age(&look, SHOWN_MAX, took);
        let before = lock(&look.last).clone().unwrap().stats;
        assert!(!Arc::ptr_eq(&before, &look.shown(LONG).await.unwrap()), "too old to be shown");
    }

    #[tokio::test]
    async fn who_asks_whether_the_store_answers_is_shown_nothing_old() {
        let look = look().await;
        let first = look.stats(LONG).await.unwrap();
        age(&look, FRESH, Duration::from_secs(1));
        assert!(!Arc::ptr_eq(&first, &look.stats(LONG).await.unwrap()));
    }
}
