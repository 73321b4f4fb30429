//! A circuit breaker for each target: one that fails again and again is left alone for a while, and
//! its jobs wait without being charged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::labels::{Labels, lock};

/// Longest pause of a target whose probes go on failing.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// A probe that has not ended after this long is given up on, and another one may go.
const PROBE_MAX: Duration = Duration::from_secs(60);

/// Where a circuit breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Jobs go through.
    Closed,
    /// One job goes through, and says how it goes on.
    HalfOpen,
    /// Jobs wait.
    Open,
}

/// A circuit breaker that changed its state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BreakerChange {
    /// Scheme, host and port.
    pub target: Arc<str>,
    /// Where it stands now.
    pub state: BreakerState,
    /// How many requests failed in a row.
    pub failures: u32,
    /// How long its jobs wait, if it is open.
    pub pause: Duration,
}

/// Is told of each change.
pub(super) type Tell = Arc<dyn Fn(&BreakerChange) + Send + Sync>;

/// The breakers of all targets of a process.
#[derive(Clone)]
pub(crate) struct Breakers {
    settings: Settings,
    by_target: Arc<Mutex<BTreeMap<Arc<str>, Arc<Breaker>>>>,
}

/// When a breaker opens, for how long, and who hears of it.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) failures: u32,
    pub(super) pause: Duration,
    pub(super) tell: Option<Tell>,
}

/// The breaker of one target.
pub(super) struct Breaker {
    target: Arc<str>,
    settings: Settings,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    failures: u32,
    pause: Duration,
    /// Tells a probe from one that was given up on.
    probes: u64,
}

#[derive(Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { since: Instant },
}

/// The right to send one request. What is dropped unsettled (a job cancelled on the way) says
/// nothing about the target.
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    probe: Option<u64>,
}

impl Breakers {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, by_target: Arc::default() }
    }

    /// Returns the breaker of a target, the same for all who name it.
    pub(super) fn of(&self, target: &str) -> Arc<Breaker> {
        let mut by_target = lock(&self.by_target);
        forget_unused(&mut by_target);
        if let Some(breaker) = by_target.get(target) {
            return breaker.clone();
        }
        let target: Arc<str> = target.into();
        let breaker = Arc::new(Breaker::new(target.clone(), self.settings.clone()));
        by_target.insert(target, breaker.clone());
        breaker
    }

    /// Returns what metrics show of them.
    pub(crate) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("dutiful_push");
        let states: Family<Labels<1>, Gauge> = Family::default();
        let mut by_target = lock(&self.by_target);
        forget_unused(&mut by_target);
        for breaker in by_target.values() {
            let value = match breaker.state() {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            };
            states.get_or_create(&[("target", breaker.target.clone())]).set(value);
        }
        let help = "Circuit breaker of a target of push handlers: 0 closed, 1 half open, 2 open";
        registry.register("breaker", help, states);
        registry
    }
}

/// Targets come and go with handlers that are registered while a server runs, and no more are
/// remembered than somebody has.
fn forget_unused(by_target: &mut BTreeMap<Arc<str>, Arc<Breaker>>) {
    by_target.retain(|_, breaker| Arc::strong_count(breaker) > 1);
}

impl Breaker {
    fn new(target: Arc<str>, settings: Settings) -> Self {
        let pause = settings.pause;
        let inner = Inner { state: State::Closed, failures: 0, pause, probes: 0 };
        Self { target, settings, inner: Mutex::new(inner) }
    }

    fn state(&self) -> BreakerState {
        match lock(&self.inner).state {
            State::Closed => BreakerState::Closed,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        }
    }

    /// Lets a request through, or says how long its job is to wait. The waits are spread, so that
    /// not all come back at once while the first of them is still on its way.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, Duration> {
        let mut inner = lock(&self.inner);
        let left = match inner.state {
            State::Closed => return Ok(Permit { breaker: self.clone(), probe: None }),
            State::Open { until } => until.saturating_duration_since(now),
            State::HalfOpen { since } => (since + PROBE_MAX).saturating_duration_since(now),
        };
        let is_waiting = matches!(inner.state, State::HalfOpen { .. });
        if left.is_zero() {
            inner.state = State::HalfOpen { since: now };
            inner.probes += 1;
            let permit = Permit { breaker: self.clone(), probe: Some(inner.probes) };
            let change = (!is_waiting).then(|| self.change(&inner));
            drop(inner);
            self.tell(change);
            return Ok(permit);
        }
        let spread = inner.pause.mul_f64(fastrand::f64());
        Err(if is_waiting { self.settings.pause.min(left) + spread } else { left + spread })
    }

    fn settle(&self, probe: Option<u64>, worked: bool, now: Instant) {
        let mut inner = lock(&self.inner);
        let was_open = match (inner.state, probe) {
            (State::Closed, None) => false,
            (State::HalfOpen { .. }, Some(number)) if number == inner.probes => true,
            // It began before the breaker changed: the probe knows better.
            _ => return,
        };
        let change = if worked {
            inner.failures = 0;
            inner.pause = self.settings.pause;
            inner.state = State::Closed;
            was_open.then(|| self.change(&inner))
        } else {
            inner.failures = inner.failures.saturating_add(1);
            if was_open {
                inner.pause = inner.pause.saturating_mul(2).min(PAUSE_MAX.max(self.settings.pause));
            }
            let opens = was_open || inner.failures >= self.settings.failures;
            if opens {
                inner.state = State::Open { until: now + inner.pause };
            }
            opens.then(|| self.change(&inner))
        };
        drop(inner);
        self.tell(change);
    }

    /// A probe that came to no end leaves its turn to the next job.
    fn forgo(&self, number: u64, now: Instant) {
        let mut inner = lock(&self.inner);
        if matches!(inner.state, State::HalfOpen { .. }) && number == inner.probes {
            inner.state = State::Open { until: now };
        }
    }

    fn change(&self, inner: &Inner) -> BreakerChange {
        let (state, pause) = match inner.state {
            State::Closed => (BreakerState::Closed, Duration::ZERO),
            State::HalfOpen { .. } => (BreakerState::HalfOpen, Duration::ZERO),
            State::Open { .. } => (BreakerState::Open, inner.pause),
        };
        BreakerChange { target: self.target.clone(), state, failures: inner.failures, pause }
    }

    fn tell(&self, change: Option<BreakerChange>) {
        if let (Some(tell), Some(change)) = (&self.settings.tell, change) {
            tell(&change);
        }
    }
}

impl Permit {
    /// Says how it went: `worked` when the target answered, whatever it thought of the job.
    pub(super) fn settle(mut self, worked: bool, now: Instant) {
        let probe = self.probe.take();
        self.breaker.settle(probe, worked, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(number) = self.probe {
            self.breaker.forgo(number, Instant::now());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    struct Lab {
        breaker: Arc<Breaker>,
        told: Arc<Mutex<Vec<BreakerState>>>,
        now: Instant,
    }

    impl Lab {
        fn new() -> Self {
            let told: Arc<Mutex<Vec<BreakerState>>> = Arc::default();
            let heard = told.clone();
            let tell: Tell = Arc::new(move |change| heard.lock().unwrap().push(change.state));
            let settings = Settings { failures: 3, pause: PAUSE, tell: Some(tell) };
            let breaker = Breakers::new(settings).of("https://a.example:443");
            Self { breaker, told, now: Instant::now() }
        }

        fn admit(&self) -> Result<Permit, Duration> {
            self.breaker.admit(self.now)
        }

        fn run(&self, worked: bool) {
            self.admit().ok().unwrap().settle(worked, self.now);
        }

        fn opened() -> Self {
            let lab = Self::new();
            (0..3).for_each(|_| lab.run(false));
            lab
        }

        fn told(&self) -> Vec<BreakerState> {
            self.told.lock().unwrap().clone()
        }
    }

    #[test]
    fn remembers_a_target_for_as_long_as_somebody_has_it() {
        let lab = Lab::opened();
        let breakers = Breakers::new(lab.breaker.settings.clone());
        let one = breakers.of("one");
        (0..3).for_each(|_| one.admit(lab.now).ok().unwrap().settle(false, lab.now));
        assert_eq!(breakers.of("one").state(), BreakerState::Open, "the same for all who name it");
        for gone in 0..100 {
            breakers.of(&gone.to_string());
        }
        breakers.registry();
        assert_eq!(lock(&breakers.by_target).len(), 1);
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let lab = Lab::new();
        for worked in [false, false, true, false, false] {
            lab.run(worked);
        }
        assert_eq!((lab.breaker.state(), lab.told()), (BreakerState::Closed, vec![]));
        lab.run(false);
        assert_eq!(lab.told(), [BreakerState::Open]);
        let wait = lab.admit().err().unwrap();
        assert!((PAUSE..=2 * PAUSE).contains(&wait), "{wait:?}");
    }

    #[test]
    fn one_probe_goes_through_after_the_pause_and_closes_it() {
        let mut lab = Lab::opened();
        lab.now += PAUSE;
        let probe = lab.admit().ok().unwrap();
        let wait = lab.admit().err().unwrap();
        assert!(!wait.is_zero() && wait <= 2 * PAUSE, "{wait:?}");
        probe.settle(true, lab.now);
        lab.run(true);
        let all = [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
        assert_eq!(lab.told(), all);
    }

    #[test]
    fn a_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut lab = Lab::opened();
        let mut pause = PAUSE;
        for _ in 0..8 {
            lab.now += pause;
            lab.run(false);
            pause = (pause * 2).min(PAUSE_MAX);
            assert!(lab.admit().err().unwrap() >= pause);
        }
        lab.now += pause;
        lab.run(true);
        (0..3).for_each(|_| lab.run(false));
        assert!(lab.admit().err().unwrap() <= 2 * PAUSE, "it begins anew");
    }

    #[test]
    fn a_probe_that_never_ends_or_is_dropped_gives_its_turn_away() {
        let mut lab = Lab::opened();
        lab.now += PAUSE;
        let late = lab.admit().ok().unwrap();
        lab.now += PROBE_MAX;
        let second = lab.admit().ok().unwrap();
        late.settle(true, lab.now);
        assert_eq!(lab.breaker.state(), BreakerState::HalfOpen, "the late one has no say");
        drop(second);
        assert_eq!(lab.breaker.state(), BreakerState::Open);
        lab.now = Instant::now() + PROBE_MAX;
        assert!(lab.admit().is_ok());
    }

    #[test]
    fn what_began_before_it_opened_does_not_count() {
        let lab = Lab::new();
        let (early, worse) = (lab.admit().ok().unwrap(), lab.admit().ok().unwrap());
        (0..3).for_each(|_| lab.run(false));
        early.settle(true, lab.now);
        worse.settle(false, lab.now);
        assert_eq!(lab.breaker.state(), BreakerState::Open);
        assert_eq!(lab.told(), [BreakerState::Open]);
    }
}
