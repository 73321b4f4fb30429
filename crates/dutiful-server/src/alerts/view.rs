//! Alerts as the API and the command line show them.

use std::cmp::Reverse;

use dutiful::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::evaluate::{Record, State};
use super::rules::{Rule, RuleSet, Severity, Unit};

/// An alert: there is one for each rule and queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Alert {
    /// Stable: the rule, and the queue if it is about one.
    pub id: String,
    /// What it is about.
    pub rule: Rule,
    /// How soon somebody should look.
    pub severity: Severity,
    /// Where it stands.
    pub state: State,
    /// The queue; null when it is about the store.
    pub queue: Option<String>,
    /// When this state began.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it began to fire, or had; `None` while it is pending.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub fired_at: Option<Timestamp>,
    /// What was measured, in the unit of the threshold.
    pub value: f64,
    /// What the rule allows.
    pub threshold: f64,
    /// What the threshold counts.
    pub unit: Unit,
    /// What is wrong, with the numbers.
    pub summary: String,
    /// What to do.
    pub advice: String,
    /// Who knows of it.
    pub acknowledged: Option<Acknowledgement>,
}

/// Who said that he knows, and when.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// All alerts: the firing ones first, then those that wait, then what was resolved within a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Alerts {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// When a server looked the last time; null when none did yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub looked_at: Option<Timestamp>,
}

/// Resolved alerts are shown for so long, in ms.
const SHOWN_MS: i64 = 24 * 3600 * 1000;

impl Alerts {
    pub(super) fn of(records: Vec<Record>, looked: Option<i64>, now: i64) -> Self {
        let shown = |one: &Record| one.state != State::Resolved || now - one.since < SHOWN_MS;
        let mut alerts: Vec<_> = records.into_iter().filter(shown).map(Alert::from).collect();
        alerts.sort_by_key(|one| (one.state, Reverse(one.since)));
        Self { alerts, looked_at: looked.map(time) }
    }

    /// Returns the worst severity that fires.
    pub fn worst(&self) -> Option<Severity> {
        let firing = self.alerts.iter().filter(|one| one.state == State::Firing);
        firing.map(|one| one.severity).max()
    }
}

impl From<Record> for Alert {
    fn from(record: Record) -> Self {
        Self {
            id: record.id(),
            rule: record.rule,
            severity: record.severity,
            state: record.state,
            since: time(record.since),
            fired_at: record.fired.map(time),
            value: record.value,
            threshold: record.threshold,
            unit: record.rule.unit(),
            summary: record.summary,
            advice: record.advice,
            acknowledged: record
                .acknowledged
                .map(|one| Acknowledgement { by: one.by, at: time(one.at) }),
            queue: record.queue,
        }
    }
}

pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_us(ms.saturating_mul(1000))
}

/// A rule as it is set, in general or for one queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleView {
    /// Which rule.
    pub rule: Rule,
    /// The queue; null for all that have none of their own.
    pub queue: Option<String>,
    /// When it fires, in words.
    pub about: &'static str,
    /// False when it is off.
    pub enabled: bool,
    /// In its unit.
    pub threshold: f64,
    /// What the threshold counts.
    pub unit: Unit,
    /// For so many seconds the condition has to hold.
    pub for_s: f64,
    /// How soon somebody should look.
    pub severity: Severity,
}

impl RuleSet {
    /// Returns every rule, and after these what is otherwise for single queues.
    pub(crate) fn views(&self) -> Vec<RuleView> {
        let all = Rule::ALL.into_iter().map(|rule| (rule, None));
        let own = self.queues().map(|(queue, rule)| (rule, Some(queue)));
        let view = |(rule, queue): (Rule, Option<&str>)| {
            let set = self.setting(rule, queue);
            RuleView {
                rule,
                queue: queue.map(str::to_owned),
                about: rule.about(),
                enabled: set.enabled,
                threshold: set.threshold,
                unit: rule.unit(),
                for_s: set.for_s,
                severity: set.severity,
            }
        };
        all.chain(own).map(view).collect()
    }
}
