//! What operators did: an entry is written before anything is done, and how it went afterwards. No
//! route changes or removes an entry; the store drops it when it is old.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dutiful::store::KeepWhen;
use dutiful::{Client, StoreError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::labels::lock;
use crate::shelf::{Item, Shelf};

/// How long an entry is kept.
const KEPT: Duration = Duration::from_secs(400 * 86_400);

const AUDIT: Shelf = Shelf("audit");

/// One thing that somebody did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    at_us: i64,
    pub(crate) actor: String,
    /// What was done: `jobs.retry`, `queues.pause`, …
    pub(crate) action: String,
    /// To what: the id of a job, the name of a queue, …; empty for many.
    pub(crate) subject: String,
    /// More about it; nothing of a payload.
    pub(crate) detail: Value,
    /// The status of the answer; `None` when the server ended before it had one.
    pub(crate) status: Option<u16>,
}

impl Entry {
    pub(crate) fn at(&self) -> Timestamp {
        Timestamp::from_us(self.at_us)
    }
}

/// An entry that is written, and whose end is not known yet.
pub(crate) struct Open {
    key: String,
    version: i64,
    entry: Mutex<Entry>,
}

/// The place in a request where what it does is written down.
#[derive(Clone, Default)]
pub(crate) struct Slot(pub(crate) Arc<Mutex<Option<Arc<Open>>>>);

impl Open {
    /// Writes what is about to be done; where that fails nothing must be.
    pub(crate) async fn write(
        client: &Client,
        (actor, action, subject): (String, String, String),
    ) -> Result<Arc<Self>, StoreError> {
        let now = Timestamp::from_system(SystemTime::now())
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (at_us, detail, status) = (now.us(), Value::Null, None);
        let entry = Entry { at_us, actor, action, subject, detail, status };
        let key = Uuid::now_v7().to_string();
        let version = AUDIT.put(client, &key, &entry, KeepWhen::Absent, Some(KEPT)).await?;
        let (version, entry) = (version.unwrap_or_default(), Mutex::new(entry));
        Ok(Arc::new(Self { key, version, entry }))
    }

    pub(crate) fn detail(&self, detail: Value) {
        lock(&self.entry).detail = detail;
    }

    /// Writes how it went. Where that fails the entry stays, and says that it is not known.
    pub(crate) async fn close(&self, client: &Client, status: u16) {
        let entry = Entry { status: Some(status), ..lock(&self.entry).clone() };
        let when = KeepWhen::Version(self.version);
        let _ = AUDIT.put(client, &self.key, &entry, when, Some(KEPT)).await;
    }
}

/// Returns entries, newest first, older than a key.
pub(crate) async fn page(
    client: &Client,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<Item<Entry>>, StoreError> {
    AUDIT.range(client, "", before, true, limit).await
}
