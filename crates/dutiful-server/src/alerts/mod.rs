//! Alerts that need nothing beside the store: rules with thresholds, looked at every ten seconds by
//! one server of many, and kept in the store so that every server shows the same.
//!
//! A server looks after them by itself. What is here for other programs is [`read`], which looks
//! once where no server does, and [`acknowledge`].

mod baseline;
mod board;
mod evaluate;
mod judge;
mod options;
mod rules;
mod sample;
mod tell;
#[cfg(test)]
mod tests;
mod view;
mod watch;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful::{Client, StoreError};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use self::baseline::Baselines;
use self::board::Acknowledged;
use self::evaluate::{Record, When, evaluate};
use self::judge::View;
use self::rules::RuleSet;
use self::sample::Ring;
use crate::labels::Labels;
use crate::look::Look;

pub use self::evaluate::State;
pub use self::options::AlertOptions;
pub use self::rules::{Rule, RuleChange, RuleChanges, Severity, Unit};
pub use self::view::{Acknowledgement, Alert, Alerts, RuleView};

pub(crate) use self::board::Board;
pub(crate) use self::watch::Watch;

/// What a server wrote within this time is taken as it is.
const FRESH: Duration = Duration::from_secs(60);
/// What can be told from one look at the store.
const AT_ONCE: [Rule; 7] = [
    Rule::Depth,
    Rule::Dead,
    Rule::Latency,
    Rule::Stalled,
    Rule::Store,
    Rule::NoWorkers,
    Rule::Overdue,
];

/// Why an alert could not be acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// There is none with this id.
    #[error("find the alert {0}: look with GET /v1/alerts or `dutiful alerts` for the ids")]
    Unknown(String),
    /// It does not fire.
    #[error("acknowledge the alert {id}: it is {}, and only a firing one can be", .state.as_str())]
    NotFiring {
        /// Which alert.
        id: String,
        /// Where it stands.
        state: State,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What [`read`] found.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The alerts.
    pub alerts: Alerts,
    /// True when no server had looked within a minute, so that this is what one look told now:
    /// rules that compare times are missing, and no condition had to hold for a while.
    pub at_once: bool,
}

/// Returns the alerts that a server wrote down; where none did within a minute, what one look at
/// the store tells.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub async fn read(client: &Client, options: &AlertOptions) -> Result<Seen, StoreError> {
    let board = Board::new(client.clone(), options.clone());
    let (now, looked) = (watch::now(), board.looked().await?);
    let fresh = options::ms(FRESH.max(options.every * 6));
    let at_once = looked.is_none_or(|at| now - at > fresh);
    let records = if at_once { look(&board, now).await? } else { board.records().await? };
    Ok(Seen { alerts: Alerts::of(records, looked, now), at_once })
}

/// Evaluates what can be told from a single look.
async fn look(board: &Board, now: i64) -> Result<Vec<Record>, StoreError> {
    let mut sample = board::in_time(watch::sample(&Look::new(board.client().clone()), now)).await?;
    sample.troubles.extend(watch::findings(board.client()).await);
    let mut ring = Ring::default();
    ring.push(sample, board.options.window_ms());
    let kept = board.kept().await?.into_iter().map(|(id, item)| (id, item.value));
    let before: BTreeMap<_, _> = kept.filter(|(_, one)| AT_ONCE.contains(&one.rule)).collect();
    let rules = RuleSet { at_once: true, ..board.rules().await?.0 };
    let baselines = Baselines::default();
    let view = View { ring: &ring, baselines: &baselines, window_ms: board.options.window_ms() };
    let when = When { now, settle_ms: 0, seamless: false };
    let found = evaluate(&rules, &view, &before, when).into_values();
    Ok(found.filter(|one| AT_ONCE.contains(&one.rule)).collect())
}

/// Writes down that somebody knows of a firing alert, and returns it as it then is. Dead jobs are
/// no alert any more until others die; any other alert goes on until its condition is gone.
///
/// # Errors
/// [`AcknowledgeError`].
pub async fn acknowledge(
    client: &Client,
    options: &AlertOptions,
    id: &str,
    by: &str,
) -> Result<Alert, AcknowledgeError> {
    let board = Board::new(client.clone(), options.clone());
    let seen = if read(client, options).await?.at_once {
        look(&board, watch::now()).await?.into_iter().find(|one| one.id() == id)
    } else {
        None
    };
    board.heard(id, seen, by).await
}

impl Board {
    /// Returns the alerts for the API.
    pub(crate) async fn alerts(&self) -> Result<Alerts, StoreError> {
        let records = self.records().await?;
        // While the store is away nobody can say, and the alert about that says enough.
        let looked = self.looked().await.ok().flatten();
        Ok(Alerts::of(records, looked, watch::now()))
    }

    /// Writes down that somebody knows of the alert that is kept, and has it told when it is over
    /// by that.
    pub(crate) async fn heard(
        &self,
        id: &str,
        seen: Option<Record>,
        by: &str,
    ) -> Result<Alert, AcknowledgeError> {
        match Self::acknowledge(self, id, seen, by, watch::now()).await? {
            Acknowledged::Done(record) => Ok(record.into()),
            Acknowledged::Unknown => Err(AcknowledgeError::Unknown(id.to_owned())),
            Acknowledged::NotFiring(state) => {
                Err(AcknowledgeError::NotFiring { id: id.to_owned(), state })
            }
        }
    }

    /// Adds how many alerts fire to a page of metrics, with zeros for what does not.
    pub(crate) async fn register(&self, registry: &mut Registry) {
        let firing: Family<Labels<2>, Gauge> = Family::default();
        let row = |rule: Rule, severity: Severity| {
            firing.get_or_create_owned(&[
                ("rule", rule.as_str().into()),
                ("severity", severity.as_str().into()),
            ])
        };
        for rule in Rule::ALL {
            for severity in [Severity::Warning, Severity::Critical] {
                row(rule, severity);
            }
        }
        let Ok(records) = self.records().await else { return };
        for record in records.iter().filter(|one| one.state == State::Firing) {
            row(record.rule, record.severity).inc();
        }
        registry.register("dutiful_alerts_firing", "Alerts that fire now", firing);
    }
}
