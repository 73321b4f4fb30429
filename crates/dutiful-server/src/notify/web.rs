//! Notifications that are posted: over TLS with the authorities that browsers believe, signed by
//! the Standard Webhooks specification where there is a secret.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use dutiful::{HandlerError, JobId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Response, Url, header};
use sha2::Sha256;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// Longest wait for a connection, and for the whole of an answer's head.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest wait that a receiver can ask for.
const RETRY_AFTER_MAX: u64 = 3600;
/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Shortest and longest key in bytes, as the specification has them.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A URL to post to.
pub(super) struct Web {
    url: Url,
    client: Client,
}

/// A key for signatures.
pub(super) struct Secret(Vec<u8>);

impl Web {
    pub(super) fn new(what: &str, url: &str) -> Result<Self, String> {
        // The error of the parser may repeat the URL, which is as good as a password at Slack.
        let wrong = || format!("has no URL as {what}; write {what} = \"https://host/path\"");
        let url = Url::parse(url).ok().filter(|_| url.len() <= URL_BYTES_MAX).ok_or_else(wrong)?;
        if !["https", "http"].contains(&url.scheme()) || !url.has_host() {
            return Err(wrong());
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            // A redirected POST would arrive as a GET, or elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .user_agent(concat!("dutiful/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| "cannot be called: TLS does not start on this machine".to_owned())?;
        Ok(Self { url, client })
    }

    /// Posts JSON; anything but a success is an error that names no address.
    pub(super) async fn post(
        &self,
        id: JobId,
        body: Vec<u8>,
        secret: Option<&Secret>,
    ) -> dutiful::Result<()> {
        let (id, at) = (id.to_string(), now_s());
        let mut request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", at);
        if let Some(secret) = secret {
            request = request.header("webhook-signature", secret.sign(&id, at, &body));
        }
        match request.body(body).send().await {
            Ok(answer) => verdict(&answer),
            Err(error) => Err(unsent(error)),
        }
    }
}

fn verdict(answer: &Response) -> dutiful::Result<()> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let hint = match status.is_redirection() {
        true => "; it was not followed: write the address to which it leads",
        false => "",
    };
    let text = format!("the receiver answered with status {}{hint}", status.as_u16());
    let error = HandlerError::msg(text).with_class(format!("status {}", status.as_u16()));
    let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    match wait.and_then(|text| text.parse::<u64>().ok()) {
        Some(wait) if matches!(status.as_u16(), 429 | 503) => {
            Err(HandlerError::retry_after(Duration::from_secs(wait.min(RETRY_AFTER_MAX)), error))
        }
        _ => Err(error),
    }
}

/// Says why nothing came back, without the URL.
fn unsent(error: reqwest::Error) -> HandlerError {
    let what = if error.is_timeout() {
        "did not answer in time"
    } else if error.is_connect() {
        "could not be reached"
    } else {
        "did not answer"
    };
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    HandlerError::msg(format!("the receiver {what}: {cause}")).with_class("unreachable")
}

impl Secret {
    /// Reads `whsec_` and base64; the error never repeats the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let coded = text.strip_prefix(SECRET_PREFIX).map(|coded| coded.trim_end_matches('='));
        let key = coded.and_then(|coded| STANDARD_NO_PAD.decode(coded).ok());
        let key = key.filter(|key| KEY_BYTES.contains(&key.len()));
        key.map(Self).ok_or_else(|| {
            "has a secret that is not whsec_ and 24 to 64 bytes in base64; make one with \
             `echo whsec_$(openssl rand -base64 32)`"
                .to_owned()
        })
    }

    pub(super) fn sign(&self, id: &str, at: u64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The provider is named here, so that no default of the process is needed or set.
fn tls() -> Result<rustls::ClientConfig, String> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot be called: {error}"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn signs_the_published_vector() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = secret.sign(id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn refuses_what_is_no_url_without_repeating_it() {
        for bad in
            ["", "hooks.slack.test/T0/sesame", "ftp://h/sesame", "https://", "https://:sesame"]
        {
            let why = Web::new("slack", bad).err().unwrap();
            assert!(why.contains("slack = \"https://") && !why.contains("sesame"), "{why}");
        }
        assert!(Web::new("url", "https://ops.example.com/hook?token=1").is_ok());
    }
}
