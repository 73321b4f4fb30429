//! How often a token may ask: in a steady stream, with a second's worth at once.
//!
//! For each token the time is kept at which what it has asked so far is paid for (GCRA). A server
//! keeps its own account, so behind several a token may ask that many times as often.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::labels::lock;

/// A token may be ahead of its stream by so much.
const BURST: Duration = Duration::from_secs(1);
/// Most tokens whose account is kept; those that are paid up are dropped first.
const ACCOUNTS_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Instant>>);

impl Rates {
    /// Counts a request, or says how long to wait.
    pub(crate) fn take(&self, token: &str, per_s: u32) -> Result<(), Duration> {
        self.take_at(token, per_s, Instant::now())
    }

    fn take_at(&self, token: &str, per_s: u32, now: Instant) -> Result<(), Duration> {
        let mut paid = lock(&self.0);
        if paid.len() >= ACCOUNTS_MAX {
            paid.retain(|_, until| *until > now);
        }
        let step = Duration::from_secs(1) / per_s.max(1);
        let until = paid.get(token).copied().unwrap_or(now).max(now);
        let ahead = until.saturating_duration_since(now);
        if ahead + step > BURST.max(step) {
            return Err(ahead + step - BURST.max(step));
        }
        paid.insert(token.to_owned(), until + step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_asks_as_often_as_it_may_and_no_more() {
        let (rates, start) = (Rates::default(), Instant::now());
        let passed = |from: u64, to: u64, token: &str| {
            let at = |ms| start + Duration::from_millis(ms);
            (from..to).filter(|ms| rates.take_at(token, 100, at(*ms)).is_ok()).count()
        };
        // A hundred at once and one each 10 ms after them.
        assert_eq!(passed(0, 1000, "a"), 199);
        assert_eq!(passed(1000, 2000, "a"), 100);
        assert_eq!(passed(1000, 1001, "b"), 1, "another token has its own account");
    }

    #[test]
    fn whoever_waits_as_long_as_told_is_let_through() {
        let (rates, mut now) = (Rates::default(), Instant::now());
        assert_eq!(rates.take_at("a", 1, now), Ok(()));
        for _ in 0..5 {
            let wait = rates.take_at("a", 1, now).expect_err("too early");
            assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
            now += wait;
            assert_eq!(rates.take_at("a", 1, now), Ok(()));
        }
    }
}
