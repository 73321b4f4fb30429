//! What goes into a user's transaction, as one text: the driver need not know our types, and the
//! payload is in base64, so that no encoding of a database changes a byte of it.

use serde::Serialize;

use crate::clock::{Timestamp, micros};
use crate::context::Attempt;
use crate::error::StoreError;
use crate::id::JobId;
use crate::inspect::{LOG_ATTEMPTS_MAX, LOG_LINES_MAX, LogLine};
use crate::job::{Delivery, Record};
use crate::store::tally::bucket;
use crate::store::{EnqueueOutcome, Enqueued, Finish, Note};

#[derive(Serialize)]
pub(super) struct Jobs<'a> {
    pub(super) instance: &'a str,
    pub(super) jobs: Vec<NewRow<'a>>,
}

/// A job as `enqueue_json` takes it.
#[derive(Serialize)]
pub(super) struct NewRow<'a> {
    id: JobId,
    r#type: &'a str,
    queue: &'a str,
    payload_base64: String,
    priority: u16,
    delay_us: Option<i64>,
    scheduled_for: Option<String>,
    max_attempts: u32,
    timeout_ms: u64,
    delivery: Delivery,
    correlation_id: Option<&'a str>,
    trace_parent: Option<&'a str>,
    group: Option<&'a str>,
    unique_key: Option<&'a str>,
    tags: &'a [String],
}

impl<'a> NewRow<'a> {
    pub(super) fn of(job: &'a Record) -> Self {
        let delay = micros(job.delay).min(Timestamp::MAX.us());
        Self {
            id: job.id,
            r#type: job.job_type.as_str(),
            queue: job.queue.as_str(),
            payload_base64: base64(&job.payload),
            priority: job.priority,
            delay_us: (!job.delay.is_zero()).then_some(delay),
            scheduled_for: job.scheduled_for.map(|at| at.to_string()),
            max_attempts: job.max_attempts,
            timeout_ms: job.timeout.as_millis() as u64,
            delivery: job.delivery,
            correlation_id: job.correlation_id.as_deref(),
            trace_parent: job.trace_parent.as_deref(),
            group: job.group.as_deref(),
            unique_key: job.unique_key.as_deref(),
            tags: &job.tags,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Completion<'a> {
    pub(super) instance: &'a str,
    pub(super) given_up: bool,
    pub(super) ended: EndedRow,
    pub(super) said: Option<Said<'a>>,
}

/// The end of an attempt as `complete_json` takes it.
#[derive(Serialize)]
pub(super) struct EndedRow {
    id: JobId,
    attempt: u32,
    nonce: i64,
    worker: i64,
    at_most_once: bool,
    started_us: i64,
    ran_us: i64,
    waited_us: i64,
    ran: usize,
    waited: usize,
}

impl EndedRow {
    pub(super) fn of(attempt: &Attempt, finish: &Finish) -> Self {
        Self {
            id: finish.fence.id,
            attempt: finish.fence.attempt,
            nonce: finish.fence.nonce,
            worker: attempt.worker.0,
            at_most_once: finish.delivery == Delivery::AtMostOnce,
            started_us: finish.started_at.us(),
            ran_us: micros(finish.ran),
            waited_us: micros(finish.waited),
            ran: bucket(finish.ran),
            waited: bucket(finish.waited),
        }
    }
}

/// The last words of an attempt. They stay with it too, for the transaction may be rolled back.
#[derive(Serialize)]
pub(super) struct Said<'a> {
    percent: Option<u8>,
    note: Option<&'a str>,
    noted_us: Option<i64>,
    log: Vec<LineRow<'a>>,
    lines_max: u32,
    attempts_max: u32,
}

#[derive(Serialize)]
struct LineRow<'a> {
    number: u32,
    at_us: i64,
    line: &'a str,
}

impl<'a> Said<'a> {
    pub(super) fn of(note: &'a Note) -> Self {
        let progress = note.progress.as_ref();
        let row =
            |l: &'a LogLine| LineRow { number: l.number, at_us: l.at.us(), line: l.text.as_str() };
        Self {
            percent: progress.map(|progress| progress.percent),
            note: progress.and_then(|progress| progress.note.as_deref()),
            noted_us: progress.map(|progress| progress.at.us()),
            log: note.log.iter().map(row).collect(),
            lines_max: LOG_LINES_MAX,
            attempts_max: LOG_ATTEMPTS_MAX,
        }
    }
}

pub(super) fn write(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Mistake(error.to_string()))
}

/// Reads `[[place, id, outcome], …]`, in the order of the places.
pub(super) fn read(text: &str) -> Result<Vec<Enqueued>, StoreError> {
    let rows: Vec<(u64, JobId, String)> =
        serde_json::from_str(text).map_err(|error| StoreError::Mistake(error.to_string()))?;
    let outcome = |word: &str| match word {
        "new" => EnqueueOutcome::New,
        "exists" => EnqueueOutcome::Exists,
        _ => EnqueueOutcome::Duplicate,
    };
    Ok(rows.iter().map(|(_, id, word)| Enqueued { id: *id, outcome: outcome(word) }).collect())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let shown = digit <= three.len();
            let six = (bits >> (18 - 6 * digit)) & 63;
            text.push(if shown { char::from(DIGITS[six as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_base64_as_everybody_reads_it() {
        let known =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in known {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0x00]), "//4A");
    }
}
