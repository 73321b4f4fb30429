//! What stands before every route: which hosts are answered for, what a browser may send on behalf
//! of another page, and the headers that tell browsers what our pages may do.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::routes::is_for;

/// Pages take scripts, styles and data from here alone, and nobody may frame them.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";
/// What every answer carries, unless it says otherwise.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts the guards around a router.
pub(crate) fn guarded(router: Router, hosts: Vec<String>) -> Router {
    let hosts: Arc<[String]> = hosts.into();
    let guard = from_fn(move |request, next| guard(hosts.clone(), request, next));
    router.fallback(not_found).method_not_allowed_fallback(not_allowed).layer(guard)
}

async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this path; /openapi.json names all that there is")
}

async fn not_allowed() -> Problem {
    let detail = "this path does not take this method; /openapi.json names those it takes";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not_allowed", detail)
}

async fn guard(hosts: Arc<[String]>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&request, &hosts) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn refusal(request: &Request, hosts: &[String]) -> Option<Problem> {
    if !is_for(hosts, request.uri(), request.headers()) {
        let detail = "ask for localhost, a loopback address or a host of [serve] hosts; a proxy in \
                      front must set Host so";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail));
    }
    // A link on another page may lead here. Anything else that such a page asks for, a picture that
    // is none among it, would only make us work.
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let follows_a_link = looks && is(request.headers(), "sec-fetch-mode", b"navigate");
    if is_from_elsewhere(request.headers(), looks) && !follows_a_link {
        let detail = "a page of another site may not ask for this";
        return Some(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    None
}

fn is(headers: &HeaderMap, name: &str, value: &[u8]) -> bool {
    headers.get(name).is_some_and(|given| given.as_bytes() == value)
}

/// Browsers say where a request comes from; programs say nothing, and are not fooled by pages. What
/// a browser of today says counts, since a proxy may have given us another host than the page has;
/// of older ones there is the origin, which they send with each change.
fn is_from_elsewhere(headers: &HeaderMap, looks: bool) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| !looks) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin, host) {
        (Some((_, origin)), Some(host)) => {
            let read = |text: &str| text.parse::<Authority>().ok();
            read(origin).is_none() || read(origin) != read(host)
        }
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let asked = |given: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:7700"));
            for (name, value) in given {
                let name: HeaderName = name.parse().unwrap();
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
            is_from_elsewhere(&headers, false)
        };
        assert!(!asked(&[]), "a program");
        assert!(!asked(&[("origin", "http://127.0.0.1:7700")]));
        assert!(!asked(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:7700")]));
        assert!(!asked(&[("sec-fetch-site", "none")]));
        for site in ["cross-site", "same-site", "", "anything"] {
            assert!(asked(&[("sec-fetch-site", site)]), "{site}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1:7701",
            "http://localhost:7700",
            "http://127.0.0.1:7700.evil.example",
            "http://127.0.0.1:7700@evil.example",
        ] {
            assert!(asked(&[("origin", origin)]), "{origin}");
            let own = [("sec-fetch-site", "same-origin"), ("origin", origin)];
            assert!(!asked(&own), "behind a proxy that gives us another host: {origin}");
        }
    }
}
