//! Shows a job: where it stands, its record, what its handlers said, its attempts.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::value::RawValue;

use super::change::state_of;
use super::enqueue::{AT_MOST_ONCE, split_tags};
use super::errors::Trouble;
use super::finish;
use super::rows::{count, failure, some_text, text};
use super::statements::prepare;
use crate::clock::Timestamp;
use crate::id::{JobId, Name, WorkerId};
use crate::inspect::{AttemptInfo, AttemptOutcome, JobInfo, JobResult, LogLine, Progress};
use crate::job::{Delivery, State};
use crate::store::{DeadReason, Failure};

/// The row of the place where a job stands.
struct Standing {
    place: i64,
    detail: i64,
    attempt: u32,
    failures: u32,
    crashes: u32,
    worker: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    run_at: Option<i64>,
    error: Option<Failure>,
    result: Option<Vec<u8>>,
}

impl Standing {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            place: row.get(0)?,
            detail: row.get(1)?,
            attempt: count(row, 2)?,
            failures: count(row, 3)?,
            crashes: count(row, 4)?,
            worker: row.get(5)?,
            started_at: row.get(6)?,
            finished_at: row.get(7)?,
            run_at: row.get(8)?,
            error: failure(row, 9)?,
            result: row.get(11)?,
        })
    }
}

pub(super) fn show(
    conn: &Connection,
    id: JobId,
    now: Timestamp,
) -> Result<Option<JobInfo>, Trouble> {
    look(conn, id, now, true)
}

pub(super) fn results(
    conn: &Connection,
    ids: &[JobId],
    now: Timestamp,
) -> Result<Vec<Option<JobResult>>, Trouble> {
    let mut standing = prepare(conn, "show", "standing")?;
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        let found = standing.query_row(params![id], Standing::read).optional()?;
        let Some(found) = found else {
            results.push(None);
            continue;
        };
        let state = state_of(found.place, found.detail, now);
        let result = found.result.as_deref().and_then(raw);
        // An attempt that went well has no error, though one before it may have failed.
        let failed_once = (found.place, found.detail) == (4, finish::FAILED_ONCE);
        let error = match found.error {
            None if failed_once || state == State::Failed => last_failure(conn, *id)?,
            error => error,
        };
        results.push(Some(JobResult { id: *id, state, result, error }));
    }
    Ok(results)
}

pub(super) fn look(
    conn: &Connection,
    id: JobId,
    now: Timestamp,
    whole: bool,
) -> Result<Option<JobInfo>, Trouble> {
    let standing =
        prepare(conn, "show", "standing")?.query_row(params![id], Standing::read).optional()?;
    let Some(standing) = standing else { return Ok(None) };
    let record = if whole { "record" } else { "brief" };
    let info = prepare(conn, "show", record)?
        .query_row(params![id], |row| describe(row, id, &standing, now))
        .optional()?;
    let Some(mut info) = info else { return Ok(None) };
    if whole {
        info.attempts = attempts(conn, id, &standing)?;
        info.result = standing.result.as_deref().and_then(raw);
    }
    add_progress(conn, &mut info, whole)?;
    add_last_attempt(conn, &mut info, &standing)?;
    Ok(Some(info))
}

fn describe(
    row: &Row<'_>,
    id: JobId,
    standing: &Standing,
    now: Timestamp,
) -> rusqlite::Result<JobInfo> {
    let state = state_of(standing.place, standing.detail, now);
    let created_at = Timestamp::from_us(row.get(4)?);
    let asked_for = row.get::<_, Option<i64>>(5)?.map(Timestamp::from_us);
    let correlation = some_text(row, 8)?;
    let payload: Option<Vec<u8>> = row.get(3)?;
    let delivery = row.get::<_, i64>(13)?;
    Ok(JobInfo {
        id,
        job_type: Name::stored(&text(row, 0)?),
        state,
        queue: Name::stored(&text(row, 1)?),
        priority: row.get(2)?,
        payload: payload.as_deref().and_then(raw),
        payload_bytes: row.get::<_, i64>(14)?.max(0) as usize,
        created_at,
        scheduled_for: standing.run_at.map(Timestamp::from_us).or(asked_for).unwrap_or(created_at),
        attempt: standing.attempt,
        failures: standing.failures,
        crashes: standing.crashes,
        max_attempts: row.get(6)?,
        timeout_ms: row.get::<_, i64>(7)?.max(0) as u64,
        correlation_id: correlation.unwrap_or_else(|| id.to_string()),
        trace_parent: some_text(row, 9)?,
        group: some_text(row, 10)?,
        unique_key: some_text(row, 11)?,
        tags: split_tags(some_text(row, 12)?),
        delivery: if delivery * 2 == AT_MOST_ONCE {
            Delivery::AtMostOnce
        } else {
            Delivery::AtLeastOnce
        },
        last_attempt_at: None,
        finished_at: standing.finished_at.map(Timestamp::from_us),
        last_error: None,
        dead_reason: (state == State::Dead).then_some(match standing.detail {
            1 => DeadReason::Exhausted,
            2 => DeadReason::Discarded,
            _ => DeadReason::Quarantined,
        }),
        result: None,
        progress: None,
        checkpoint: None,
        attempts: Vec::new(),
    })
}

/// Payloads and results were checked when they entered, so this only fails on a damaged file.
fn raw(bytes: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(bytes.to_vec()).ok()?).ok()
}

fn add_last_attempt(
    conn: &Connection,
    info: &mut JobInfo,
    standing: &Standing,
) -> Result<(), Trouble> {
    let logged = last_attempt(conn, info.id)?;
    let here = (standing.worker != 0).then_some(standing.started_at).flatten();
    let at = here.or(logged.as_ref().map(|(at, _)| *at));
    info.last_attempt_at = at.map(Timestamp::from_us);
    info.last_error = standing.error.clone().or(logged.and_then(|(_, failure)| failure));
    Ok(())
}

/// Returns when the last attempt in the log began, and what it failed with.
fn last_attempt(conn: &Connection, id: JobId) -> Result<Option<(i64, Option<Failure>)>, Trouble> {
    let mut statement = prepare(conn, "show", "last_attempt")?;
    Ok(statement.query_row(params![id], |row| Ok((row.get(2)?, failure(row, 5)?))).optional()?)
}

fn last_failure(conn: &Connection, id: JobId) -> Result<Option<Failure>, Trouble> {
    Ok(last_attempt(conn, id)?.and_then(|(_, failure)| failure))
}

fn add_progress(conn: &Connection, info: &mut JobInfo, whole: bool) -> Result<(), Trouble> {
    let said = prepare(conn, "show", "progress")?
        .query_row(params![info.id], |row| {
            let percent: Option<u8> = row.get(0)?;
            let (note, at) = (some_text(row, 1)?, Timestamp::from_us(row.get(2)?));
            let progress = percent.map(|percent| Progress { percent, note, at });
            Ok((progress, row.get::<_, Option<Vec<u8>>>(3)?))
        })
        .optional()?;
    if let Some((progress, checkpoint)) = said {
        info.progress = progress;
        info.checkpoint = checkpoint.filter(|_| whole).as_deref().and_then(raw);
    }
    Ok(())
}

fn add_log(conn: &Connection, id: JobId, log: &mut [AttemptInfo]) -> Result<(), Trouble> {
    let mut statement = prepare(conn, "show", "log")?;
    let mut rows = statement.query(params![id])?;
    while let Some(row) = rows.next()? {
        let number: u32 = row.get(0)?;
        let at = Timestamp::from_us(row.get(2)?);
        let line = LogLine { number: row.get(1)?, at, text: text(row, 3)?.into_owned() };
        if let Some(attempt) = log.iter_mut().find(|one| one.number == number) {
            attempt.log.push(line);
        }
    }
    Ok(())
}

fn attempts(
    conn: &Connection,
    id: JobId,
    standing: &Standing,
) -> Result<Vec<AttemptInfo>, Trouble> {
    let mut statement = prepare(conn, "show", "attempts")?;
    let mut rows = statement.query(params![id])?;
    let mut log: Vec<AttemptInfo> = Vec::new();
    while let Some(row) = rows.next()? {
        log.push(AttemptInfo {
            number: count(row, 0)?,
            worker: WorkerId(row.get(1)?),
            worker_name: None,
            started_at: Timestamp::from_us(row.get(2)?),
            finished_at: Some(Timestamp::from_us(row.get(3)?)),
            outcome: logged_outcome(row.get(4)?),
            error: failure(row, 5)?,
            log: Vec::new(),
        });
    }
    add_standing(&mut log, standing);
    add_log(conn, id, &mut log)?;
    for one in &mut log {
        one.worker_name = prepare(conn, "show", "worker")?
            .query_row(params![one.worker.0], |row| some_text(row, 0))
            .optional()?
            .flatten();
    }
    Ok(log)
}

/// The last attempt stands in the place's own row; at-most-once failures logged their error too.
fn add_standing(log: &mut Vec<AttemptInfo>, standing: &Standing) {
    let Some(started_at) = standing.started_at.filter(|_| standing.worker != 0) else { return };
    let error = match log.last() {
        Some(last) if last.number == standing.attempt => log.pop().and_then(|last| last.error),
        _ => standing.error.clone(),
    };
    log.push(AttemptInfo {
        number: standing.attempt,
        worker: WorkerId(standing.worker),
        worker_name: None,
        started_at: Timestamp::from_us(started_at),
        finished_at: standing.finished_at.map(Timestamp::from_us),
        outcome: match (standing.place, standing.detail) {
            (3, _) => AttemptOutcome::Running,
            (4, finish::CANCELLED) => AttemptOutcome::Cancelled,
            (4, finish::UNHEARD) => AttemptOutcome::Unknown,
            (4, finish::FAILED_ONCE) => AttemptOutcome::Failed,
            (4, _) => AttemptOutcome::Completed,
            (_, 3) => AttemptOutcome::Stalled,
            _ => AttemptOutcome::Dead,
        },
        error,
        log: Vec::new(),
    });
}

fn logged_outcome(code: i64) -> AttemptOutcome {
    match code {
        finish::LOG_DEAD => AttemptOutcome::Dead,
        finish::LOG_SNOOZED => AttemptOutcome::Snoozed,
        finish::LOG_RELEASED => AttemptOutcome::Released,
        finish::LOG_STALLED => AttemptOutcome::Stalled,
        finish::LOG_CANCELLED => AttemptOutcome::Cancelled,
        _ => AttemptOutcome::Failed,
    }
}
