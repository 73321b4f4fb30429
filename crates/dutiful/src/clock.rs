//! Time as an input: the only file that asks the machine what time it is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use serde::{Serialize, Serializer};

use crate::error::InvalidJob;

/// A time in µs since 1970-01-01T00:00:00Z, between then and the end of the year 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999999Z, the last time that a job can be scheduled for.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Returns the time, clamped to what a store can keep.
    pub const fn from_us(us: i64) -> Self {
        if us < 0 {
            return Self(0);
        }
        if us > Self::MAX.0 { Self::MAX } else { Self(us) }
    }

    /// Returns µs since 1970.
    pub const fn us(self) -> i64 {
        self.0
    }

    /// Returns this time and a while, at most the end of the year 9999.
    pub fn plus(self, while_: Duration) -> Self {
        Self::from_us(self.0.saturating_add(micros(while_)))
    }

    /// Returns this time less a while, at least 1970.
    pub fn minus(self, while_: Duration) -> Self {
        Self::from_us(self.0.saturating_sub(micros(while_)))
    }

    /// Returns how long ago `earlier` was, zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// Returns the time of a [`SystemTime`].
    ///
    /// # Errors
    /// [`InvalidJob::Time`] before 1970 or after 9999.
    pub fn from_system(at: SystemTime) -> Result<Self, InvalidJob> {
        let outside = || InvalidJob::Time { given: format!("{at:?}") };
        let since = at.duration_since(UNIX_EPOCH).map_err(|_| outside())?;
        let us = i64::try_from(since.as_micros()).map_err(|_| outside())?;
        if us > Self::MAX.0 { Err(outside()) } else { Ok(Self(us)) }
    }
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Returns whole µs, saturating.
pub(crate) fn micros(while_: Duration) -> i64 {
    i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = jiff::SignedDuration::from_micros(self.0);
        let time = EPOCH.checked_add(since).map_err(|_| fmt::Error)?;
        write!(f, "{time:.6}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidJob;
    /// Parses RFC 3339 (`2026-11-23T18:00:00Z`).
    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        let outside = || InvalidJob::Time { given: crate::id::clip(text) };
        let us = match text.parse::<jiff::Timestamp>() {
            Ok(time) => time.as_microsecond(),
            // jiff's instants end a day before the year 9999 does; its calendar knows the rest.
            Err(_) => {
                let civil = text.strip_suffix(['Z', 'z']).ok_or_else(outside)?;
                let civil: DateTime = civil.parse().map_err(|_| outside())?;
                let us = civil.duration_since(EPOCH).as_micros();
                i64::try_from(us).map_err(|_| outside())?
            }
        };
        if (0..=Self::MAX.0).contains(&us) { Ok(Self(us)) } else { Err(outside()) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Where a store of this process takes the time from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    Machine,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Returns the clock of this machine.
    pub fn machine() -> Self {
        Self::default()
    }

    /// Returns a clock that stands at `at` until somebody moves it.
    pub fn manual(at: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(at.us()))))
    }

    /// Returns the time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Machine => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_us(micros(since))
            }
            Source::Manual(us) => Timestamp::from_us(us.load(Ordering::SeqCst)),
        }
    }

    /// True for a clock that somebody moves: then a server's own clock is not asked.
    pub fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual(_))
    }

    /// Moves a manual clock forward; the machine's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(us) = &self.0 {
            us.fetch_add(micros(by), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, backwards too; the machine's clock stays as it is.
    pub fn set(&self, at: Timestamp) {
        if let Source::Manual(us) = &self.0 {
            us.store(at.us(), Ordering::SeqCst);
        }
    }
}

/// A point on the clock that counts suspended time too (`CLOCK_BOOTTIME`), unlike
/// [`std::time::Instant`]: a worker that slept must know that its leases went on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct BootTime(Duration);

impl BootTime {
    pub(crate) fn now() -> Self {
        let t = rustix::time::clock_gettime(BOOT_CLOCK);
        Self(Duration::new(t.tv_sec.max(0) as u64, t.tv_nsec.clamp(0, 999_999_999) as u32))
    }

    /// Returns the time between `earlier` and this point.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(target_os = "linux")]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_were_written() {
        for us in [0, 1, 1_767_225_599_999_999, Timestamp::MAX.us()] {
            let time = Timestamp::from_us(us);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        let zoned: Timestamp = "2026-11-23T19:00:00+01:00".parse().expect("an offset is fine");
        assert_eq!(zoned.to_string(), "2026-11-23T18:00:00.000000Z");
        for wrong in [
            "",
            "now",
            "10000-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-02-30T00:00:00Z",
            "2026-11-23",
        ] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn arithmetic_stays_within_what_a_store_can_keep() {
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_us(5).minus(Duration::MAX), Timestamp::from_us(0));
    }
}
