//! What takes long to find out is shown as it was a moment ago, and found out again in the
//! background: nobody waits for it but the first who asks, and it takes a tenth of the store's time
//! at most.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::labels::lock;

/// What takes no longer than this is usually found out for everybody who asks.
pub(crate) const SLOW: Duration = Duration::from_millis(40);
/// What takes longer than this is not found out anew at each change.
const VERY_SLOW: Duration = Duration::from_millis(250);
/// What is slow is renewed after so many times as long as it took, and shown for twice that.
const REST: u32 = 10;
/// Nothing is shown that is older.
pub(crate) const SHOWN_MAX: Duration = Duration::from_secs(60);

/// Something that is found out by asking the store, one question at a time, whoever asks. A
/// question goes on to its end when who asked has given up, so that what takes long is known at
/// last.
pub(crate) struct Shown<T> {
    /// An answer is as good as a new one for so long.
    fresh: Duration,
    /// What took longer is shown for longer.
    slow: Duration,
    known: Arc<Mutex<Known<T>>>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

struct Known<T> {
    last: Option<Last<T>>,
    /// How often it was forgotten: a question from before it is of no use after it.
    forgotten: u64,
}

/// The last answer, when it came, and how long it took.
struct Last<T> {
    at: Instant,
    took: Duration,
    answer: Arc<T>,
    truth: Truth,
}

/// What is known to have happened since an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    Unchanged,
    /// It changed, as it does all the time.
    Changed,
    /// It changed by the hand of somebody who wants to see it.
    Forgotten,
}

impl<T: Send + Sync + 'static> Shown<T> {
    pub(crate) fn new(fresh: Duration, slow: Duration) -> Self {
        let known = Arc::new(Mutex::new(Known { last: None, forgotten: 0 }));
        Self { fresh, slow, known, asking: Arc::default() }
    }

    /// True while answers are slow.
    pub(crate) fn is_slow(&self) -> bool {
        lock(&self.known).last.as_ref().is_some_and(|last| last.took > self.slow)
    }

    /// A person changed something and wants to see it.
    pub(crate) fn forget(&self) {
        let mut known = lock(&self.known);
        known.forgotten += 1;
        if let Some(last) = &mut known.last {
            last.truth = Truth::Forgotten;
        }
    }

    /// Something changed: that is seen as soon as the answer is not fresh any more, unless it takes
    /// very long.
    pub(crate) fn changed(&self) {
        let mut known = lock(&self.known);
        let quick = |last: &&mut Last<T>| last.took <= VERY_SLOW && last.truth == Truth::Unchanged;
        if let Some(last) = known.last.as_mut().filter(quick) {
            last.truth = Truth::Changed;
        }
    }

    /// Returns the answer as it is now.
    pub(crate) async fn now<E: Send + 'static>(
        &self,
        ask: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        self.good_or(|last| last.at.elapsed() < self.fresh, ask).await
    }

    /// Asks, whoever asked before: for who looks now and then by itself. Others are shown what it
    /// saw where that took long.
    pub(crate) async fn anew<E: Send + 'static>(
        &self,
        ask: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        let asking = self.asking.clone().lock_owned().await;
        let slow = self.slow;
        self.ask(asking, ask, move |took| took > slow).await
    }

    /// Returns the answer, which is some seconds old where it is slow.
    pub(crate) async fn shown<E: Send + 'static>(
        &self,
        ask: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        let Some((answer, due)) = self.to_show() else {
            return self.good_or(|last| self.is_shown(last), ask).await;
        };
        if due {
            self.begin(ask);
        }
        Ok(answer)
    }

    /// Returns what would be shown without asking, and whether it is time to ask again.
    pub(crate) fn to_show(&self) -> Option<(Arc<T>, bool)> {
        let answer = self.last_if(|last| self.is_shown(last))?;
        let rests = |last: &Last<T>| (last.took * REST).min(SHOWN_MAX / 2).max(self.fresh);
        let due = self.last_if(|last| last.at.elapsed() >= rests(last)).is_some();
        Some((answer, due))
    }

    fn is_shown(&self, last: &Last<T>) -> bool {
        let age = last.at.elapsed();
        let slow = last.took > self.slow && age < (last.took * REST * 2).min(SHOWN_MAX);
        age < self.fresh || (slow && last.truth == Truth::Unchanged)
    }

    /// Asks in the background, unless somebody does already.
    pub(crate) fn begin<E: Send + 'static>(
        &self,
        ask: impl Future<Output = Result<T, E>> + Send + 'static,
    ) {
        if let Ok(turn) = self.asking.clone().try_lock_owned() {
            // Who asks when there is no answer that could be shown hears of the trouble.
            drop(self.ask(turn, ask, |_| true));
        }
    }

    fn last_if(&self, is_good: impl Fn(&Last<T>) -> bool) -> Option<Arc<T>> {
        let known = lock(&self.known);
        let last = known.last.as_ref().filter(|last| last.truth != Truth::Forgotten);
        last.filter(|last| is_good(last)).map(|last| last.answer.clone())
    }

    async fn good_or<E: Send + 'static>(
        &self,
        is_good: impl Fn(&Last<T>) -> bool,
        ask: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        if let Some(answer) = self.last_if(&is_good) {
            return Ok(answer);
        }
        let turn = self.asking.clone().lock_owned().await;
        match self.last_if(is_good) {
            Some(answer) => Ok(answer),
            None => self.ask(turn, ask, |_| true).await,
        }
    }

    /// Begins to ask; the answer is kept whether or not somebody waits for it.
    fn ask<E: Send + 'static>(
        &self,
        turn: OwnedMutexGuard<()>,
        ask: impl Future<Output = Result<T, E>> + Send + 'static,
        keeps: impl Fn(Duration) -> bool + Send + 'static,
    ) -> impl Future<Output = Result<Arc<T>, E>> {
        let (known, before) = (self.known.clone(), lock(&self.known).forgotten);
        let asked = tokio::spawn(async move {
            let begun = Instant::now();
            tokio::pin!(ask);
            let mut turn = Some(turn);
            let answer = match timeout(SHOWN_MAX, &mut ask).await {
                Ok(answer) => answer,
                // A store that never answers must not keep others from asking it again.
                Err(_) => {
                    turn.take();
                    ask.await
                }
            };
            let answer = Arc::new(answer?);
            let (at, took) = (Instant::now(), begun.elapsed());
            let mut known = lock(&known);
            if known.forgotten == before && keeps(took) {
                let (answer, truth) = (answer.clone(), Truth::Unchanged);
                known.last = Some(Last { at, took, answer, truth });
            }
            drop(turn);
            Ok(answer)
        });
        async move {
            match asked.await {
                Ok(answer) => answer,
                // Nobody aborts it.
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const FRESH: Duration = Duration::from_millis(500);
    /// Longer than a test takes.
    const LONG: Duration = Duration::from_secs(600);

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
        let mut known = lock(&shown.known);
        let last = known.last.as_mut().unwrap();
        (last.at, last.took) = (Instant::now().checked_sub(age).unwrap(), took);
    }

    /// A question that is answered when the gate opens.
    fn gated(
        question: &Question,
        gate: &Arc<tokio::sync::Semaphore>,
    ) -> impl Future<Output = Result<u32, String>> + Send + use<> {
        let (gate, ask) = (gate.clone(), question.ask());
        async move {
            gate.acquire().await.unwrap().forget();
            ask.await
        }
    }

    #[tokio::test]
    async fn is_asked_once_for_many_who_ask_at_once() {
        let (shown, question) = (Shown::new(LONG, SLOW), Question::default());
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let all = futures_util::future::join_all(
            (0..10).map(|_| async { *shown.shown(gated(&question, &gate)).await.unwrap() }),
        );
        let open = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            gate.add_permits(10);
        };
        assert_eq!(tokio::join!(all, open).0, [1; 10]);
        assert_eq!(*shown.now(question.ask()).await.unwrap(), 1, "fresh enough");
        age(&shown, LONG, Duration::from_secs(1));
        assert_eq!(*shown.now(question.ask()).await.unwrap(), 2, "slow or not");
    }

    #[tokio::test]
    async fn an_answer_is_kept_though_nobody_waited_for_it() {
        let (shown, question) = (Shown::new(LONG, SLOW), Question::default());
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let asked = shown.shown(gated(&question, &gate));
        let given_up = tokio::time::timeout(Duration::from_millis(1), asked).await;
        assert!(given_up.is_err());
        gate.add_permits(1);
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 1, "the first is waited for");
    }

    #[tokio::test]
    async fn what_was_asked_before_a_change_is_not_shown_after_it() {
        let (shown, question) = (Shown::new(LONG, SLOW), Question::default());
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let before = shown.shown(gated(&question, &gate));
        let change = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            shown.forget();
            gate.add_permits(1);
        };
        let (before, ()) = tokio::join!(before, change);
        assert_eq!(*before.unwrap(), 1);
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 2);
        age(&shown, LONG / 2, LONG);
        shown.forget();
        assert!(shown.is_slow(), "that is not forgotten");
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_is_quick_is_shown_as_it_is_now() {
        let (shown, question) = (Shown::new(FRESH, SLOW), Question::default());
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 1);
        age(&shown, FRESH, SLOW);
        assert_eq!(*shown.shown(question.ask()).await.unwrap(), 2);
        assert!(!shown.is_slow());
    }

    #[tokio::test]
    async fn what_is_slow_is_shown_while_it_is_asked_again() {
        let (shown, question) = (Shown::new(FRESH, SLOW), Question::default());
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
        let (shown, question) = (Shown::new(FRESH, SLOW), Question::default());
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
        let (shown, question) = (Shown::new(FRESH, SLOW), Question::default());
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
        let shown = Shown::<u32>::new(FRESH, SLOW);
        let failed = shown.now(async { Err("it is away".to_owned()) }).await;
        assert_eq!(failed.unwrap_err(), "it is away");
        assert_eq!(*shown.now(async { Ok::<_, String>(7) }).await.unwrap(), 7);
    }
}
