//! What dutiful.toml says about alerts: thresholds by rule, and by queue.

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful_server::NotifySettings;
use dutiful_server::alerts::{AlertOptions, Rule, RuleChange, RuleChanges, Severity, Unit};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::input;

/// Shortest and longest window for shares and quantiles.
const WINDOW_MIN: Duration = Duration::from_secs(60);
const WINDOW_MAX: Duration = Duration::from_secs(20 * 60);
/// Longest time for which a condition has to be gone.
const RESOLVE_MAX: Duration = Duration::from_secs(24 * 3600);

/// `[alerts]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsConfig {
    /// By what name this server calls itself in what it tells; the name of its machine where
    /// nothing is said.
    pub(crate) server: Option<String>,
    /// Who is told: `[[alerts.notify]]`.
    #[serde(default)]
    pub(crate) notify: Vec<NotifySettings>,
    /// Over how long rates, shares and quantiles are taken.
    #[serde(default, deserialize_with = "maybe_duration")]
    window: Option<Duration>,
    /// For how long a condition has to be gone.
    #[serde(default, deserialize_with = "maybe_duration")]
    resolve_after: Option<Duration>,
    /// `[alerts.rules.RULE]`.
    #[serde(default)]
    rules: BTreeMap<Rule, RuleConfig>,
    /// `[alerts.queues.QUEUE.RULE]`.
    #[serde(default)]
    queues: BTreeMap<String, BTreeMap<Rule, RuleConfig>>,
}

/// What is to be otherwise about a rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
    enabled: Option<bool>,
    threshold: Option<Threshold>,
    #[serde(default, rename = "for", deserialize_with = "maybe_duration")]
    held_for: Option<Duration>,
    severity: Option<Severity>,
}

/// A number, or a duration where seconds are counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a threshold is a number, or a time in quotes such as \"30s\"")]
enum Threshold {
    Number(f64),
    Text(String),
}

impl AlertsConfig {
    /// Returns how alerts are looked after, or what is wrong.
    pub(crate) fn options(&self) -> Result<AlertOptions, String> {
        let mut options = AlertOptions::default();
        options.window = self.window.unwrap_or(options.window);
        options.resolve_after = self.resolve_after.unwrap_or(options.resolve_after);
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&options.window) {
            return Err("[alerts] window is not from 1m to 20m".to_owned());
        }
        if options.resolve_after > RESOLVE_MAX {
            return Err("[alerts] resolve_after is over 24h".to_owned());
        }
        let queues = self.queues.iter().map(|(queue, rules)| Ok((queue.clone(), changes(rules)?)));
        let queues = queues.collect::<Result<_, String>>();
        let said =
            changes(&self.rules).and_then(|rules| Ok(RuleChanges { rules, queues: queues? }));
        options.rules = said.map_err(|why| format!("[alerts] {why}"))?;
        options.rules.check().map_err(|why| format!("[alerts] {why}"))?;
        Ok(options)
    }
}

fn changes(rules: &BTreeMap<Rule, RuleConfig>) -> Result<BTreeMap<Rule, RuleChange>, String> {
    let change = |(rule, config): (&Rule, &RuleConfig)| {
        let threshold = config.threshold.as_ref().map(|given| given.number(*rule)).transpose()?;
        let for_s = config.held_for.map(|held_for| held_for.as_secs_f64());
        let (enabled, severity) = (config.enabled, config.severity);
        Ok((*rule, RuleChange { enabled, threshold, for_s, severity }))
    };
    rules.iter().map(change).collect()
}

impl Threshold {
    fn number(&self, rule: Rule) -> Result<f64, String> {
        let name = rule.as_str();
        match (self, rule.unit()) {
            (Self::Number(n), _) => Ok(*n),
            (Self::Text(text), Unit::Seconds) => {
                let time = input::duration(text);
                time.map(|time| time.as_secs_f64()).map_err(|why| format!("{name}: {why}"))
            }
            (Self::Text(text), _) => Err(format!(
                "the threshold {text:?} of {name} is no number; write it without quotes"
            )),
        }
    }
}

fn maybe_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    input::duration(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AlertOptions, String> {
        let config: AlertsConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.options()
    }

    #[test]
    fn reads_thresholds_by_rule_and_by_queue() {
        let options = read(
            "window = \"10m\"\n[rules.latency]\nthreshold = \"30s\"\nfor = \"2m\"\n\
             severity = \"critical\"\n[rules.depth]\nthreshold = 500\n\
             [queues.mail.latency]\nthreshold = \"5m\"\n[queues.slow.latency]\nenabled = false\n",
        )
        .unwrap();
        let latency = options.rules.rules[&Rule::Latency];
        assert_eq!((latency.threshold, latency.for_s), (Some(30.0), Some(120.0)));
        assert_eq!(latency.severity, Some(Severity::Critical));
        assert_eq!(options.rules.rules[&Rule::Depth].threshold, Some(500.0));
        assert_eq!(options.rules.queues["mail"][&Rule::Latency].threshold, Some(300.0));
        assert_eq!(options.rules.queues["slow"][&Rule::Latency].enabled, Some(false));
        assert_eq!(options.window, Duration::from_secs(600));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, says) in [
            ("[rules.lateness]", "lateness"),
            ("[rules.depth]\nthreshold = \"many\"", "no number"),
            ("[rules.latency]\nthreshold = \"soon\"", "not a duration"),
            ("[rules.latency]\nthreshold = true", "a time in quotes"),
            ("[rules.error_rate]\nthreshold = 500", "not from 0 to 100"),
            ("[rules.depth]\nfor = \"2d\"", "at most 24 h"),
            ("[rules.depth]\nseverity = \"bad\"", "bad"),
            ("[queues.\"a b\".dead]", "queue"),
            ("window = \"2h\"", "1m to 20m"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
