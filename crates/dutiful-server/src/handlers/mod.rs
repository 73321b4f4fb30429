//! Push handlers that are registered over HTTP: what the store keeps of each, and what is checked
//! before any of it runs.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dutiful::store::KeepWhen;
use dutiful::{Client, Delivery, InvalidJob, Name, Retry, Settings, StoreError, TypeDefaults};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::push::{Push, Secret, Target, TargetSettings};
use crate::shelf::{Item, Shelf};

pub use self::run::{Registered, registered};

/// Most registrations of one store.
pub(crate) const HANDLERS_MAX: usize = 500;
/// Longest wait after a first failure that can be asked for, in seconds: no retry waits longer.
pub(crate) const RETRY_BASE_S_MAX: u64 = 86_400;
/// Jobs of one queue at once, where nothing is said.
const SLOTS: usize = 10;
/// Longest wait for one answer of the store.
const STORE_MAX: Duration = Duration::from_secs(5);

const HANDLERS: Shelf = Shelf("handlers");

/// What a process says of the push handlers that are registered over HTTP. The server that takes
/// registrations and the [`Registered`] that runs them share it: give both a clone of the same.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// Whether they may call this machine and private networks. Who registers a handler does not
    /// decide that.
    pub private: bool,
    /// The types that this process runs by itself: nobody registers one of them here.
    pub declared: BTreeSet<String>,
    /// Jobs at once by queue; 10 where nothing is said.
    pub slots: BTreeMap<String, usize>,
    /// What they share with other targets of this process: connections, circuit breakers.
    pub push: Arc<Push>,
    shared: Arc<Shared>,
}

/// What the server and the workers beside it tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// A registration changed here.
    changed: Notify,
    /// Somebody in this process runs what is registered.
    runs: AtomicBool,
}

/// A registered handler as it is kept; its type is the key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    pub(crate) queue: String,
    pub(crate) priority: Option<i64>,
    pub(crate) timeout_s: Option<u64>,
    pub(crate) max_attempts: Option<i64>,
    #[serde(default)]
    pub(crate) delivery: Delivery,
    pub(crate) retry_base_s: Option<u64>,
    #[serde(default)]
    pub(crate) discard_status: BTreeSet<u16>,
}

/// A registered handler, checked and ready to run.
pub(crate) struct Ready {
    pub(crate) defaults: TypeDefaults,
    pub(crate) retry: Retry,
    pub(crate) target: Target,
}

/// The URL may hold a secret too.
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("secrets", &self.secrets.len())
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl HandlerOptions {
    pub(crate) fn declares(&self, name: &Name) -> bool {
        self.declared.contains(name.as_str())
    }

    pub(crate) fn runs(&self) -> bool {
        self.shared.runs.load(Ordering::SeqCst)
    }

    /// Has this process look at once; the others look within a second.
    pub(crate) fn changed(&self) {
        self.shared.changed.notify_one();
    }

    fn slots_of(&self, queue: &Name) -> usize {
        self.slots.get(queue.as_str()).copied().unwrap_or(SLOTS).max(1)
    }
}

impl Registration {
    /// Checks everything; nobody is called yet. What is refused is said without the URL, of which
    /// a sentence has the host at most.
    pub(crate) fn ready(&self, name: &Name, options: &HandlerOptions) -> Result<Ready, String> {
        if options.declares(name) {
            return Err("this server declares the type itself, and that wins; strike one of the \
                        two"
            .to_owned());
        }
        let defaults = self.defaults(name).map_err(|error| error.to_string())?;
        Ok(Ready { defaults, retry: self.retry()?, target: self.target(options)? })
    }

    fn target(&self, options: &HandlerOptions) -> Result<Target, String> {
        let secrets: Result<_, _> = self.secrets.iter().map(|text| Secret::parse(text)).collect();
        let settings = TargetSettings {
            secrets: secrets.map_err(|error| error.to_string())?,
            discard_status: self.discard_status.iter().copied().collect(),
            allow_private: options.private,
            ..TargetSettings::new(&self.url)
        };
        options.push.target(settings).map_err(|error| error.to_string())
    }

    /// Returns the settings of jobs of this type, where an enqueue says nothing.
    fn defaults(&self, name: &Name) -> Result<TypeDefaults, InvalidJob> {
        let known = Settings {
            queue: Some(self.queue.clone()),
            priority: self.priority,
            max_attempts: self.max_attempts,
            timeout: self.timeout_s.map(Duration::from_secs),
            delivery: Some(self.delivery),
            ..Settings::default()
        };
        TypeDefaults::given(name.clone(), &known)
    }

    fn retry(&self) -> Result<Retry, String> {
        match self.retry_base_s {
            None => Ok(Retry::DEFAULT),
            Some(base @ 1..=RETRY_BASE_S_MAX) => Ok(Retry::exponential(Duration::from_secs(base))),
            Some(base) => Err(format!("the retry_base_s {base} is not 1 to {RETRY_BASE_S_MAX}")),
        }
    }
}

/// Returns what is registered, by type; what this program cannot read is left out.
pub(crate) async fn all(client: &Client) -> Result<Vec<Item<Registration>>, StoreError> {
    in_time(HANDLERS.range(client, "", None, false, HANDLERS_MAX)).await
}

pub(crate) async fn one(
    client: &Client,
    name: &Name,
) -> Result<Option<Item<Registration>>, StoreError> {
    in_time(HANDLERS.get(client, name.as_str())).await
}

/// Keeps a registration where nobody changed it since `before` was read; returns its version.
pub(crate) async fn keep(
    client: &Client,
    name: &Name,
    registration: &Registration,
    before: Option<i64>,
) -> Result<Option<i64>, StoreError> {
    let when = before.map_or(KeepWhen::Absent, KeepWhen::Version);
    in_time(HANDLERS.put(client, name.as_str(), registration, when, None)).await
}

/// Strikes a registration; says whether there was one.
pub(crate) async fn strike(client: &Client, name: &Name) -> Result<bool, StoreError> {
    in_time(HANDLERS.forget(client, name.as_str())).await
}

async fn in_time<T>(ask: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_MAX, ask).await.map_err(|_| StoreError::Timeout(STORE_MAX))?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn registration() -> Registration {
        let text = r#"{ "url": "https://a.example/hidden-path", "queue": "mail",
            "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] }"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn shows_neither_a_secret_nor_the_path_of_a_url() {
        let name = Name::new("type", "t").unwrap();
        let options = HandlerOptions::default();
        let ready = registration().ready(&name, &options).ok().unwrap();
        let shown = format!("{:?} {:?} {options:?}", registration(), ready.target);
        assert!(!shown.contains("MfKQ") && !shown.contains("hidden"), "{shown}");
        assert!(shown.contains("secrets: 1") && shown.contains("mail"), "{shown}");
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let name = Name::new("type", "t").unwrap();
        let ready = registration().ready(&name, &HandlerOptions::default()).ok().unwrap();
        let mut usual = TypeDefaults::unknown(name);
        usual.queue = Name::new("queue", "mail").unwrap();
        assert_eq!(ready.defaults, usual);
    }

    #[test]
    fn what_the_process_declares_does_not_run() {
        let name = Name::new("type", "t").unwrap();
        let mut options = HandlerOptions::default();
        options.declared.insert("t".to_owned());
        let why = registration().ready(&name, &options).err().unwrap();
        assert!(why.contains("declares the type itself"), "{why}");
    }
}
