//! What an answer over HTTP comes to: done, discarded, later, or a failure with its reason.

use std::time::Duration;

use dutiful::{HandlerError, RESULT_BYTES_MAX, Result, Timestamp};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::value::RawValue;

/// Longest wait that an answer may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How much of a body stands in the message of a failure, in bytes.
const QUOTED_BYTES_MAX: usize = 2 * 1024;
/// How much of a body is read; the connection of one that goes on is closed.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// An answer, read as far as it counts.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    /// No more than a result may have.
    body: Vec<u8>,
    /// The body went on.
    pub(super) cut: bool,
}

impl Answer {
    /// Reads the body up to its limit.
    pub(super) async fn read(mut response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let (mut body, mut read, mut cut) = (Vec::new(), 0, false);
        while let Some(chunk) = response.chunk().await? {
            read += chunk.len();
            let room = RESULT_BYTES_MAX - body.len();
            cut |= chunk.len() > room;
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if read > READ_BYTES_MAX {
                break;
            }
        }
        Ok(Self { status, headers, body, cut })
    }

    /// True when the target works, whatever it thought of the job.
    pub(super) fn is_sound(&self) -> bool {
        !self.status.is_server_error()
    }

    /// Returns what the job comes to; `target` is named where it failed.
    pub(super) fn verdict(
        &self,
        target: &str,
        discard: &[u16],
        now: Timestamp,
    ) -> Result<Option<Box<RawValue>>> {
        if self.status.is_success() {
            return Ok(self.result());
        }
        let error = HandlerError::msg(self.message(target))
            .with_class(format!("http_{}", self.status.as_u16()));
        let gone = matches!(self.status, StatusCode::CONFLICT | StatusCode::GONE);
        if gone || discard.contains(&self.status.as_u16()) {
            return Err(HandlerError::discard(error));
        }
        Err(match self.retry_after(now) {
            Some(wait) => HandlerError::retry_after(wait, error),
            None => error,
        })
    }

    /// Returns the body if it is JSON and whole.
    fn result(&self) -> Option<Box<RawValue>> {
        if self.cut { None } else { serde_json::from_slice(&self.body).ok() }
    }

    fn message(&self, target: &str) -> String {
        let status = self.status;
        let mut text = format!("{target} answered {status}");
        if status.is_redirection() {
            text.push_str(", and nothing is followed: write the place it leads to as the url");
        }
        let quoted = &self.body[..self.body.len().min(QUOTED_BYTES_MAX)];
        let quoted = String::from_utf8_lossy(quoted);
        match quoted.trim() {
            "" => text,
            said => format!("{text}: {said}"),
        }
    }

    /// Returns the wait of an answer that asks for one: seconds, or the date until when.
    fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let asks =
            [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status);
        let text = self.headers.get(RETRY_AFTER).filter(|_| asks)?.to_str().ok()?.trim();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let wait = match is_number {
            // More digits than fit are longer than anything.
            true => text.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs),
            false => http_date(text)?.since(now),
        };
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form of a date that servers may send.
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let parts: Vec<_> = date.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = 1 + MONTHS.iter().position(|name| *name == month)?;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use dutiful::Decision;

    use super::*;

    const TARGET: &str = "https://a.example:443";

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers, body: body.into(), cut: false }
    }

    fn now() -> Timestamp {
        "1994-11-06T08:49:00Z".parse().unwrap()
    }

    fn failed(answer: &Answer, discard: &[u16]) -> HandlerError {
        answer.verdict(TARGET, discard, now()).unwrap_err()
    }

    /// True when the error says what to do in this way.
    fn decides(error: &HandlerError, decision: Decision) -> bool {
        error.clone().decide(decision) == *error
    }

    #[test]
    fn keeps_json_as_it_came_and_nothing_else() {
        let result = |status, body| answer(status, None, body).verdict(TARGET, &[], now()).unwrap();
        let precise = r#"{"n":1.00000000000000000001}"#;
        assert_eq!(result(200, precise).unwrap().get(), precise);
        assert_eq!(result(201, " 7\n").unwrap().get(), "7");
        for body in ["", "OK", "<html>", "{\"a\":1} trailing"] {
            assert!(result(200, body).is_none(), "{body}");
        }
        assert!(result(204, "").is_none());
        let cut = Answer { cut: true, ..answer(200, None, "1") };
        assert!(cut.verdict(TARGET, &[], now()).unwrap().is_none());
    }

    #[test]
    fn discards_what_the_target_does_not_want() {
        for (status, discard, wanted) in [
            (409, &[][..], Decision::Discard),
            (410, &[], Decision::Discard),
            (404, &[], Decision::Retry),
            (404, &[400, 404], Decision::Discard),
            (429, &[429], Decision::Discard),
            (500, &[], Decision::Retry),
            (302, &[], Decision::Retry),
        ] {
            let error = failed(&answer(status, None, ""), discard);
            assert!(decides(&error, wanted), "{error:?}");
            assert_eq!(error.failure().class, format!("http_{status}"));
        }
    }

    #[test]
    fn waits_as_long_as_it_is_asked_to_within_a_day() {
        let day = RETRY_AFTER_MAX;
        for (given, wanted) in [
            ("0", Some(Duration::ZERO)),
            ("120", Some(Duration::from_secs(120))),
            ("86401", Some(day)),
            ("99999999999999999999999", Some(day)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(Duration::from_secs(37))),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(Duration::ZERO)),
            ("Sun, 06 Nov 2094 08:48:37 GMT", Some(day)),
            ("Sun, 06 Now 1994 08:49:37 GMT", None),
            ("06 Nov 1994", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            for status in [429, 503] {
                let error = failed(&answer(status, Some(given), ""), &[]);
                let wanted = wanted.map_or(Decision::Retry, Decision::RetryAfter);
                assert!(decides(&error, wanted), "{given}: {error:?}");
            }
        }
        let error = failed(&answer(500, Some("120"), ""), &[]);
        assert!(decides(&error, Decision::Retry), "only 429 and 503 ask for a wait");
    }

    #[test]
    fn quotes_the_begin_of_the_body() {
        let long = format!("no such customer {}", "x".repeat(QUOTED_BYTES_MAX));
        let message = |answer: &Answer| failed(answer, &[]).failure().message.clone();
        let said = message(&answer(500, None, &long));
        let begin = "https://a.example:443 answered 500 Internal Server Error: no such customer x";
        assert!(said.starts_with(begin), "{said}");
        assert!(said.len() < QUOTED_BYTES_MAX + 100);
        let said = message(&answer(307, None, ""));
        assert!(said.ends_with("write the place it leads to as the url"), "{said}");
        let bytes = Answer { body: vec![b'a', 0xff, b'b'], ..answer(500, None, "") };
        assert!(message(&bytes).ends_with("a\u{fffd}b"));
    }
}
