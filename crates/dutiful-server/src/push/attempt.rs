//! One attempt of a job: the request with its headers and signatures, and what came of it.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Duration;

use dutiful::{Clock, Context, Delivery, HandlerError, RESULT_BYTES_MAX, Result, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::address::Refused;
use super::answer::Answer;
use super::sign;
use super::target::{Inner, Target};

const JOB_ID: HeaderName = HeaderName::from_static("dutiful-job-id");
const JOB_TYPE: HeaderName = HeaderName::from_static("dutiful-job-type");
const QUEUE: HeaderName = HeaderName::from_static("dutiful-queue");
const ATTEMPT: HeaderName = HeaderName::from_static("dutiful-attempt");
const MAX_ATTEMPTS: HeaderName = HeaderName::from_static("dutiful-max-attempts");
const CORRELATION_ID: HeaderName = HeaderName::from_static("dutiful-correlation-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Why there is no answer.
#[derive(Debug)]
enum Fault {
    /// Nobody was called: the host leads where it must not.
    Refused(String),
    /// No connection.
    Connect(String),
    /// The answer did not come, or broke off.
    Broken(String),
    /// The job's time was over first.
    Timeout(Duration),
}

impl Target {
    /// Sends a job and returns its result, the body of the answer where that is JSON. When this is
    /// dropped (cancelled, shutdown, a lost lease), the connection is closed.
    ///
    /// # Errors
    /// Any other answer than 2xx, and none, with the decision what becomes of the job.
    pub async fn attempt<A>(
        &self,
        payload: Vec<u8>,
        cx: &Context<A>,
    ) -> Result<Option<Box<RawValue>>> {
        let inner = &*self.inner;
        let permit = match inner.breaker.admit(Instant::now()) {
            Ok(permit) => Some(permit),
            // It counts as completed already, so there is no later for it.
            Err(_) if cx.delivery() == Delivery::AtMostOnce => None,
            Err(wait) => return Err(waits(inner, wait)),
        };
        let headers = headers(cx, &inner.secrets, &payload, Clock::machine().now())?;
        let limit = cx.timeout();
        let answer = match timeout(limit, exchange(inner, headers, payload)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Timeout(limit)),
        };
        let sound = match &answer {
            Ok(answer) => Some(answer.is_sound()),
            Err(Fault::Refused(_)) => None,
            Err(_) => Some(false),
        };
        if let (Some(permit), Some(sound)) = (permit, sound) {
            permit.settle(sound, Instant::now());
        }
        let answer = answer.map_err(|fault| fault.into_error(&inner.origin))?;
        if answer.status.is_success() && answer.cut {
            cx.log(format!(
                "the answer has more than {RESULT_BYTES_MAX} bytes and is not kept as the result"
            ));
        }
        answer.verdict(&inner.origin, &inner.discard, Clock::machine().now())
    }
}

/// What becomes of a job whose target is left alone: it waits, and is not charged.
fn waits(inner: &Inner, wait: Duration) -> HandlerError {
    let text = format!("{} fails again and again; its jobs wait for it", inner.origin);
    HandlerError::snooze(wait, HandlerError::msg(text).with_class("breaker_open"))
}

async fn exchange(
    inner: &Inner,
    headers: HeaderMap,
    payload: Vec<u8>,
) -> std::result::Result<Answer, Fault> {
    let request = inner.client.post(inner.url.clone()).headers(headers).body(payload);
    let response = request.send().await.map_err(|error| fault(&error))?;
    Answer::read(response).await.map_err(|error| fault(&error))
}

fn fault(error: &reqwest::Error) -> Fault {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Fault::Refused(refused.to_string());
        }
        source = cause.source();
    }
    match error.is_connect() {
        true => Fault::Connect(causes(error)),
        false => Fault::Broken(causes(error)),
    }
}

impl Fault {
    fn into_error(self, target: &str) -> HandlerError {
        let (class, text) = match self {
            Self::Refused(why) => ("address", format!("nothing was sent: {why}")),
            Self::Connect(why) => ("connect", format!("{target} cannot be reached: {why}")),
            Self::Broken(why) => ("no_answer", format!("{target} gave no whole answer: {why}")),
            Self::Timeout(limit) => (
                "timeout",
                format!("{target} did not answer within the job's timeout of {limit:?}"),
            ),
        };
        HandlerError::msg(text).with_class(class)
    }
}

/// Returns what caused an error, without the URL, which the error itself would print.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // The connection's own wrapping says no more than what it wraps.
        if !text.contains(&said) && !said.starts_with("client error (") {
            let between = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{between}{said}");
        }
        source = cause.source();
    }
    if text.is_empty() { "no reason was given".to_owned() } else { text }
}

/// Returns what is said of a job beside its payload.
fn headers<A>(
    cx: &Context<A>,
    secrets: &[sign::Secret],
    payload: &[u8],
    now: Timestamp,
) -> Result<HeaderMap> {
    let id = cx.id().to_string();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut add = |name: HeaderName, value: &str| -> Result<()> {
        headers.insert(name, HeaderValue::from_str(value)?);
        Ok(())
    };
    add(JOB_ID, &id)?;
    add(JOB_TYPE, cx.job_type())?;
    add(QUEUE, cx.queue())?;
    add(ATTEMPT, &cx.attempt().to_string())?;
    add(MAX_ATTEMPTS, &cx.max_attempts().to_string())?;
    add(CORRELATION_ID, &encoded(&cx.correlation_id()))?;
    add(IDEMPOTENCY_KEY, &cx.idempotency_key())?;
    if let Some(parent) = cx.trace_parent() {
        add(TRACE_PARENT, parent)?;
    }
    if !secrets.is_empty() {
        let now_s = now.us() / 1_000_000;
        add(WEBHOOK_ID, &id)?;
        add(WEBHOOK_TIMESTAMP, &now_s.to_string())?;
        add(WEBHOOK_SIGNATURE, &sign::signatures(secrets, &id, now_s, payload))?;
    }
    Ok(headers)
}

/// Returns free text so that a header can carry it and nothing in it can end one: everything but
/// visible ASCII, and the percent sign, is percent-encoded.
fn encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=b' ' | 0x7f.. => {
                let _ = write!(safe, "%{byte:02X}");
            }
            _ => safe.push(char::from(byte)),
        }
    }
    safe
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_a_header() {
        for (text, wanted) in [
            ("order-7:a/b?c=d", "order-7:a/b?c=d"),
            ("a\r\nx: y", "a%0D%0Ax:%20y"),
            ("a\n b\0", "a%0A%20b%00"),
            ("50%", "50%25"),
            (" é\u{7f}", "%20%C3%A9%7F"),
        ] {
            assert_eq!(encoded(text), wanted);
            assert!(HeaderValue::from_str(&encoded(text)).is_ok());
        }
        let every: String = (0..=0x17f_u32).filter_map(char::from_u32).collect();
        assert!(encoded(&every).bytes().all(|byte| byte.is_ascii_graphic()));
    }
}
