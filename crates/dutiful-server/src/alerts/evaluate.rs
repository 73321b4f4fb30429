//! From what the rules find to the state of each alert: pending until the condition has held long
//! enough, firing until it has been gone for a while, then resolved. Time is an input.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::judge::{Found, Verdict, View};
use super::rules::{Rule, RuleSet, Setting, Severity};
use super::words::number;

/// Resolved alerts are remembered for this long, in ms.
const RESOLVED_KEPT_MS: i64 = 24 * 3600 * 1000;

/// Where an alert stands.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertState)]
pub enum State {
    /// Somebody should look.
    Firing,
    /// The condition holds, not for long enough yet.
    Pending,
    /// It is over, or a person took it over.
    Resolved,
}

impl State {
    /// Returns the word used in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Pending => "pending",
            Self::Resolved => "resolved",
        }
    }
}

/// Who said that he knows, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) by: String,
    /// In ms since 1970.
    pub(crate) at: i64,
}

/// An alert as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) rule: Rule,
    pub(crate) queue: Option<String>,
    pub(crate) severity: Severity,
    pub(crate) state: State,
    /// When this state began, in ms since 1970.
    pub(crate) since: i64,
    /// When it began to fire, or had.
    #[serde(default)]
    pub(crate) fired: Option<i64>,
    pub(crate) value: f64,
    pub(crate) threshold: f64,
    pub(crate) summary: String,
    pub(crate) advice: String,
    #[serde(default)]
    pub(crate) acknowledged: Option<Heard>,
    /// Since when the condition of a firing one is gone.
    #[serde(default)]
    pub(crate) gone: Option<i64>,
    /// Jobs that had died in the queue at the last look, and when a person said that he knows.
    #[serde(default)]
    pub(crate) died: u64,
    #[serde(default)]
    pub(crate) died_known: Option<u64>,
    /// False until this state was told to those who want to know.
    #[serde(default)]
    pub(crate) told: bool,
}

/// Returns the id of an alert: there is one for each rule and queue.
pub(crate) fn id(rule: Rule, queue: Option<&str>) -> String {
    match queue {
        None => rule.as_str().to_owned(),
        Some(queue) => format!("{}:{queue}", rule.as_str()),
    }
}

/// The times that decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    pub(crate) now: i64,
    /// A condition that is gone for this long has ended.
    pub(crate) settle_ms: i64,
    /// False when nobody looked for so long that what was pending has to begin anew.
    pub(crate) seamless: bool,
}

/// Returns all alerts as they stand now, by id; those that are missing are forgotten.
pub(crate) fn evaluate(
    rules: &RuleSet,
    view: &View<'_>,
    previous: &BTreeMap<String, Record>,
    when: When,
) -> BTreeMap<String, Record> {
    let mut alerts = BTreeMap::new();
    for (rule, queue) in subjects(view, previous) {
        let queue = queue.as_deref();
        let setting = rules.setting(rule, queue);
        let key = id(rule, queue);
        let before = previous.get(&key);
        let verdict = view.judge(rule, queue, &setting);
        let mut next = Subject { rule, queue, setting, when }.next(before, verdict, view);
        if let Some(record) = next.take_if(|one| !when.forgets(one)) {
            alerts.insert(key, record);
        }
    }
    alerts
}

/// Every rule for every queue, and what was there before.
fn subjects(
    view: &View<'_>,
    previous: &BTreeMap<String, Record>,
) -> BTreeSet<(Rule, Option<String>)> {
    let queues = view.ring.last().map(|last| last.queues.keys()).into_iter().flatten();
    let by_queue = queues.flat_map(|queue| {
        let rules = Rule::ALL.into_iter().filter(|rule| rule.is_by_queue());
        rules.map(|rule| (rule, Some(queue.clone())))
    });
    let before = previous.values().map(|one| (one.rule, one.queue.clone()));
    by_queue.chain(before).chain([(Rule::Store, None)]).collect()
}

impl When {
    /// What was acknowledged and is still there is remembered for as long as it is.
    fn forgets(&self, record: &Record) -> bool {
        let over = record.state == State::Resolved && record.died_known.is_none();
        over && self.now - record.since >= RESOLVED_KEPT_MS
    }
}

/// One rule for one queue.
struct Subject<'a> {
    rule: Rule,
    queue: Option<&'a str>,
    setting: Setting,
    when: When,
}

impl Subject<'_> {
    fn next(&self, before: Option<&Record>, verdict: Verdict, view: &View<'_>) -> Option<Record> {
        match verdict {
            Verdict::Unknown => before.cloned(),
            Verdict::Gone => self.gone(before?),
            Verdict::Holds(found) => Some(self.holds(before, found, self.died(view))),
        }
    }

    fn died(&self, view: &View<'_>) -> u64 {
        let last = view.ring.last().filter(|_| self.rule == Rule::Dead);
        let line = last.zip(self.queue).and_then(|(last, queue)| last.queues.get(queue));
        line.map_or(0, |line| line.died)
    }

    fn gone(&self, before: &Record) -> Option<Record> {
        let When { now, settle_ms, .. } = self.when;
        let mut record = before.clone();
        record.died_known = None;
        match before.state {
            State::Pending => return None,
            State::Resolved => {}
            State::Firing => {
                let gone = *record.gone.get_or_insert(now);
                // What nobody wants to be looked at any more is over at once.
                if now - gone >= settle_ms || !self.setting.enabled {
                    record.becomes(State::Resolved, now);
                }
            }
        }
        Some(record)
    }

    fn holds(&self, before: Option<&Record>, found: Found, died: u64) -> Record {
        let known = before.and_then(|one| one.died_known.filter(|_| died >= one.died));
        if let (Some(before), Some(known)) = (before, known)
            && died <= known
        {
            return Record { died, ..before.clone() };
        }
        let now = self.when.now;
        let mut record = self.record(found, died);
        if let Some(known) = known {
            let new = number((died - known) as f64);
            record.summary += &format!("; {new} died since it was acknowledged");
            // Said for as long as it fires, not only at the look that found them.
            record.died_known = Some(known);
        }
        let (state, since) = match before {
            Some(one) if one.state == State::Firing => (State::Firing, one.since),
            Some(one) if one.state == State::Pending && self.when.seamless => {
                (State::Pending, one.since)
            }
            _ => (State::Pending, now),
        };
        (record.state, record.since) = (state, since);
        if let Some(before) = before.filter(|_| state == State::Firing) {
            record.acknowledged.clone_from(&before.acknowledged);
            record.told = before.told;
            record.fired = before.fired;
            // That it got worse is news.
            if record.severity > before.severity {
                record.becomes(State::Firing, now);
            }
        }
        if state == State::Pending && now - since >= (self.setting.for_s * 1000.0) as i64 {
            record.becomes(State::Firing, now);
        }
        record
    }

    fn record(&self, found: Found, died: u64) -> Record {
        Record {
            rule: self.rule,
            queue: self.queue.map(str::to_owned),
            severity: found.severity.unwrap_or(self.setting.severity).min(self.setting.severity),
            state: State::Pending,
            since: self.when.now,
            fired: None,
            value: found.value,
            threshold: self.setting.threshold,
            summary: found.summary,
            advice: found.advice,
            acknowledged: None,
            gone: None,
            died,
            died_known: None,
            told: true,
        }
    }
}

impl Record {
    pub(crate) fn id(&self) -> String {
        id(self.rule, self.queue.as_deref())
    }

    fn becomes(&mut self, state: State, now: i64) {
        if state == State::Firing {
            self.fired = Some(now);
        }
        (self.state, self.since, self.gone, self.told) = (state, now, None, false);
    }

    /// A person knows. Dead jobs are his from then on, so that alert is over until more die; any
    /// other goes on until its condition is gone. False when there is nothing to know.
    pub(crate) fn acknowledge(&mut self, by: &str, now: i64) -> bool {
        if self.state != State::Firing {
            return false;
        }
        self.acknowledged = Some(Heard { by: by.to_owned(), at: now });
        if self.rule == Rule::Dead {
            self.died_known = Some(self.died);
            self.becomes(State::Resolved, now);
        }
        true
    }
}
