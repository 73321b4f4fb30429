//! How alerts are looked after: how often, over which window, and by which rules.

use std::time::Duration;

use super::rules::RuleChanges;

/// How often the store is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// Over how long shares and quantiles are taken.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// How long a condition has to be gone.
const RESOLVE_AFTER: Duration = Duration::from_secs(60);

/// How a server looks after alerts. Give all servers of a store the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AlertOptions {
    /// How often one of the servers looks (10 s).
    pub every: Duration,
    /// Over how long rates, shares and quantiles are taken (5 min; at most 20 min).
    pub window: Duration,
    /// An alert is resolved when its condition has been gone for so long (1 min).
    pub resolve_after: Duration,
    /// What dutiful.toml says of the rules. What is kept in the store wins.
    pub rules: RuleChanges,
}

impl Default for AlertOptions {
    fn default() -> Self {
        let rules = RuleChanges::default();
        Self { every: EVERY, window: WINDOW, resolve_after: RESOLVE_AFTER, rules }
    }
}

impl AlertOptions {
    pub(super) fn window_ms(&self) -> i64 {
        ms(self.window)
    }

    pub(super) fn settle_ms(&self) -> i64 {
        ms(self.resolve_after)
    }
}

pub(super) fn ms(while_: Duration) -> i64 {
    i64::try_from(while_.as_millis()).unwrap_or(i64::MAX)
}
