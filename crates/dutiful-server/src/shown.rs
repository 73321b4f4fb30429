//! What takes long to find out is shown as it was a moment ago, and found out again in the
//! background: nobody waits for it but the first who asks, and it takes a tenth of the store's time
//! at most.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::labels::lock;

/// What takes no longer than this is found out for everybody who asks.
const SLOW: Duration = Duration::from_millis(40);
/// What takes longer than this is not found out anew at each change.
const VERY_SLOW: Duration = Duration::from_millis(250);
/// What is slow is renewed after so many times as long as it took, and shown for twice that.
const REST: u32 = 10;
/// Nothing is shown that is older.
pub(crate) const SHOWN_MAX: Duration = Duration::from_secs(60);

/// Something that is found out by asking the store, one question at a time, whoever asks.
pub(crate) struct Shown<T> {
    /// An answer is as good as a new one for so long.
    fresh: Duration,
    last: Arc<Mutex<Option<Last<T>>>>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// The last answer, when it came, and how long it took.
struct Last<T> {
    at: Instant,
    took: Duration,
    answer: Arc<T>,
    /// True when it is known not to be true any more.
    changed: bool,
}

impl<T: Send + Sync + 'static> Shown<T> {
    pub(crate) fn new(fresh: Duration) -> Self {
        Self { fresh, last: Arc::default(), asking: Arc::default() }
    }

    /// True while answers are slow.
    pub(crate) fn is_slow(&self) -> bool {
        lock(&self.last).as_ref().is_some_and(|last| last.took > SLOW)
    }

    /// A person changed something and wants to see it.
    pub(crate) fn forget(&self) {
        *lock(&self.last) = None;
    }

    /// Something changed: that is seen as soon as the answer is not fresh any more, unless it takes
    /// very long.
    pub(crate) fn changed(&self) {
        let mut last = lock(&self.last);
        if let Some(last) = last.as_mut().filter(|last| last.took <= VERY_SLOW) {
            last.changed = true;
        }
    }

    /// Returns the answer as it is now.
    pub(crate) async fn now<E>(
        &self,
        ask: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let good = || self.last_if(|last| last.at.elapsed() < self.fresh);
        self.good_or(good, ask).await
    }

    /// Asks, whoever asked before: for who looks now and then by itself. Others are shown what it
    /// saw where that took long.
    pub(crate) async fn anew<E>(
        &self,
        ask: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let begun = Instant::now();
        let answer = Arc::new(ask.await?);
        let (at, took) = (Instant::now(), begun.elapsed());
        if took > SLOW {
            *lock(&self.last) = Some(Last { at, took, answer: answer.clone(), changed: false });
        }
        Ok(answer)
    }

    /// Returns the answer, which is some seconds old where it is slow.
    pub(crate) async fn shown<E: Send + 'static>(
        &self,
        ask: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        let good = || {
            self.last_if(|last| {
                let age = last.at.elapsed();
                let slow = last.took > SLOW && age < (last.took * REST * 2).min(SHOWN_MAX);
                age < self.fresh || (slow && !last.changed)
            })
        };
        let Some(answer) = good() else { return self.good_or(good, ask).await };
        let is_due = |last: &Last<T>| last.at.elapsed() >= self.fresh.max(last.took * REST);
        if self.last_if(is_due).is_some() {
            self.renew(ask);
        }
        Ok(answer)
    }

    fn last_if(&self, is_good: impl Fn(&Last<T>) -> bool) -> Option<Arc<T>> {
        lock(&self.last).as_ref().filter(|last| is_good(last)).map(|last| last.answer.clone())
    }

    async fn good_or<E>(
        &self,
        good: impl Fn() -> Option<Arc<T>>,
        ask: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        if let Some(answer) = good() {
            return Ok(answer);
        }
        let _turn = self.asking.lock().await;
        match good() {
            Some(answer) => Ok(answer),
            None => keep(&self.last, ask).await,
        }
    }

    /// Asks again in the background, unless somebody does already.
    fn renew<E: Send + 'static>(&self, ask: impl Future<Output = Result<T, E>> + Send + 'static) {
        let Ok(turn) = self.asking.clone().try_lock_owned() else { return };
        let last = self.last.clone();
        tokio::spawn(async move {
            let _turn = turn;
            // Who asks when the answer is too old hears of the trouble.
            let _ = timeout(SHOWN_MAX, keep(&last, ask)).await;
        });
    }
}

async fn keep<T, E>(
    last: &Mutex<Option<Last<T>>>,
    ask: impl Future<Output = Result<T, E>>,
) -> Result<Arc<T>, E> {
    let begun = Instant::now();
    let answer = Arc::new(ask.await?);
    let (at, took) = (Instant::now(), begun.elapsed());
    *lock(last) = Some(Last { at, took, answer: answer.clone(), changed: false });
    Ok(answer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const FRESH: Duration = Duration::from_millis(500);

    /// A question whose answer is how often it was asked.
    #[derive(Default)]
    struct Question(Arc<AtomicU32>);

    impl Question {
        fn ask(&self) -> impl Future<Output = Result<u32, String>> + Send + use<> {
            let asked = self.0.clone();
            async move { Ok(asked.fetch_add(1, Ordering::SeqCst) + 1) }
        }
    }

    /// Makes the last answer so old, and says how long it took.
    fn age(shown: &Shown<u32>, age: Duration, took: Duration) {
        let mut last = lock(&shown.last);
        let last = last.as_mut().unwrap();
        (last.at, last.took) = (Instant::now().checked_sub(age).unwrap(), took);
    }

    #[tokio::test]
    async fn is_asked_once_for_many_who_ask_at_once() {
        let (shown, question) = (Shown::new(FRESH), Question::default());
        assert_eq!(*shown.now(question.ask()).await.unwrap(), 1);
        age(&shown, Duration::ZERO, Duration::ZERO);
        assert_eq!(*shown.now(question.ask()).await.unwrap(), 1, "fresh enough");
        age(&shown, FRESH, Duration::from_secs(1));
        assert_eq!(*shown.now(question.ask()).await.unwrap(), 2, "slow or not");
    }

    #[tokio::test]
    async fn what_is_quick_is_shown_as_it_is_now() {
        let (shown, question) = (Shown::new(FRESH), Question::default());
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 1);
        age(&shown, FRESH, SLOW);
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 2);
        assert!(!shown.is_slow());
    }

    #[tokio::test]
    async fn what_is_slow_is_shown_while_it_is_asked_again() {
        let (shown, question) = (Shown::new(FRESH), Question::default());
        let see = async || *shown.shown(question.ask()).await.unwrap();
        assert_eq!(see().await, 1);
        let took = Duration::from_secs(1);
        age(&shown, took * (REST - 1), took);
        assert!(shown.is_slow());
        assert_eq!(see().await, 1);
        assert!(shown.asking.try_lock().is_ok(), "nobody asks so soon again");
        age(&shown, took * REST, took);
        assert_eq!(see().await, 1, "nobody waits");
        while question.0.load(Ordering::SeqCst) < 2 || shown.asking.try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        age(&shown, took, took);
        assert_eq!(see().await, 2);
        for (too_old, took) in [(took * REST * 2, took), (SHOWN_MAX, SHOWN_MAX)] {
            let before = see().await;
            age(&shown, too_old, took);
            assert_eq!(see().await, before + 1, "too old to be shown");
        }
        let before = see().await;
        shown.forget();
        assert_eq!(see().await, before + 1);
    }

    #[tokio::test]
    async fn a_change_is_seen_at_once_unless_that_takes_very_long() {
        let (shown, question) = (Shown::new(FRESH), Question::default());
        let see = async || *shown.shown(question.ask()).await.unwrap();
        assert_eq!(see().await, 1);
        age(&shown, FRESH, VERY_SLOW);
        assert_eq!(see().await, 1);
        shown.changed();
        assert_eq!(see().await, 2);
        shown.changed();
        assert_eq!(see().await, 2, "fresh enough, whatever changes");
        shown.forget();
        assert_eq!(see().await, 3);
        age(&shown, FRESH, VERY_SLOW * 2);
        shown.changed();
        assert_eq!(see().await, 3);
    }

    #[tokio::test]
    async fn who_looks_by_itself_has_others_see_what_took_long_alone() {
        let (shown, question) = (Shown::new(FRESH), Question::default());
        assert_eq!(*shown.anew(question.ask()).await.unwrap(), 1);
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 2);
        let slow = async {
            tokio::time::sleep(SLOW * 2).await;
            Ok::<_, String>(7)
        };
        assert_eq!(*shown.anew(slow).await.unwrap(), 7);
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_failed_is_asked_again() {
        let shown = Shown::<u32>::new(FRESH);
        let failed = shown.now(async { Err("it is away".to_owned()) }).await;
        assert_eq!(failed.unwrap_err(), "it is away");
        assert_eq!(*shown.now(async { Ok::<_, String>(7) }).await.unwrap(), 7);
    }
}
