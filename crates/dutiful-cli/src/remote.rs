//! A server asked over HTTP: its answers as values, its problems as the ends of sentences.

use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Longest wait for a connection, and for a whole answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// A server, by its URL.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    base: Url,
    http: Client,
}

/// Why a server did not do what it was asked: the end of a sentence that begins with "failed to".
#[derive(Clone, Debug)]
pub(crate) struct RemoteError {
    status: Option<u16>,
    text: String,
}

impl RemoteError {
    /// True when the server says that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND.as_u16())
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::failed(error.text)
    }
}

/// What a server says when it refuses (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Remote {
    /// Prepares to ask the server at this URL, with a token where it asks for one. Over a network
    /// in the clear that is sent only where the caller says so.
    pub(crate) fn new(server: &str, token: Option<&str>, in_clear: bool) -> Result<Self, Failure> {
        let refused = |why: String| Failure::usage(format!("ask the server {server:?}: {why}"));
        let example = "write a URL such as http://127.0.0.1:7700";
        let mut base = Url::parse(server).map_err(|why| refused(format!("{why}; {example}")))?;
        let is_web = matches!(base.scheme(), "http" | "https");
        if !is_web || base.host_str().is_none_or(str::is_empty) {
            return Err(refused(example.to_owned()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refused(format!("it has a ? or # in it; {example}")));
        }
        if !base.username().is_empty() || base.password().is_some() {
            let why = "it has a user or a password in it; give a token with --token instead";
            return Err(Failure::usage(format!("ask a server: {why}")));
        }
        if token.is_some() && base.scheme() == "http" && !is_loopback(&base) && !in_clear {
            let why = "the token would be sent in the clear, for anybody on the way to read; use \
                       https://, a tunnel to this machine, or --in-clear on a network that you trust";
            return Err(refused(why.to_owned()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .default_headers(headers(token)?);
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = with_tls(builder)
            .and_then(|builder| builder.build().map_err(|error| cause(&error)))
            .map_err(|why| Failure::failed(format!("prepare HTTP: {why}")))?;
        Ok(Self { base, http })
    }

    /// Returns the server's URL for people.
    pub(crate) fn place(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Asks for what is at this path.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, RemoteError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.http.request(Method::GET, url)).await
    }

    /// Posts a value to this path.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, RemoteError> {
        let body = serde_json::to_vec(body).map_err(|error| self.error(None, error))?;
        let request = self.http.request(Method::POST, self.url(path)?);
        self.answer(request.header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// A segment is one name: what could lead elsewhere in it is escaped, or refused.
    fn url(&self, path: &[&str]) -> Result<Url, RemoteError> {
        let mut url = self.base.clone();
        if let Some(bad) = path.iter().find(|name| matches!(**name, "" | "." | "..")) {
            return Err(self.error(None, format!("the name {bad:?} cannot stand in a URL")));
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Ok(url)
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, RemoteError> {
        let mut response = request.send().await.map_err(|error| self.unheard(&error))?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unheard(&error))? {
            if body.len() + piece.len() > BODY_MAX {
                let why = format!("its answer has more than {} MiB", BODY_MAX >> 20);
                return Err(self.error(None, why));
            }
            body.extend_from_slice(&piece);
        }
        if !response.status().is_success() {
            return Err(self.refusal(&response, &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let advice = "name a server of the same version as this program";
            self.error(None, format!("its answer is not what was expected ({error}); {advice}"))
        })
    }

    fn error(&self, status: Option<StatusCode>, why: impl fmt::Display) -> RemoteError {
        let status = status.map(|status| status.as_u16());
        RemoteError { status, text: format!("ask {}: {why}", self.place()) }
    }

    /// Says why no answer came.
    fn unheard(&self, error: &reqwest::Error) -> RemoteError {
        let advice = "see whether `dutiful serve` runs there";
        if error.is_timeout() {
            let after = if error.is_connect() { CONNECT_MAX } else { ANSWER_MAX };
            return self.error(None, format!("no answer came within {after:?}; {advice}"));
        }
        let advice = if error.is_connect() { advice } else { "ask again" };
        self.error(None, format!("{}; {advice}", cause(error)))
    }

    /// Says what the server refuses, in its own words where it has some.
    fn refusal(&self, response: &Response, body: &[u8]) -> RemoteError {
        let status = response.status();
        let said = serde_json::from_slice::<Problem>(body).ok().map(|problem| problem.detail);
        let mut why = match said {
            // It speaks in whole sentences, and this is the end of one.
            Some(detail) if detail.starts_with("failed to ") => format!("it {detail}"),
            Some(detail) => detail,
            None => format!("it answered {status}; see whether `dutiful serve` is at this URL"),
        };
        if status == StatusCode::UNAUTHORIZED {
            why.push_str("; give a token with --token or DUTIFUL_TOKEN");
        }
        if let Some(elsewhere) =
            response.headers().get(LOCATION).filter(|_| status.is_redirection())
        {
            why = format!("it sends elsewhere; name {} if that is right", show(elsewhere));
        }
        self.error(Some(status), why)
    }
}

fn headers(token: Option<&str>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token.map(str::trim).filter(|token| !token.is_empty()) {
        // The token itself is shown to nobody.
        let wrong = |_| Failure::usage("use the token: it has characters that no token has");
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(wrong)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Believes the authorities that browsers believe, with nothing of the system's or the process's.
fn with_tls(builder: ClientBuilder) -> Result<ClientBuilder, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(builder.tls_backend_preconfigured(tls))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// Returns the innermost reason: what is around it repeats the URL and says little.
fn cause(error: &reqwest::Error) -> String {
    let mut reason = error.source();
    let mut text = String::new();
    while let Some(inner) = reason {
        text = inner.to_string();
        reason = inner.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

fn show(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("another URL")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn refused(server: &str) -> String {
        format!("{:?}", Remote::new(server, None, false).expect_err(server))
    }

    #[test]
    fn names_what_is_wrong_with_a_url() {
        for (server, says) in [
            ("127.0.0.1:7700", "such as http://127.0.0.1:7700"),
            ("localhost:7700", "such as http://127.0.0.1:7700"),
            ("ftp://x", "such as http://127.0.0.1:7700"),
            ("http://x/?a=b", "a ? or # in it"),
            ("", "such as http://127.0.0.1:7700"),
        ] {
            assert!(refused(server).contains(says), "{server}: {}", refused(server));
        }
        let secret = refused("http://ann:pass@x");
        assert!(secret.contains("--token") && !secret.contains("pass@"), "{secret}");
        let in_clear = Remote::new("http://jobs.example", Some("s3cret"), false).unwrap_err();
        let in_clear = format!("{in_clear:?}");
        assert!(in_clear.contains("in the clear") && !in_clear.contains("s3cret"), "{in_clear}");
        for (server, token, in_clear) in [
            ("http://jobs.example", Some("s3cret"), true),
            ("http://jobs.example", None, false),
            ("https://jobs.example", Some("s3cret"), false),
            ("http://127.0.0.1:7700", Some("s3cret"), false),
            ("http://[::1]:7700", Some("s3cret"), false),
            ("http://localhost:7700", Some("s3cret"), false),
        ] {
            assert!(Remote::new(server, token, in_clear).is_ok(), "{server}");
        }
        let token = format!("{:?}", Remote::new("https://x", Some("se\ncret"), false).unwrap_err());
        assert!(token.contains("characters") && !token.contains("cret"), "{token}");
    }

    #[test]
    fn puts_paths_below_the_servers_own() {
        let remote = Remote::new("https://jobs.example/dutiful", None, false).unwrap();
        let url = remote.url(&["v1", "queues", "a/b?c", "pause"]).unwrap();
        assert_eq!(url.as_str(), "https://jobs.example/dutiful/v1/queues/a%2Fb%3Fc/pause");
        assert!(remote.url(&["v1", "queues", ".."]).is_err());
        for (url, loopback) in [
            ("http://localhost:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }

    /// Answers one request with this; returns what was asked, and what was made of the answer.
    async fn exchange(answer: &str) -> (String, Result<serde_json::Value, RemoteError>) {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", socket.local_addr().unwrap());
        let answer = answer.to_owned();
        let served = tokio::spawn(async move {
            let (mut stream, _) = socket.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let n = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&asked[..n]).into_owned()
        });
        let remote = Remote::new(&server, Some("s3cret"), false).unwrap();
        let got = remote.get(&["v1", "x"], &[("type", "a&b".to_owned())]).await;
        (served.await.unwrap(), got)
    }

    #[tokio::test]
    async fn asks_with_the_token_and_makes_sentences_of_refusals() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        let (asked, got) = exchange(ok).await;
        assert!(asked.starts_with("GET /v1/x?type=a%26b HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("authorization: Bearer s3cret"), "{asked}");
        assert_eq!(got.unwrap()["a"], 1);
        let problem = r#"{"title":"x","detail":"failed to find job 7"}"#;
        let with = |status: &str, head: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        for (answer, says) in [
            (with("404 Not Found", "", problem), ": it failed to find job 7"),
            (with("401 Unauthorized", "", r#"{"detail":"who?"}"#), ": who?; give a token with"),
            (with("502 Bad Gateway", "", "<html>"), "it answered 502 Bad Gateway"),
            (with("302 Found", "Location: http://b/\r\n", ""), "elsewhere; name http://b/ if"),
            (with("200 OK", "", "<html>"), "not what was expected"),
            (String::new(), "ask again"),
        ] {
            let error = exchange(&answer).await.1.unwrap_err();
            assert!(error.to_string().contains(says), "{answer}: {error}");
            assert_eq!(error.is_not_found(), answer.contains("404"));
        }
    }

    #[tokio::test]
    async fn says_what_to_do_when_nobody_listens() {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", socket.local_addr().unwrap());
        drop(socket);
        let remote = Remote::new(&server, None, false).unwrap();
        let error = remote.get::<serde_json::Value>(&["v1"], &[]).await.unwrap_err().to_string();
        assert!(error.contains("refused") && error.contains("`dutiful serve` runs"), "{error}");
    }
}
