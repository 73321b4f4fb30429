//! Who asks, and what they may do: the gate that every route's scope is held against.
//!
//! A caller is known by a token, by the session of somebody who signed in, or by the word of a
//! proxy. Where none of these is configured, everything is open to whoever reaches the server.

mod cookie;
pub(crate) mod password;
mod rate;
pub(crate) mod scopes;
pub(crate) mod sessions;
pub mod tokens;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use dutiful::Client;

use self::rate::Rates;
use self::scopes::{Scope, Scopes};
use self::sessions::Sessions;
use self::tokens::{Record, Tokens};
use crate::options::{AccessOptions, ProxyOptions};

pub(crate) use self::cookie::{clearing, setting};

/// Longest name of a person that a proxy sends, in bytes.
const PERSON_MAX: usize = 128;

/// What is asked before anybody may do anything.
pub(crate) struct Gate {
    options: AccessOptions,
    pub(crate) tokens: Tokens,
    pub(crate) sessions: Sessions,
    pub(crate) passwords: password::Guesses,
    rates: Rates,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// For people: the name of a token, or of a person.
    pub(crate) actor: String,
    pub(crate) scopes: Scopes,
    /// The only queues to enqueue into and work on; all where nothing is said.
    pub(crate) queues: Option<Vec<String>>,
    /// False where nobody is asked who they are.
    pub(crate) known: bool,
}

impl Caller {
    fn anybody() -> Self {
        Self { actor: "anybody".to_owned(), scopes: Scopes::ALL, queues: None, known: false }
    }

    fn of_token(record: &Record) -> Self {
        Self {
            actor: format!("{} ({})", record.name, record.id),
            scopes: record.scopes,
            queues: Some(record.queues.clone()).filter(|queues| !queues.is_empty()),
            known: true,
        }
    }

    pub(crate) fn may_use(&self, queue: &str) -> bool {
        self.queues.as_ref().is_none_or(|own| own.iter().any(|name| name == queue))
    }

    /// Whether redacted fields are shown: only to those who showed that they may see all.
    pub(crate) fn sees_all(&self) -> bool {
        self.known && self.scopes.has(Scope::Admin)
    }
}

/// Why somebody may not.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Nobody is known by what was sent.
    Unknown(&'static str),
    /// Known, and not allowed this.
    Lesser(Scope),
    /// A session sends no change without saying where it comes from.
    Unsaid,
    /// Too often; again after this long.
    Often(Duration),
    /// It could not be found out.
    Unavailable(String),
}

impl Gate {
    pub(crate) fn new(client: Client, options: AccessOptions) -> Self {
        Self {
            tokens: Tokens::new(client.clone()),
            sessions: Sessions::new(client),
            passwords: password::Guesses::default(),
            rates: Rates::default(),
            options,
        }
    }

    /// True where nobody is asked for credentials.
    pub(crate) async fn is_open(&self) -> Result<bool, String> {
        Ok(!self.options.is_closed() && self.tokens.all().await?.is_empty())
    }

    pub(crate) fn password_hash(&self) -> Option<&str> {
        self.options.password_hash.as_deref()
    }

    /// Returns who asks, if they may do what the scope allows.
    pub(crate) async fn admit(&self, parts: &Parts, scope: Scope) -> Result<Caller, Refusal> {
        let caller = self.caller(parts).await?;
        if !caller.scopes.has(scope) {
            return Err(Refusal::Lesser(scope));
        }
        Ok(caller)
    }

    /// Returns who asks.
    pub(crate) async fn caller(&self, parts: &Parts) -> Result<Caller, Refusal> {
        let tokens = self.tokens.all().await.map_err(Refusal::Unavailable)?;
        if !self.options.is_closed() && tokens.is_empty() {
            return Ok(Caller::anybody());
        }
        if parts.headers.contains_key(header::AUTHORIZATION) {
            let given = bearer(&parts.headers);
            let record = given.and_then(|given| tokens.by_secret(given));
            let wrong =
                "the token is unknown, revoked or expired; send `Authorization: Bearer TOKEN`";
            return self.on_behalf(record.ok_or(Refusal::Unknown(wrong))?);
        }
        if let Some(secret) = cookie::session(&parts.headers) {
            let found = self.sessions.find(&secret).await.map_err(Refusal::Unavailable)?;
            if let Some(session) = found.filter(|one| one.is_of(self.password_hash())) {
                if !parts.method.is_safe() && !cookie::says_where_from(&parts.headers) {
                    return Err(Refusal::Unsaid);
                }
                return match &session.token {
                    None => Ok(session.caller()),
                    Some(id) => self.on_behalf(tokens.by_id(id).ok_or(SIGN_IN)?),
                };
            }
        }
        self.by_proxy(parts).ok_or(SIGN_IN)
    }

    fn on_behalf(&self, record: &Record) -> Result<Caller, Refusal> {
        self.rates.take(&record.id, record.rate_per_s).map_err(Refusal::Often)?;
        self.tokens.used(record);
        Ok(Caller::of_token(record))
    }

    /// Believes a proxy that stands where one may.
    fn by_proxy(&self, parts: &Parts) -> Option<Caller> {
        let ProxyOptions { header, from, scopes } = self.options.proxy.as_ref()?;
        let ConnectInfo(Peer(peer)) = parts.extensions.get::<ConnectInfo<Peer>>()?;
        if !from.iter().any(|one| one.to_canonical() == peer.ip().to_canonical()) {
            return None;
        }
        let mut said = parts.headers.get_all(header.as_str()).iter();
        // Of two one was sent by the person, and who knows which.
        let (Some(name), None) = (said.next(), said.next()) else { return None };
        let name = name.to_str().ok().map(str::trim)?;
        let good = !name.is_empty() && name.len() <= PERSON_MAX;
        let scopes = Scopes::named(scopes.iter().map(String::as_str)).ok()?;
        good.then(|| Caller { actor: name.to_owned(), scopes, queues: None, known: true })
    }
}

const SIGN_IN: Refusal =
    Refusal::Unknown("credentials are needed: sign in, or send `Authorization: Bearer TOKEN`");

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl AccessOptions {
    /// True where everybody is asked for credentials, whatever tokens there are.
    pub(crate) fn is_closed(&self) -> bool {
        self.required || self.password_hash.is_some() || self.proxy.is_some()
    }

    /// Looks for what cannot be meant.
    ///
    /// # Errors
    /// A sentence that says what and what to do.
    pub fn check(&self) -> Result<(), String> {
        if let Some(hash) = &self.password_hash {
            password::check_hash(hash)?;
        }
        if let Some(proxy) = &self.proxy {
            Scopes::named(proxy.scopes.iter().map(String::as_str))?;
            if axum::http::HeaderName::try_from(&proxy.header).is_err() {
                return Err(format!("{:?} is no name of a header", proxy.header));
            }
            if proxy.from.iter().any(IpAddr::is_unspecified) {
                let sentence = "a proxy is believed from its own address, not from 0.0.0.0 or ::";
                return Err(sentence.to_owned());
            }
        }
        Ok(())
    }
}

/// Returns the token in the header, if there is one and only one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = one.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
