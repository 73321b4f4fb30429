//! What a server is told beside its client: who may do what, and what nobody is shown.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dutiful::Clock;

use crate::alerts::AlertOptions;
use crate::handlers::HandlerOptions;
use crate::notify::NotifyTargets;

/// What a server is told beside its client. Without anything said, everything is open to whoever
/// reaches it, which only this machine does.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Who may do what.
    pub access: AccessOptions,
    /// Fields of payloads that are shown to nobody without the scope `admin`, by type: names, or
    /// paths such as `card.number`.
    pub redact: BTreeMap<String, Vec<String>>,
    /// Who is told of alerts.
    pub notify: NotifyTargets,
    /// What time it is for the history; in tests it is one that somebody moves.
    pub clock: Clock,
    /// How alerts are looked after.
    pub alerts: AlertOptions,
    /// What goes for push handlers that are registered over HTTP.
    pub handlers: HandlerOptions,
}

/// Who may do what.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct AccessOptions {
    /// Ask everybody for credentials, though none are configured yet. Where a password, a proxy or
    /// a token is there, everybody is asked in any case.
    pub required: bool,
    /// The operators' password as an Argon2 hash in PHC form (`$argon2id$v=19$…`).
    pub password_hash: Option<String>,
    /// Hosts that are answered for, beside loopback addresses: names or addresses, without a port.
    pub hosts: Vec<String>,
    /// A proxy that asks people who they are.
    pub proxy: Option<ProxyOptions>,
}

/// A proxy that asks people who they are, and says so in a header of each request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyOptions {
    /// The header with the name of the person, such as `X-Forwarded-User`.
    pub header: String,
    /// From where it is believed; loopback addresses where nothing is said.
    pub from: Vec<IpAddr>,
    /// What such a person may do: `read`, `enqueue`, `work`, `operate`, `admin`.
    pub scopes: Vec<String>,
}

impl ProxyOptions {
    /// Believes this header, from this machine, and lets people look and operate.
    pub fn new(header: impl Into<String>) -> Self {
        let from = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let scopes = ["read", "operate"].map(str::to_owned).to_vec();
        Self { header: header.into(), from, scopes }
    }
}

/// A hash is no password, and nobody's business all the same.
impl fmt::Debug for AccessOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessOptions")
            .field("required", &self.required)
            .field("password_hash", &self.password_hash.as_ref().map(|_| "…"))
            .field("hosts", &self.hosts)
            .field("proxy", &self.proxy)
            .finish()
    }
}
