//! What a handler can answer: done, later, never, or an error with a decision.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::id::Fence;
use crate::store::{CLASS_BYTES_MAX, Failure};

/// Longest error message that is kept, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Largest result that is kept, in bytes.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;

/// What handlers return: any error can be returned with `?`.
pub type Result<T, E = HandlerError> = std::result::Result<T, E>;

/// A handler's answer when it has no result to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Succeeded.
    Done,
    /// Run again after a while; not charged as a failure.
    Snooze(Duration),
    /// Give up for good: the job is dead, with this reason.
    Discard(String),
}

/// Proof that `complete_within` wrote the completion into the caller's transaction.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "return it from the handler after the commit"]
pub struct Completed {
    fence: Fence,
}

impl Completed {
    pub(crate) fn new(fence: Fence) -> Self {
        Self { fence }
    }

    /// Returns the fence under which the job was completed.
    pub fn fence(&self) -> Fence {
        self.fence
    }
}

/// An error of a handler: what to keep of it, and what to do next.
///
/// Any [`std::error::Error`] becomes one by `?` and means "retry by the type's policy".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError {
    pub(crate) decision: Decision,
    pub(crate) failure: Failure,
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again as the retry policy says, while attempts are left.
    Retry,
    /// Try again after this long, while attempts are left.
    RetryAfter(Duration),
    /// Give up: the job is dead.
    Discard,
    /// Run again after a while; not charged as a failure.
    Snooze(Duration),
}

impl HandlerError {
    /// Returns an error with this text, to be retried.
    pub fn msg(text: impl fmt::Display) -> Self {
        Self::new("error", text.to_string(), Decision::Retry)
    }

    /// Returns an error that is boxed already (`anyhow::Error` turns into one by `.into()`).
    pub fn boxed(error: Box<dyn StdError + Send + Sync>) -> Self {
        Self::new("error", chain(&*error), Decision::Retry)
    }

    /// Returns `error` with the decision to try again after `wait`.
    pub fn retry_after(wait: Duration, error: impl Into<HandlerError>) -> Self {
        error.into().decide(Decision::RetryAfter(wait))
    }

    /// Returns `error` with the decision to give up.
    pub fn discard(error: impl Into<HandlerError>) -> Self {
        error.into().decide(Decision::Discard)
    }

    /// Returns `error` with the decision to run again after `wait`, not charged.
    pub fn snooze(wait: Duration, error: impl Into<HandlerError>) -> Self {
        error.into().decide(Decision::Snooze(wait))
    }

    /// Returns the error with another decision.
    pub fn decide(mut self, decision: Decision) -> Self {
        self.decision = decision;
        self
    }

    /// Returns the error with another class (a short word to group errors by).
    pub fn with_class(mut self, class: impl Into<String>) -> Self {
        self.failure.class = clean(&class.into(), CLASS_BYTES_MAX);
        self
    }

    /// Returns what is kept of it.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    pub(crate) fn new(class: &str, message: String, decision: Decision) -> Self {
        Self { decision, failure: failure(class, &message) }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::new(class_of(std::any::type_name::<E>()), chain(&error), Decision::Retry)
    }
}

/// Decisions on a `Result` in passing: `parse(&text).or_discard()?`.
pub trait OrDecide<T> {
    /// An error means: give up.
    fn or_discard(self) -> Result<T>;
    /// An error means: try again after `wait`.
    fn or_retry_after(self, wait: Duration) -> Result<T>;
    /// An error means: run again after `wait`, not charged.
    fn or_snooze(self, wait: Duration) -> Result<T>;
}

impl<T, E: Into<HandlerError>> OrDecide<T> for std::result::Result<T, E> {
    fn or_discard(self) -> Result<T> {
        self.map_err(HandlerError::discard)
    }

    fn or_retry_after(self, wait: Duration) -> Result<T> {
        self.map_err(|error| HandlerError::retry_after(wait, error))
    }

    fn or_snooze(self, wait: Duration) -> Result<T> {
        self.map_err(|error| HandlerError::snooze(wait, error))
    }
}

/// What a handler may return inside `Ok`: [`Outcome`], [`Completed`], `()`, or a value that is kept
/// as the job's result.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "return `Result<()>`, `Result<Outcome>`, `Result<Completed>` or a value that is `Serialize`"
)]
pub trait IntoOutcome {
    #[doc(hidden)]
    fn into_answer(self) -> Result<Answer>;
}

/// A handler's answer without its type, as middleware sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Succeeded, with a result (JSON) or none.
    Done(Option<Vec<u8>>),
    /// Succeeded; the completion was written into the handler's own transaction.
    Within,
    /// Run again after a while; not charged as a failure.
    Snooze(Duration),
    /// Give up for good, with this reason.
    Discard(String),
}

impl IntoOutcome for Outcome {
    fn into_answer(self) -> Result<Answer> {
        Ok(match self {
            Outcome::Done => Answer::Done(None),
            Outcome::Snooze(wait) => Answer::Snooze(wait),
            Outcome::Discard(reason) => Answer::Discard(reason),
        })
    }
}

impl IntoOutcome for Completed {
    fn into_answer(self) -> Result<Answer> {
        Ok(Answer::Within)
    }
}

impl<T: Serialize> IntoOutcome for T {
    fn into_answer(self) -> Result<Answer> {
        let bytes = serde_json::to_vec(&self)?;
        if bytes.len() > RESULT_BYTES_MAX {
            let size = bytes.len();
            return Err(HandlerError::discard(HandlerError::msg(format!(
                "the result has {size} bytes and the limit is {RESULT_BYTES_MAX}"
            ))));
        }
        Ok(Answer::Done((bytes != b"null").then_some(bytes)))
    }
}

/// Returns what is kept of an error.
pub(crate) fn failure(class: &str, message: &str) -> Failure {
    Failure { class: clean(class, CLASS_BYTES_MAX), message: clean(message, MESSAGE_BYTES_MAX) }
}

/// Replaces NUL and cuts on a character's boundary.
pub(crate) fn clean(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].replace('\0', "\u{FFFD}")
}

/// Returns the last segment of a type's name, without its parameters.
fn class_of(type_name: &str) -> &str {
    let plain = type_name.split('<').next().unwrap_or(type_name);
    plain.rsplit("::").next().unwrap_or(plain)
}

/// Returns the message with its sources, without saying the same twice.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_class_and_sources() {
        let error: HandlerError = "x".parse::<i32>().expect_err("not a number").into();
        assert_eq!(error.failure.class, "ParseIntError");
        let error = HandlerError::discard(std::io::Error::other("disk"));
        assert_eq!((error.decision, &*error.failure.message), (Decision::Discard, "disk"));
    }

    #[test]
    fn a_message_is_cut_on_a_character_and_has_no_nul() {
        let long = "é".repeat(MESSAGE_BYTES_MAX);
        let kept = failure("a::B", &long);
        assert_eq!(kept.message.len(), MESSAGE_BYTES_MAX);
        assert_eq!(failure("x", "a\0b").message, "a\u{FFFD}b");
    }

    #[test]
    fn values_outcomes_and_unit_are_answers() {
        assert!(matches!(().into_answer(), Ok(Answer::Done(None))));
        assert!(matches!(7.into_answer(), Ok(Answer::Done(Some(b))) if b == b"7"));
        let snooze = Outcome::Snooze(Duration::from_secs(1));
        assert!(matches!(snooze.into_answer(), Ok(Answer::Snooze(_))));
        assert!("x".repeat(RESULT_BYTES_MAX).into_answer().is_err());
    }
}
