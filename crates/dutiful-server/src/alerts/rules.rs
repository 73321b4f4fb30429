//! The rules: what each is about, when it fires, and who may say otherwise for which queue.

use std::collections::BTreeMap;

use dutiful::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most queues with settings of their own.
const QUEUES_MAX: usize = 200;
/// Longest time in seconds that a condition may have to hold.
const FOR_S_MAX: f64 = 86_400.0;
/// Largest thresholds: jobs, seconds (30 days), times the baseline.
const JOBS_MAX: f64 = 1e12;
const SECONDS_MAX: f64 = 2_592_000.0;
const TIMES_MAX: f64 = 1000.0;

/// What an alert is about.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// More jobs are due than the threshold, and they grow more.
    Depth,
    /// Fewer jobs complete than is usual in this queue, while some wait.
    Rate,
    /// Too many attempts fail.
    ErrorRate,
    /// Dead jobs wait for a person.
    Dead,
    /// Jobs wait too long before they start.
    Latency,
    /// Attempts run longer than is usual in this queue.
    Duration,
    /// The slots of the queue's workers are almost all in use.
    Utilization,
    /// Workers lost jobs that they were running.
    Stalled,
    /// The store does not answer, or is not well.
    Store,
    /// Jobs are due and no worker serves their queue.
    NoWorkers,
    /// The time of scheduled jobs came, and nobody moves them to their queue.
    Overdue,
}

/// What a threshold counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Jobs.
    Jobs,
    /// A part of a hundred.
    Percent,
    /// Seconds.
    Seconds,
    /// Times the baseline.
    Times,
    /// It is there or not: the threshold is always 0.
    Findings,
}

/// How soon somebody should look.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// In working hours.
    Warning,
    /// Now.
    Critical,
}

impl Severity {
    /// Returns the word used in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 11] = [
        Self::Depth,
        Self::Rate,
        Self::ErrorRate,
        Self::Dead,
        Self::Latency,
        Self::Duration,
        Self::Utilization,
        Self::Stalled,
        Self::Store,
        Self::NoWorkers,
        Self::Overdue,
    ];

    /// Returns the word used in JSON, in dutiful.toml and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Rate => "rate",
            Self::ErrorRate => "error_rate",
            Self::Dead => "dead",
            Self::Latency => "latency",
            Self::Duration => "duration",
            Self::Utilization => "utilization",
            Self::Stalled => "stalled",
            Self::Store => "store",
            Self::NoWorkers => "no_workers",
            Self::Overdue => "overdue",
        }
    }

    /// Returns what its threshold counts.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Depth | Self::Dead | Self::Stalled | Self::NoWorkers => Unit::Jobs,
            Self::Rate | Self::ErrorRate | Self::Utilization => Unit::Percent,
            Self::Latency | Self::Overdue => Unit::Seconds,
            Self::Duration => Unit::Times,
            Self::Store => Unit::Findings,
        }
    }

    /// Returns when it fires, in words that fit before the threshold.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Depth => "more jobs are due, and they grow more",
            Self::Rate => "completions below this part of the usual, while jobs wait",
            Self::ErrorRate => "more of the attempts fail",
            Self::Dead => "more dead jobs wait for a person",
            Self::Latency => "jobs wait longer before they start",
            Self::Duration => "attempts run longer than so many times the usual",
            Self::Utilization => "more of the slots are in use",
            Self::Stalled => "more jobs were lost by their workers",
            Self::Store => "the store does not answer, or is not well",
            Self::NoWorkers => "more jobs are due and no worker serves their queue",
            Self::Overdue => "scheduled jobs wait longer after their time",
        }
    }

    /// False for what is about the store as a whole.
    pub const fn is_by_queue(self) -> bool {
        !matches!(self, Self::Store)
    }

    /// Returns its setting where nobody says otherwise.
    const fn default(self) -> Setting {
        let (threshold, for_s, severity) = match self {
            Self::Depth => (10_000.0, 120.0, Severity::Warning),
            Self::Rate => (50.0, 300.0, Severity::Warning),
            Self::ErrorRate => (5.0, 60.0, Severity::Warning),
            Self::Dead => (0.0, 0.0, Severity::Warning),
            Self::Latency => (30.0, 120.0, Severity::Critical),
            Self::Duration => (2.0, 300.0, Severity::Warning),
            Self::Utilization => (90.0, 600.0, Severity::Warning),
            Self::Stalled => (0.0, 0.0, Severity::Warning),
            Self::Store => (0.0, 30.0, Severity::Critical),
            Self::NoWorkers => (0.0, 60.0, Severity::Critical),
            Self::Overdue => (30.0, 30.0, Severity::Critical),
        };
        Setting { enabled: true, threshold, for_s, severity }
    }

    fn check(self, change: &RuleChange) -> Result<(), String> {
        let (least, most) = match self.unit() {
            Unit::Jobs => (0.0, JOBS_MAX),
            Unit::Percent => (0.0, 100.0),
            Unit::Seconds => (0.0, SECONDS_MAX),
            Unit::Times => (1.0, TIMES_MAX),
            Unit::Findings => (0.0, 0.0),
        };
        let name = self.as_str();
        if let Some(given) = change.threshold
            && !(least..=most).contains(&given)
        {
            if self.unit() == Unit::Findings {
                return Err(format!("the rule {name} has no threshold; leave it out"));
            }
            return Err(format!("the threshold {given} of {name} is not from {least} to {most}"));
        }
        match change.for_s {
            Some(given) if !(0.0..=FOR_S_MAX).contains(&given) => {
                Err(format!("the rule {name} would have to hold for {given} s; at most 24 h"))
            }
            _ => Ok(()),
        }
    }
}

/// How a rule is set for one queue.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Setting {
    pub(crate) enabled: bool,
    pub(crate) threshold: f64,
    pub(crate) for_s: f64,
    pub(crate) severity: Severity,
}

impl Setting {
    fn changed(self, by: Option<&RuleChange>) -> Self {
        let Some(by) = by else { return self };
        Self {
            enabled: by.enabled.unwrap_or(self.enabled),
            threshold: by.threshold.unwrap_or(self.threshold),
            for_s: by.for_s.unwrap_or(self.for_s),
            severity: by.severity.unwrap_or(self.severity),
        }
    }
}

/// What is to be otherwise about a rule; what is left out stays as it is.
#[derive(Clone, Copy, Default, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuleChange {
    /// False turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// In the unit of the rule: jobs, percent, seconds, or times the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// For so many seconds the condition has to hold before it fires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_s: Option<f64>,
    /// How soon somebody should look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// What is to be otherwise about rules, in general and for single queues.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuleChanges {
    /// By rule.
    pub rules: BTreeMap<Rule, RuleChange>,
    /// By queue and rule.
    pub queues: BTreeMap<String, BTreeMap<Rule, RuleChange>>,
}

impl RuleChanges {
    /// Looks whether every value is possible.
    ///
    /// # Errors
    /// What is wrong, as a clause.
    pub fn check(&self) -> Result<(), String> {
        self.rules.iter().try_for_each(|(rule, change)| rule.check(change))?;
        if self.queues.len() > QUEUES_MAX {
            let given = self.queues.len();
            return Err(format!(
                "{given} queues have rules of their own; at most {QUEUES_MAX} may"
            ));
        }
        for (queue, rules) in &self.queues {
            Name::new("queue", queue).map_err(|error| error.to_string())?;
            if let Some((rule, _)) = rules.iter().find(|(rule, _)| !rule.is_by_queue()) {
                let rule = rule.as_str();
                return Err(format!("the rule {rule} is about the whole store, not a queue"));
            }
            let each = rules.iter().try_for_each(|(rule, change)| rule.check(change));
            each.map_err(|why| format!("queue {queue}: {why}"))?;
        }
        Ok(())
    }

    fn of(&self, rule: Rule, queue: Option<&str>) -> Option<&RuleChange> {
        match queue {
            None => self.rules.get(&rule),
            Some(queue) => self.queues.get(queue)?.get(&rule),
        }
    }
}

/// All that was said about the rules. What is about one queue wins over what is about all, and
/// within that what is kept in the store over dutiful.toml.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct RuleSet {
    pub(crate) file: RuleChanges,
    pub(crate) kept: RuleChanges,
    /// True where there is a single look, so that nothing can be seen to hold for a while.
    pub(crate) at_once: bool,
}

impl RuleSet {
    pub(crate) fn setting(&self, rule: Rule, queue: Option<&str>) -> Setting {
        let said = self.said(rule, queue);
        Setting { for_s: if self.at_once { 0.0 } else { said.for_s }, ..said }
    }

    fn said(&self, rule: Rule, queue: Option<&str>) -> Setting {
        let all =
            rule.default().changed(self.file.of(rule, None)).changed(self.kept.of(rule, None));
        match queue {
            None => all,
            Some(_) => all.changed(self.file.of(rule, queue)).changed(self.kept.of(rule, queue)),
        }
    }

    /// Returns the queues with settings of their own.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&str, Rule)> {
        let both: std::collections::BTreeSet<_> = [&self.file, &self.kept]
            .into_iter()
            .flat_map(|one| &one.queues)
            .flat_map(|(queue, rules)| rules.keys().map(|rule| (queue.as_str(), *rule)))
            .collect();
        both.into_iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn changes(text: &str) -> RuleChanges {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_queue_wins_over_all_and_the_store_over_the_file() {
        let file = changes(
            r#"{"rules":{"latency":{"threshold":60,"severity":"warning"}},
                "queues":{"mail":{"latency":{"threshold":300}},
                    "slow":{"latency":{"enabled":false}}}}"#,
        );
        let kept = changes(
            r#"{"rules":{"latency":{"threshold":45,"for_s":10}},
                "queues":{"slow":{"latency":{"enabled":true,"threshold":900}}}}"#,
        );
        let rules = RuleSet { file, kept, at_once: false };
        let all = rules.setting(Rule::Latency, Some("other"));
        assert_eq!((all.threshold, all.for_s, all.severity), (45.0, 10.0, Severity::Warning));
        let mail = rules.setting(Rule::Latency, Some("mail"));
        assert_eq!((mail.threshold, mail.for_s), (300.0, 10.0), "what it leaves out is inherited");
        let slow = rules.setting(Rule::Latency, Some("slow"));
        assert_eq!((slow.enabled, slow.threshold), (true, 900.0));
        let depth = RuleSet::default().setting(Rule::Depth, Some("mail"));
        assert_eq!((depth.enabled, depth.threshold), (true, 10_000.0));
        assert_eq!(rules.queues().count(), 2);
    }

    #[test]
    fn refuses_what_no_threshold_can_be() {
        for (text, says) in [
            (r#"{"rules":{"error_rate":{"threshold":101}}}"#, "not from 0 to 100"),
            (r#"{"rules":{"duration":{"threshold":0.5}}}"#, "not from 1 to 1000"),
            (r#"{"rules":{"store":{"threshold":1}}}"#, "has no threshold"),
            (r#"{"rules":{"depth":{"threshold":-1}}}"#, "not from 0"),
            (r#"{"rules":{"depth":{"for_s":90000}}}"#, "at most 24 h"),
            (r#"{"queues":{"a b":{}}}"#, "queue"),
            (r#"{"queues":{"mail":{"store":{}}}}"#, "about the whole store"),
            (r#"{"queues":{"mail":{"latency":{"threshold":-1}}}}"#, "queue mail: the threshold"),
        ] {
            let error = changes(text).check().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for wrong in [r#"{"rules":{"latency":{"treshold":1}}}"#, r#"{"rules":{"lateness":{}}}"#] {
            assert!(serde_json::from_str::<RuleChanges>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(changes(r#"{"rules":{"latency":{"threshold":0}}}"#).check(), Ok(()));
    }
}
