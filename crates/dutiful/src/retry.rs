//! When to try again: pure arithmetic over the number of failures, saturating and capped.

use std::time::Duration;

/// No retry waits longer than this.
pub const RETRY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// No retry comes sooner than this, unless the handler asks for it by `RetryAfter`.
pub const RETRY_MIN: Duration = Duration::from_secs(1);

/// A retry policy: the wait after the n-th failure of a job.
///
/// ```
/// use dutiful::Retry;
/// use std::time::Duration;
///
/// let policy = Retry::exponential(Duration::from_secs(15)).without_jitter();
/// assert_eq!(policy.wait(1, 0.5), Duration::from_secs(15));
/// assert_eq!(policy.wait(3, 0.5), Duration::from_secs(60));
/// assert_eq!(policy.wait(u32::MAX, 0.5), dutiful::RETRY_MAX);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    growth: Growth,
    jitter: bool,
    min: Duration,
    max: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Growth {
    Exponential(Duration),
    Linear(Duration),
    Fixed(Duration),
    Custom(fn(u32) -> Duration),
}

impl Default for Retry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Retry {
    /// Exponential from 15 s with full jitter.
    pub const DEFAULT: Self = Self::exponential(Duration::from_secs(15));

    /// Waits up to `base`, then twice that, then four times that …
    pub const fn exponential(base: Duration) -> Self {
        Self::of(Growth::Exponential(base), true)
    }

    /// Waits up to `step`, then twice, then three times …
    pub const fn linear(step: Duration) -> Self {
        Self::of(Growth::Linear(step), true)
    }

    /// Waits the same each time, without jitter.
    pub const fn fixed(wait: Duration) -> Self {
        Self::of(Growth::Fixed(wait), false)
    }

    /// Waits what the function says for the n-th failure (from 1), without jitter.
    pub const fn custom(wait: fn(u32) -> Duration) -> Self {
        Self::of(Growth::Custom(wait), false)
    }

    const fn of(growth: Growth, jitter: bool) -> Self {
        Self { growth, jitter, min: RETRY_MIN, max: RETRY_MAX }
    }

    /// Takes a random part of each wait, so that jobs that failed together do not return together.
    pub const fn with_jitter(mut self) -> Self {
        self.jitter = true;
        self
    }

    /// Takes each wait as it is.
    pub const fn without_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    /// Waits at most this long (and never over 24 h).
    pub const fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Waits at least this long (default 1 s).
    pub const fn min(mut self, min: Duration) -> Self {
        self.min = min;
        self
    }

    /// Returns the wait after failure number `failures` (from 1); `luck` in 0.0..1.0 picks the
    /// jitter. The answer lies between the floor and the cap for every input.
    pub fn wait(&self, failures: u32, luck: f64) -> Duration {
        let n = failures.max(1);
        let full = match self.growth {
            Growth::Exponential(base) => match 1_u32.checked_shl(n - 1) {
                #[cfg(bug = "backoff_wraps")]
                Some(0) | None => Duration::ZERO,
                Some(factor) => base.saturating_mul(factor),
                None if base.is_zero() => base,
                None => RETRY_MAX,
            },
            Growth::Linear(step) => step.saturating_mul(n),
            Growth::Fixed(wait) => wait,
            Growth::Custom(wait) => wait(n),
        };
        let cap = self.max.min(RETRY_MAX);
        let floor = self.min.min(cap);
        let full = full.clamp(floor, cap);
        if !self.jitter {
            return full;
        }
        let luck = if luck.is_finite() { luck.clamp(0.0, 1.0) } else { 1.0 };
        full.mul_f64(luck).clamp(floor, cap)
    }
}
