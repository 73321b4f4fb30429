//! Jobs from NDJSON: one a line, with the names of a job's settings.
//!
//! Lines are read in chunks. A chunk is stored only when all of its lines are good, in one piece;
//! so when a line is bad, what stands before its chunk is stored and the rest is not, and the
//! command says how many that are. Sending the same lines again is harmless when they carry ids.

use std::borrow::Cow;
use std::io::BufRead;
use std::time::Duration;

use dutiful::{Delivery, InvalidJob, NewJob};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Longest line in bytes: the largest payload, its settings, and room to spare.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Most jobs in a chunk, which the store takes in one piece.
pub(crate) const CHUNK_JOBS: usize = 1000;
/// A chunk ends early when its jobs have so many bytes.
const CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// A line: a job with the names of its settings. Others are refused, so that no typo is lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    job_type: Cow<'a, str>,
    // Kept as the bytes that stand in the line, numbers of any size included.
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    queue: Option<String>,
    priority: Option<i64>,
    #[serde(borrow)]
    scheduled_for: Option<Cow<'a, str>>,
    delay_ms: Option<i64>,
    max_attempts: Option<i64>,
    timeout_ms: Option<i64>,
    correlation_id: Option<String>,
    trace_parent: Option<String>,
    group: Option<String>,
    unique_key: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    delivery: Option<Delivery>,
}

/// A chunk of lines, or why it cannot be one.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// The jobs, in the order of their lines.
    pub(crate) jobs: Vec<NewJob>,
    /// The numbers of their lines, from 1.
    pub(crate) numbers: Vec<u64>,
    /// The bytes that were read for them.
    pub(crate) bytes: u64,
}

/// A line that is no job.
#[derive(Debug)]
pub(crate) struct BadLine {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Chunk {
    /// Returns the line that the client refuses, found by asking it for each job alone. That is a
    /// client of a store in memory, so that nothing of a refused chunk is stored.
    pub(crate) async fn refused(self) -> Result<Option<BadLine>, dutiful::Error> {
        let scratch = dutiful::Client::connect("sqlite::memory:").await?;
        for (job, number) in self.jobs.into_iter().zip(self.numbers) {
            if let Err(dutiful::Error::InvalidJob(why)) = scratch.enqueue_many(vec![job]).await {
                return Ok(Some(BadLine { number, reason: why.to_string() }));
            }
        }
        Ok(None)
    }
}

/// Reads chunks of jobs from lines.
pub(crate) struct Lines<R> {
    from: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, number: 0 }
    }

    /// Returns the next chunk; an empty one is the end.
    pub(crate) fn chunk(&mut self) -> Result<Chunk, BadLine> {
        let (mut chunk, mut line, mut kept) = (Chunk::default(), Vec::new(), 0);
        while chunk.jobs.len() < CHUNK_JOBS && kept < CHUNK_BYTES {
            line.clear();
            self.number += 1;
            let bytes = self.read(&mut line).map_err(|reason| self.bad(reason))?;
            if bytes == 0 {
                break;
            }
            chunk.bytes += bytes as u64;
            if !line.trim_ascii().is_empty() {
                kept += bytes;
                chunk.jobs.push(job(&line).map_err(|reason| self.bad(reason))?);
                chunk.numbers.push(self.number);
            }
        }
        Ok(chunk)
    }

    fn bad(&self, reason: String) -> BadLine {
        BadLine { number: self.number, reason }
    }

    fn read(&mut self, line: &mut Vec<u8>) -> Result<usize, String> {
        use std::io::Read as _;
        let mut bounded = (&mut self.from).take(LINE_BYTES_MAX as u64 + 1);
        let bytes = bounded.read_until(b'\n', line).map_err(|error| error.to_string())?;
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("it is longer than {LINE_BYTES_MAX} bytes; is it NDJSON?"));
        }
        Ok(bytes)
    }
}

/// Returns the job of a line; what its values may be is for the client to say.
fn job(line: &[u8]) -> Result<NewJob, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| not_a_job(&error))?;
    let invalid = |error: InvalidJob| error.to_string();
    let settings = dutiful::Settings {
        id: line.id.map(|id| id.parse()).transpose().map_err(invalid)?,
        queue: line.queue,
        priority: line.priority,
        scheduled_for: line.scheduled_for.map(|at| at.parse()).transpose().map_err(invalid)?,
        delay: line.delay_ms.map(delay).transpose()?,
        max_attempts: line.max_attempts,
        timeout: line.timeout_ms.map(timeout).transpose().map_err(invalid)?,
        correlation_id: line.correlation_id,
        trace_parent: line.trace_parent,
        group: line.group,
        unique_key: line.unique_key,
        tags: line.tags,
        delivery: line.delivery,
    };
    let payload = line.payload.get().as_bytes().to_vec();
    let job = NewJob { job_type: line.job_type.into_owned(), payload, settings };
    Ok(job)
}

/// Says in which column, as the line is said by its number already.
fn not_a_job(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("{what} at column {}", error.column())
}

fn delay(ms: i64) -> Result<Duration, String> {
    let ms = u64::try_from(ms).map_err(|_| format!("the delay {ms}ms is negative"))?;
    Ok(Duration::from_millis(ms))
}

fn timeout(ms: i64) -> Result<Duration, InvalidJob> {
    let ms = u64::try_from(ms).map_err(|_| InvalidJob::Timeout(format!("{ms}ms")))?;
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> Result<Chunk, BadLine> {
        Lines::new(text.as_bytes()).chunk()
    }

    #[test]
    fn keeps_the_bytes_of_a_payload() {
        let text = r#"{"type":"t","payload": {"n":1.00000000000000000001, "big":123456789012345678901234567890,"s":"\u00e9"} }"#;
        let chunk = chunk(text).unwrap();
        let payload =
            br#"{"n":1.00000000000000000001, "big":123456789012345678901234567890,"s":"\u00e9"}"#;
        assert_eq!(chunk.jobs[0].payload, payload);
    }

    #[test]
    fn skips_empty_lines_but_counts_them() {
        let bad = chunk("\n\r\n{\"type\":\"t\",\"payload\":1}\n\n{\"type\":\"t\"}\n").unwrap_err();
        assert_eq!(bad.number, 5);
        assert!(bad.reason.contains("missing field `payload`"), "{}", bad.reason);
    }

    #[test]
    fn ends_a_chunk_in_time() {
        let text = "{\"type\":\"t\",\"payload\":1}\n".repeat(CHUNK_JOBS + 1);
        let mut lines = Lines::new(text.as_bytes());
        assert_eq!(lines.chunk().unwrap().jobs.len(), CHUNK_JOBS);
        assert_eq!(lines.chunk().unwrap().jobs.len(), 1);
        assert!(lines.chunk().unwrap().jobs.is_empty());
    }

    #[test]
    fn names_what_is_wrong_with_a_line() {
        for (line, says) in [
            ("nonsense", "column"),
            (r#"{"type":"t","payload":1,"prority":1}"#, "unknown field `prority`"),
            (r#"{"type":"t","payload":1,"timeout_ms":-5}"#, "the timeout -5ms is not within"),
            (r#"{"type":"t","payload":1,"delay_ms":-5}"#, "the delay -5ms is negative"),
            (r#"{"type":"t","payload":1,"id":"x"}"#, "is not a job id"),
            (
                r#"{"type":"t","payload":1,"scheduled_for":"12026-01-01T00:00:00Z"}"#,
                "is not a time",
            ),
            (r#"{"type":"t","payload":1,"delivery":"twice"}"#, "unknown variant `twice`"),
        ] {
            let bad = chunk(line).expect_err(line);
            assert!(bad.reason.contains(says), "{line}: {}", bad.reason);
        }
        let long = format!("{{\"type\":\"t\",\"payload\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
        assert!(chunk(&long).unwrap_err().reason.contains("longer than"));
    }
}
