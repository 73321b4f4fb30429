//! Alerts that need nothing beside the store: rules with thresholds, looked at every ten seconds by
//! one server of many, and kept in the store so that every server shows the same.

mod baseline;
mod evaluate;
mod judge;
mod rules;
mod sample;
#[cfg(test)]
mod tests;
mod words;

pub use evaluate::State;
pub use rules::{Rule, RuleChange, RuleChanges, Severity, Unit};
