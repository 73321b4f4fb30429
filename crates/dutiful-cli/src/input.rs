//! Values that people type: durations, states, ids, times; a bad one is told with what is right.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use dutiful::{Clock, InvalidJob, JobId, State, Timestamp};

/// Units of a duration, and how many ms each has.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Parses `500ms`, `30s`, `5m`, `2h`, `1d` or several in a row (`1h30m`).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 500ms, 30s, 5m, 2h or 1h30m");
    let (mut rest, mut ms) = (text.trim(), 0_u64);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        ms = number.checked_mul(*factor).and_then(|n| ms.checked_add(n)).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(ms))
}

/// Parses the timeout of one attempt; what is negative is refused as the timeout that it is.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    if text.trim_start().starts_with('-') {
        return Err(InvalidJob::Timeout(text.to_owned()).to_string());
    }
    duration(text)
}

/// Parses a count such as a priority; its range is checked with the job.
pub(crate) fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number"))
}

/// Parses a job id.
pub(crate) fn job_id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|error: InvalidJob| error.to_string())
}

/// Parses an RFC 3339 time.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: InvalidJob| error.to_string())
}

/// Parses an RFC 3339 time, or a duration, which means so long before now.
pub(crate) fn past(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = duration(text) {
        return Ok(Clock::machine().now().minus(ago));
    }
    text.parse().map_err(|_| {
        format!("{text:?} is neither an RFC 3339 time (2026-11-23T18:00:00Z) nor a duration (2h)")
    })
}

/// Reads the name of a state, and tells shells which there are.
#[derive(Clone)]
pub(crate) struct StateParser;

impl TypedValueParser for StateParser {
    type Value = State;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<State, clap::Error> {
        let text = StringValueParser::new();
        text.try_map(|text| state(&text)).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(State::ALL.iter().map(|state| PossibleValue::new(state.as_str()))))
    }
}

/// Parses the name of a state.
fn state(text: &str) -> Result<State, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_with_their_units() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_durations_that_could_mean_two_things() {
        for text in
            ["", "5", "s", "-5s", "5 s", "1.5h", "5x", "99999999999999999999s", "1e3s", "५s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration(&format!("{}d", u64::MAX)).is_err());
    }

    #[test]
    fn reads_times_in_the_past() {
        let hour = Duration::from_secs(3600);
        let at = past("1h").unwrap();
        let ago = Clock::machine().now().since(at);
        assert!(ago >= hour && ago < hour * 2);
        assert_eq!(past("2026-11-23T18:00:00Z"), time("2026-11-23T18:00:00Z"));
        assert!(past("yesterday").unwrap_err().contains("nor a duration"));
    }

    #[test]
    fn names_a_negative_timeout_as_a_timeout() {
        assert!(timeout("-5s").unwrap_err().contains("the timeout -5s is not within"));
    }
}
