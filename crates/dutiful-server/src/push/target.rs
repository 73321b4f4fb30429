//! A target: the URL of a handler, checked before anything is sent, and what belongs to it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use reqwest::Url;

use super::address;
use super::breaker::Breaker;
use super::sign::Secret;
use super::{Push, Trust};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// Most secrets of a target: each signs every request.
const SECRETS_MAX: usize = 8;
/// Largest file of certificates, in bytes.
const CA_BYTES_MAX: usize = 1024 * 1024;

/// What is said of a target. `Debug` shows neither the URL nor the secrets.
#[derive(Clone)]
pub struct TargetSettings {
    /// Where jobs are sent: `https://host/path`, or `http://` inside a network that is trusted.
    pub url: String,
    /// Each signs every request; none, and requests are not signed.
    pub secrets: Vec<Secret>,
    /// Statuses beside 409 and 410 that give a job up.
    pub discard_status: Vec<u16>,
    /// Also call this machine and private networks, such as 10.0.0.0/8.
    pub allow_private: bool,
    /// Authorities to believe beside the public ones: certificates in PEM.
    pub ca_pem: Option<Vec<u8>>,
}

impl TargetSettings {
    /// Returns the usual settings for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        let (secrets, discard_status) = (Vec::new(), Vec::new());
        Self { url: url.into(), secrets, discard_status, allow_private: false, ca_pem: None }
    }
}

impl fmt::Debug for TargetSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetSettings")
            .field("secrets", &self.secrets.len())
            .field("discard_status", &self.discard_status)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

/// Why nothing may be sent to a target. It repeats no more of the URL than its host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not a URL that can be called.
    #[error("the url {0}")]
    Url(String),
    /// It leads to an address that may not be called.
    #[error("{0}")]
    Address(String),
    /// Too many secrets.
    #[error("it has {0} secrets and the limit is {SECRETS_MAX}; strike those that are replaced")]
    Secrets(usize),
    /// Not a status that gives a job up.
    #[error("{0} is not a status from 300 to 599, which alone can discard a job")]
    Status(u16),
    /// Not certificates.
    #[error("the certificates cannot be used: {0}")]
    Certificates(String),
}

/// A URL that jobs are sent to. Cheap to clone; `Debug` shows scheme, host and port.
#[derive(Clone)]
pub struct Target {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) url: Url,
    /// Scheme, host and port: what logs, metrics and errors call it.
    pub(super) origin: String,
    pub(super) secrets: Vec<Secret>,
    pub(super) discard: Vec<u16>,
    pub(super) client: reqwest::Client,
    pub(super) breaker: Arc<Breaker>,
}

impl Target {
    /// Returns scheme, host and port, without what may be secret in the rest of the URL.
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.inner.origin).finish()
    }
}

pub(super) fn check(push: &Push, settings: TargetSettings) -> Result<Target, TargetError> {
    let TargetSettings { url, secrets, discard_status: discard, allow_private, ca_pem } = settings;
    let (url, origin) = parse(&url, allow_private)?;
    if secrets.len() > SECRETS_MAX {
        return Err(TargetError::Secrets(secrets.len()));
    }
    if let Some(status) = discard.iter().find(|status| !(300..=599).contains(*status)) {
        return Err(TargetError::Status(*status));
    }
    if ca_pem.as_ref().is_some_and(|pem| pem.len() > CA_BYTES_MAX) {
        return Err(TargetError::Certificates(format!("it is larger than {CA_BYTES_MAX} bytes")));
    }
    let client = push.client(Trust { allow_private, ca_pem }).map_err(TargetError::Certificates)?;
    let breaker = push.breakers().of(&origin);
    Ok(Target { inner: Arc::new(Inner { url, origin, secrets, discard, client, breaker }) })
}

/// Reads a URL and returns it with its origin. A host that is an address is checked now, in
/// whatever form it is written; one that is a name when it is resolved.
fn parse(text: &str, allow_private: bool) -> Result<(Url, String), TargetError> {
    let refused = |why: String| Err(TargetError::Url(why));
    if text.len() > URL_BYTES_MAX {
        return refused(format!("has {} bytes and the limit is {URL_BYTES_MAX}", text.len()));
    }
    // Parsers leave such characters out, so that another reader would see another URL.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) || text.contains('\\') {
        return refused("has a blank, a control character or a backslash; encode it".into());
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return refused(format!("is not one ({error}); write https://host/path")),
    };
    if !["http", "https"].contains(&url.scheme()) {
        return refused(format!("has the scheme {}; only http and https are called", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() || before_path(text).contains('@') {
        return refused("has a user or password in it; use secrets to prove who calls".into());
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return refused("has no host; write https://host/path".into());
    };
    if port == 0 {
        return refused("has the port 0, on which nobody listens".into());
    }
    if let Some(ip) = literal(host) {
        let checked = address::check(host, ip, allow_private);
        checked.map_err(|refused| TargetError::Address(refused.to_string()))?;
    }
    let origin = format!("{}://{host}:{port}", url.scheme());
    Ok((url, origin))
}

/// Returns the part of a URL that names whom to call.
fn before_path(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Returns the address that a host is; the parser has turned every form of one into the usual one.
fn literal(host: &str) -> Option<IpAddr> {
    let name = host.trim_end_matches('.');
    if name == "localhost" || name.ends_with(".localhost") {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    host.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Every way to write this machine, its network or the metadata of clouds, and what else is no
    /// URL of a service; none of it may be called.
    const HOSTILE: [&str; 66] = [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://0x7F.0x0.0x0.0x1/",
        "http://127.0.0.1./",
        "http://127.255.255.254:8080/x",
        "http://%31%32%37.0.0.1/",
        "http://１２７.０.０.１/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://0/",
        "http://0.0.0.0/",
        "http://000.0.0.0/",
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://a.localhost/",
        "http://ｌocalhost/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]:80/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/latest/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://0251.0376.0251.0376/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://10.0.0.1/",
        "http://10.1/",
        "http://012.0.0.1/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://198.18.0.1/",
        "http://192.0.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://user@a.example/",
        "http://:pass@a.example/",
        "http://@a.example/",
        "http://1.1.1.1 &@127.0.0.1/",
        "gopher://a.example/",
        "file:///etc/passwd",
        "ftp://a.example/",
        "http://a.example:0/",
        "http:\\\\127.0.0.1\\",
        "http://a.example\t/\r\nx: y",
    ];

    fn refused(url: &str) -> String {
        let target = Push::new().target(TargetSettings::new(url));
        target.err().unwrap_or_else(|| panic!("{url} was accepted")).to_string()
    }

    #[test]
    fn refuses_a_corpus_of_hostile_urls() {
        for url in HOSTILE {
            refused(url);
        }
        for url in ["", "a.example", "//a.example/", "http://", "https:///", "data:,x", "http://["]
        {
            refused(url);
        }
        assert!(refused(&format!("https://a.example/{}", "x".repeat(2100))).contains("limit"));
    }

    #[test]
    fn allows_a_private_address_where_it_was_said_and_metadata_never() {
        let allowed = |url: &str| {
            let private = TargetSettings { allow_private: true, ..TargetSettings::new(url) };
            Push::new().target(private)
        };
        for url in ["http://127.1:8080/", "http://10.0.0.1/", "http://[::1]/", "http://localhost/"]
        {
            assert!(allowed(url).is_ok(), "{url}");
        }
        for url in ["http://169.254.169.254/", "http://0xa9fea9fe/", "http://[fd00:ec2::254]/"] {
            let error = allowed(url).unwrap_err().to_string();
            assert!(error.contains("never called"), "{error}");
        }
    }

    #[test]
    fn names_a_target_by_its_origin_only() {
        let push = Push::new();
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let settings = TargetSettings {
            secrets: vec![secret],
            ..TargetSettings::new("https://A.example/jobs?token=hidden")
        };
        assert!(!format!("{settings:?}").contains("hidden"));
        let target = push.target(settings).unwrap();
        assert_eq!(target.origin(), "https://a.example:443");
        assert_eq!(format!("{target:?} {push:?}"), "Target(\"https://a.example:443\") Push { .. }");
        for url in ["https://me:hidden@a.example/", "hidden", "https://a example/hidden"] {
            assert!(!refused(url).contains("hidden"), "{url}");
        }
    }

    #[test]
    fn refuses_settings_that_cannot_be_meant() {
        let with = |change: fn(&mut TargetSettings)| {
            let mut settings = TargetSettings::new("https://a.example/");
            change(&mut settings);
            Push::new().target(settings).unwrap_err().to_string()
        };
        assert!(with(|settings| settings.discard_status = vec![404, 200]).contains("200 is not"));
        assert!(with(|settings| settings.ca_pem = Some(vec![])).contains("no certificate"));
        let secret = || Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let many = vec![secret(); 9];
        let settings =
            TargetSettings { secrets: many, ..TargetSettings::new("https://a.example/") };
        assert_eq!(Push::new().target(settings).unwrap_err(), TargetError::Secrets(9));
    }

    #[test]
    fn shares_a_client_only_among_targets_of_the_same_trust() {
        let push = Push::new();
        let target = |allow_private| {
            let settings = TargetSettings::new("https://a.example/");
            push.target(TargetSettings { allow_private, ..settings }).unwrap()
        };
        let (one, _two, _other) = (target(false), target(false), target(true));
        assert_eq!(push.clients.lock().unwrap().len(), 2);
        assert!(Arc::ptr_eq(&one.inner.breaker, &target(true).inner.breaker));
    }
}
