//! Push handlers: a job is sent to a URL, and the answer says what becomes of it.
//!
//! A [`Push`] holds what the targets of a process share: connections, circuit breakers, the
//! resolver. A [`Target`] is one URL with its secrets; [`Target::attempt`] is the handler.
//!
//! ```no_run
//! use dutiful::{Client, Name, Retry, TypeDefaults, Worker};
//! use dutiful_server::push::{Push, Secret, TargetSettings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let push = Push::new();
//! let target = push.target(TargetSettings {
//!     secrets: vec![Secret::parse(&std::env::var("SHOP_SECRET")?)?],
//!     ..TargetSettings::new("https://shop.example/jobs/send_email")
//! })?;
//! let client = Client::connect("sqlite:jobs.db").await?;
//! let defaults = TypeDefaults::unknown(Name::new("type", "send_email")?);
//! let worker = Worker::new(&client, ()).raw(defaults, Retry::DEFAULT, move |payload, cx| {
//!     let target = target.clone();
//!     async move { target.attempt(payload, &cx).await }
//! });
//! worker.run_until(dutiful::shutdown_signal()).await?;
//! # Ok(()) }
//! ```
//!
//! What is sent, and what each answer comes to, stands in the guide's page on push handlers.

mod address;
mod answer;
mod attempt;
mod breaker;
mod sign;
mod target;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::labels::lock;

pub use address::{Resolved, Resolver};
pub(crate) use breaker::Breakers;
pub use breaker::{BreakerChange, BreakerState};
pub use sign::{Secret, SecretError};
pub use target::{Target, TargetError, TargetSettings};

/// After so many failures of a target in a row its jobs wait.
pub const BREAKER_FAILURES: u32 = 5;
/// How long they wait at first; the wait doubles while it goes on.
pub const BREAKER_PAUSE: Duration = Duration::from_secs(10);

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Connections to a target that are kept while nothing is sent, and for how long.
const IDLE_CONNECTIONS_MAX: usize = 32;
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What all targets of a process share.
pub struct Push {
    resolver: Arc<dyn Resolver>,
    breakers: breaker::Settings,
    shared: std::sync::OnceLock<Breakers>,
    clients: Mutex<HashMap<Trust, reqwest::Client>>,
}

/// Whom a client may call and believe. Connections are shared among targets of the same trust only:
/// one that was opened to a private address must not serve a target that may not go there.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Trust {
    allow_private: bool,
    ca_pem: Option<Vec<u8>>,
}

impl Push {
    /// Returns one with the system's resolver and the usual circuit breakers.
    pub fn new() -> Self {
        let (failures, pause) = (BREAKER_FAILURES, BREAKER_PAUSE);
        Self {
            resolver: Arc::new(address::System),
            breakers: breaker::Settings { failures, pause, tell: None },
            shared: std::sync::OnceLock::new(),
            clients: Mutex::default(),
        }
    }

    /// Asks this resolver for the addresses of hosts, instead of the system.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Sets after how many failures in a row a target is left alone (at least 1), and for how long
    /// at first. Say it before the first [`target`](Self::target).
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        (self.breakers.failures, self.breakers.pause) = (failures.max(1), pause);
        self
    }

    /// Tells this function of each circuit breaker that changes its state. Say it before the first
    /// [`target`](Self::target).
    pub fn on_change(mut self, tell: impl Fn(&BreakerChange) + Send + Sync + 'static) -> Self {
        self.breakers.tell = Some(Arc::new(tell));
        self
    }

    /// Checks a target. Nobody is called yet.
    ///
    /// # Errors
    /// [`TargetError`] says what to write instead.
    pub fn target(&self, settings: TargetSettings) -> Result<Target, TargetError> {
        target::check(self, settings)
    }

    pub(crate) fn breakers(&self) -> &Breakers {
        self.shared.get_or_init(|| Breakers::new(self.breakers.clone()))
    }

    /// Returns the client for targets of this trust: no redirect is followed, no proxy of the
    /// environment asked, no cookie kept, and each connection goes to an address that was checked.
    fn client(&self, trust: Trust) -> Result<reqwest::Client, String> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&trust) {
            return Ok(client.clone());
        }
        let checked = address::Checked {
            resolver: self.resolver.clone(),
            allow_private: trust.allow_private,
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::settings(trust.ca_pem.as_deref())?)
            .dns_resolver(checked)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent(concat!("dutiful/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| attempt::causes(&error))?;
        clients.insert(trust, client.clone());
        Ok(client)
    }
}

impl Default for Push {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").finish_non_exhaustive()
    }
}
