//! Errors as `application/problem+json`: what went wrong, and what to do, in one sentence.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dutiful::{Error, InvalidJob, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

/// After so long it is worth asking a store again that could not be reached.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// What a 401 has to say.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"dutiful\"");

/// An answer that is an error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: `code` says more.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What went wrong and what to do.
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    /// A stable word for programs.
    code: &'static str,
    /// After so long it is worth asking again.
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let (status, detail) = (status.as_u16(), detail.into());
        Self { kind: "about:blank", title, status, detail, code, retry_after: None }
    }

    /// Says when it is worth asking again.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The request cannot be read.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// It can be read, and one of its values cannot be.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Says which of many it is about, counted from 0.
    pub(crate) fn about(mut self, at: usize) -> Self {
        self.detail = format!("number {at} of the list: {}", self.detail).into();
        self
    }

    /// Whoever writes about an attempt has it no longer.
    pub(crate) fn lease_lost() -> Self {
        let detail = "the lease is no longer held: it ran out, or the attempt has ended; stop \
                      working on it, nothing was changed";
        Self::new(StatusCode::CONFLICT, "lease_lost", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let form = HeaderValue::from_static("application/problem+json");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, form);
        let away = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(STORE_RETRY);
        if let Some(wait) = self.retry_after.or(away) {
            // Whole seconds are all that can be said, and less would be too early.
            let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = sentence(&error);
        match error {
            Error::InvalidJob(invalid) => invalid.into(),
            Error::Store(error) => error.into(),
            Error::NotFound(_) => Self::not_found(detail),
            Error::WrongState { .. } => Self::new(StatusCode::CONFLICT, "wrong_state", detail),
            Error::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", detail),
            Error::LeaseLost(_) => Self::lease_lost(),
            Error::Partly { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
        }
    }
}

impl From<InvalidJob> for Problem {
    fn from(error: InvalidJob) -> Self {
        match &error {
            InvalidJob::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error.to_string())
            }
            _ => Self::invalid(error.to_string()),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = sentence(&error);
        match &error {
            StoreError::LeaseLost(_) => Self::lease_lost(),
            StoreError::Unsupported { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unsupported", detail)
            }
            error if error.is_passing() => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
            }
            StoreError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
        }
    }
}

/// The library's errors are fragments that follow "failed to".
fn sentence(error: &dyn std::fmt::Display) -> String {
    format!("failed to {error}")
}
