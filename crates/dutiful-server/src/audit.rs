//! What operators did: an entry is written before anything is done, and how it went afterwards. No
//! route changes or removes an entry; the store drops it when it is old.
//!
//! A server writes down what is asked of it. A program that changes a store itself does so with
//! [`written`].

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

/// What somebody does to a store without a server.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Who it is, for people.
    pub actor: String,
    /// What is done, named as a server does: `jobs.retry`, `queues.pause`, …
    pub action: String,
    /// To what: the id of a job, the name of a queue, …; empty for many.
    pub subject: String,
    /// More about it; nothing of a payload.
    pub detail: Value,
}

/// Writes a deed down, does it, and writes down how it went: 200 where it was done, 500 where it
/// failed, and nothing where the program ended before it knew.
///
/// # Errors
/// Those of the deed; and [`dutiful::Error::Store`] where it could not be written down, so that
/// nothing was done.
pub async fn written<T, E: From<dutiful::Error>>(
    client: &Client,
    deed: Deed,
    doing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Deed { actor, action, subject, detail } = deed;
    let about = (actor, action, subject);
    let open = Open::write_with(client, about, detail).await.map_err(dutiful::Error::from)?;
    let done = doing.await;
    open.close(client, if done.is_ok() { 200 } else { 500 }).await;
    done
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
        about: (String, String, String),
    ) -> Result<Arc<Self>, StoreError> {
        Self::write_with(client, about, Value::Null).await
    }

    async fn write_with(
        client: &Client,
        (actor, action, subject): (String, String, String),
        detail: Value,
    ) -> Result<Arc<Self>, StoreError> {
        let now = Timestamp::from_system(SystemTime::now())
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (at_us, status) = (now.us(), None);
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
