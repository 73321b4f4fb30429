//! What dutiful.toml says of a server: where it listens, who may do what, and what nobody is shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dutiful_server::{Options, ProxyOptions};
use serde::Deserialize;

use crate::failure::Failure;
use crate::settings::Settings;

/// The variable with the hash of the operators' password.
const PASSWORD_HASH: &str = "DUTIFUL_PASSWORD_HASH";

/// `[serve]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServeConfig {
    /// Where to listen.
    pub(crate) listen: Option<String>,
    /// Ask everybody for credentials.
    #[serde(default)]
    pub(crate) auth: bool,
    /// The hash of the operators' password, as `dutiful password` prints it.
    pub(crate) password_hash: Option<String>,
    /// Hosts that are answered for, beside loopback addresses.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Whether handlers that are registered over HTTP may call this machine and private networks.
    #[serde(default)]
    pub(crate) private_handlers: bool,
    /// A proxy that says who people are.
    pub(crate) proxy: Option<ProxyConfig>,
}

/// `[serve.proxy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyConfig {
    /// The header with the name of the person.
    pub(crate) header: String,
    /// The proxy's addresses; loopback where nothing is said.
    pub(crate) from: Option<Vec<IpAddr>>,
    /// What such a person may do; read and operate where nothing is said.
    pub(crate) scopes: Option<Vec<String>>,
}

/// `[redact]`: types, each with the fields of its payloads that are hidden.
pub(crate) type RedactConfig = BTreeMap<String, Vec<String>>;

/// Puts together what a server is told.
pub(crate) fn options(settings: &Settings, auth: bool) -> Result<Options, Failure> {
    let config = &settings.config.serve;
    let mut options = Options::default();
    options.redact = settings.config.redact.clone();
    let wrong = |why| Failure::usage(format!("serve: {why}"));
    options.alerts = settings.config.alerts.options().map_err(wrong)?;
    options.access.required = auth || config.auth;
    options.access.hosts = config.hosts.clone();
    let given = std::env::var(PASSWORD_HASH).ok().filter(|hash| !hash.is_empty());
    options.access.password_hash = given.or_else(|| config.password_hash.clone());
    options.access.proxy = config.proxy.as_ref().map(|given| {
        let mut proxy = ProxyOptions::new(&given.header);
        proxy.from = given.from.clone().unwrap_or(proxy.from);
        proxy.scopes = given.scopes.clone().unwrap_or(proxy.scopes);
        proxy
    });
    let refused = |why| Failure::usage(format!("serve: in [serve] or {PASSWORD_HASH}: {why}"));
    options.access.check().map_err(refused)?;
    Ok(options)
}
