//! What is read from a request: JSON bodies, queries and names in paths, each refused with a
//! problem that says what is wrong.

use std::error::Error;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query as AxumQuery, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use dutiful::{JobId, Name, WorkerId};
use serde::de::DeserializeOwned;

use super::Site;
use super::problem::Problem;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Site> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, site: &Site) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "send JSON with the header `Content-Type: application/json`";
            let code = "unsupported_media_type";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, detail));
        }
        let bytes = Bytes::from_request(request, site).await.map_err(unread)?;
        let given = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes[..] };
        // serde would read a list as the values of an object without their names.
        if given.trim_ascii_start().first() == Some(&b'[') {
            return Err(Problem::invalid("the body is a list: send an object with names"));
        }
        serde_json::from_slice(given).map(Self).map_err(|error| wrong(&error))
    }
}

fn unread(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "the body is larger than this route takes; send less at once";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        _ if is_late(&rejection) => {
            let detail = "the body took too long to come to its end; send it again, or less";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
        }
        _ => Problem::bad_request("the body could not be read to its end; send it again"),
    }
}

/// True when a body was waited for in vain.
fn is_late(rejection: &BytesRejection) -> bool {
    let mut why: Option<&(dyn Error + 'static)> = Some(rejection);
    while let Some(error) = why {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::TimedOut;
        }
        why = error.source();
    }
    false
}

/// What is no JSON is a bad request; what is JSON of another shape is invalid.
fn wrong(error: &serde_json::Error) -> Problem {
    match error.classify() {
        serde_json::error::Category::Data => Problem::invalid(format!("the body: {error}")),
        _ => Problem::bad_request(format!("the body is not JSON: {error}")),
    }
}

/// Browsers let any page send the other types without asking, so none of those is taken.
fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = given.and_then(|given| given.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Types whose names begin so are the server's own jobs: who may enqueue or work must not start, or
/// take, what only operators may start.
const OWN_TYPES: &str = "dutiful.";

/// Reads the name of a type that is not the server's own.
pub(crate) fn foreign_type(name: &str) -> Result<Name, Problem> {
    if name.starts_with(OWN_TYPES) {
        let detail = format!("types that begin with {OWN_TYPES} are the server's own");
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    Ok(Name::new("type", name)?)
}

/// Refuses more than so many of something in one request.
pub(crate) fn at_most(given: usize, most: usize, what: &str) -> Result<(), Problem> {
    if given <= most {
        return Ok(());
    }
    let detail = format!("{given} {what} are given and the limit is {most}; send several requests");
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail))
}

/// Reads for how long a request may wait.
pub(crate) fn wait(ms: u64, most: Duration) -> Result<Duration, Problem> {
    let wait = Duration::from_millis(ms);
    if wait <= most {
        return Ok(wait);
    }
    Err(Problem::invalid(format!("wait_ms is more than {}", most.as_millis())))
}

/// The query of a URL.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Site> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        match AxumQuery::from_request_parts(parts, site).await {
            Ok(AxumQuery(query)) => Ok(Self(query)),
            Err(error) => Err(Problem::invalid(format!("the query: {}", error.body_text()))),
        }
    }
}

/// The id of a job in the path.
pub(crate) struct Id(pub(crate) JobId);

impl FromRequestParts<Site> for Id {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        Ok(Self(segment(parts, site).await?.parse::<JobId>()?))
    }
}

/// The name of a queue in the path.
pub(crate) struct Queue(pub(crate) Name);

impl FromRequestParts<Site> for Queue {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        Ok(Self(Name::new("queue", &segment(parts, site).await?)?))
    }
}

/// The id of a worker in the path.
pub(crate) struct WorkerOf(pub(crate) WorkerId);

impl FromRequestParts<Site> for WorkerOf {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let text = segment(parts, site).await?;
        let id = text.parse().ok().filter(|id| *id > 0);
        let unknown = "that is no id of a worker; take the one that POST /v1/workers answered with";
        id.map(|id| Self(WorkerId(id))).ok_or_else(|| Problem::not_found(unknown))
    }
}

/// The only name in the path, whatever it names.
pub(crate) struct Text(pub(crate) String);

impl FromRequestParts<Site> for Text {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        segment(parts, site).await.map(Self)
    }
}

/// Returns the only name in the path.
pub(crate) async fn segment(parts: &mut Parts, site: &Site) -> Result<String, Problem> {
    match Path::<String>::from_request_parts(parts, site).await {
        Ok(Path(text)) => Ok(text),
        Err(error) => Err(Problem::bad_request(format!("the path: {}", error.body_text()))),
    }
}
