//! Where alerts stand so that every server shows the same: in the store, and what a server knows by
//! itself while the store is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dutiful::store::KeepWhen;
use dutiful::{Client, StoreError};
use serde::{Deserialize, Serialize};

use super::evaluate::{Record, State};
use super::options::AlertOptions;
use super::rules::{RuleChanges, RuleSet};
use crate::labels::lock;
use crate::shelf::{Item, Shelf};

/// Most alerts that are read: more than all rules make for all queues that are watched.
const ALERTS_MAX: usize = 4000;
/// How often an acknowledgement is tried that somebody's write came before.
const TRIES: usize = 5;
/// Longest wait for one answer of the store.
pub(super) const STORE_MAX: Duration = Duration::from_secs(5);

const ALERTS: Shelf = Shelf("alerts");
const RULES: Shelf = Shelf("alert_rules");
const RULES_KEY: &str = "rules";
const LOOKED: Shelf = Shelf("alerts_looked");
const LOOKED_KEY: &str = "last";

/// When somebody looked the last time, in ms since 1970.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Looked {
    pub(super) at: i64,
}

/// The alerts of a store, as one server sees them.
pub(crate) struct Board {
    client: Client,
    pub(super) options: AlertOptions,
    memory: Mutex<Memory>,
}

/// What is known here while the store cannot be asked.
#[derive(Default)]
struct Memory {
    last: BTreeMap<String, Record>,
    /// What is said of the store while it is away, which nobody could write down there.
    away: Option<Record>,
}

/// Returns what the store answers, if it does in time.
pub(super) async fn in_time<T>(
    ask: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable("get an answer of the store within 5 s".to_owned());
    tokio::time::timeout(STORE_MAX, ask).await.map_err(late)?
}

impl Board {
    pub(crate) fn new(client: Client, options: AlertOptions) -> Arc<Self> {
        Arc::new(Self { client, options, memory: Mutex::default() })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the alerts as every server shows them.
    pub(super) async fn kept(&self) -> Result<BTreeMap<String, Item<Record>>, StoreError> {
        let items = in_time(ALERTS.range::<Record>(&self.client, "", None, false, ALERTS_MAX));
        let items = items.await?;
        let last = items.iter().map(|one| (one.key.clone(), one.value.clone())).collect();
        lock(&self.memory).last = last;
        Ok(items.into_iter().map(|one| (one.key.clone(), one)).collect())
    }

    /// Returns all alerts; while the store is away, those that were there before and that it is.
    pub(crate) async fn records(&self) -> Result<Vec<Record>, StoreError> {
        let answer = self.kept().await.map(drop);
        let memory = lock(&self.memory);
        let mut records = memory.last.clone();
        match (&memory.away, answer) {
            (Some(away), _) => {
                records.insert(away.id(), away.clone());
            }
            (None, answer) => answer?,
        }
        Ok(records.into_values().collect())
    }

    pub(super) fn away(&self) -> Option<Record> {
        lock(&self.memory).away.clone()
    }

    pub(super) fn set_away(&self, record: Option<Record>) {
        lock(&self.memory).away = record;
    }

    /// Writes an alert down where nobody wrote since `before` was read; returns its version.
    pub(super) async fn put(
        &self,
        record: &Record,
        before: Option<i64>,
    ) -> Result<Option<i64>, StoreError> {
        let when = before.map_or(KeepWhen::Absent, KeepWhen::Version);
        in_time(ALERTS.put(&self.client, &record.id(), record, when, None)).await
    }

    pub(super) async fn forget(&self, id: &str) -> Result<bool, StoreError> {
        in_time(ALERTS.forget(&self.client, id)).await
    }

    pub(super) async fn looked(&self) -> Result<Option<i64>, StoreError> {
        let looked = in_time(LOOKED.get::<Looked>(&self.client, LOOKED_KEY)).await?;
        Ok(looked.map(|item| item.value.at))
    }

    pub(super) async fn set_looked(&self, at: i64) -> Result<(), StoreError> {
        let looked = Looked { at };
        let put = LOOKED.put(&self.client, LOOKED_KEY, &looked, KeepWhen::Always, None);
        in_time(put).await.map(drop)
    }

    /// Returns the rules, with the version of what is kept of them.
    pub(crate) async fn rules(&self) -> Result<(RuleSet, Option<i64>), StoreError> {
        let item = in_time(RULES.get::<RuleChanges>(&self.client, RULES_KEY)).await?;
        let version = item.as_ref().map(|item| item.version);
        let kept = item.map(|item| item.value).unwrap_or_default();
        let file = self.options.rules.clone();
        Ok((RuleSet { file, kept, at_once: false }, version))
    }

    /// Keeps what is to be otherwise; false when it is not the version that was expected.
    pub(crate) async fn set_rules(
        &self,
        changes: &RuleChanges,
        expected: Option<i64>,
    ) -> Result<bool, StoreError> {
        let when = expected.map_or(KeepWhen::Always, KeepWhen::Version);
        let put = RULES.put(&self.client, RULES_KEY, changes, when, None);
        Ok(in_time(put).await?.is_some())
    }

    /// Writes down that a person knows of an alert: of the one that is kept, or of one that nobody
    /// wrote down yet. Returns it as it then is.
    pub(super) async fn acknowledge(
        &self,
        id: &str,
        seen: Option<Record>,
        by: &str,
        now: i64,
    ) -> Result<Acknowledged, StoreError> {
        for _ in 0..TRIES {
            let item = in_time(ALERTS.get::<Record>(&self.client, id)).await?;
            let version = item.as_ref().map(|item| item.version);
            let found = seen.clone().or(item.map(|item| item.value));
            let Some(mut record) = found else { return Ok(Acknowledged::Unknown) };
            if !record.acknowledge(by, now) {
                return Ok(Acknowledged::NotFiring(record.state));
            }
            if self.put(&record, version).await?.is_some() {
                return Ok(Acknowledged::Done(record));
            }
        }
        Err(StoreError::Unavailable("write the acknowledgement: others write it too".to_owned()))
    }
}

/// What became of an acknowledgement.
pub(super) enum Acknowledged {
    Done(Record),
    Unknown,
    NotFiring(State),
}
