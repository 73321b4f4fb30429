//! Shows one job and lists many.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::value::RawValue;

use super::change::state_of;
use super::enqueue::{AT_MOST_ONCE, split_tags};
use super::errors::Trouble;
use super::finish;
use super::rows::{count, failure, some_text, text, whole_id};
use super::statements::prepare;
use crate::clock::Timestamp;
use crate::id::{JobId, Name, WorkerId};
use crate::inspect::{AttemptInfo, AttemptOutcome, EXAMINED_MAX, Filter, JobInfo, PAGE_MAX, Page};
use crate::job::{Delivery, State};
use crate::store::{DeadReason, Failure};

/// Jobs on a page when nobody says how many.
const PAGE_DEFAULT: usize = 50;

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

fn look(
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
    let logged = prepare(conn, "show", "last_attempt")?
        .query_row(params![info.id], |row| {
            Ok((row.get::<_, i64>(2)?, row.get::<_, i64>(4)?, failure(row, 5)?))
        })
        .optional()?;
    let here = (standing.worker != 0).then_some(standing.started_at).flatten();
    let at = here.or(logged.as_ref().map(|(at, ..)| *at));
    info.last_attempt_at = at.map(Timestamp::from_us);
    info.last_error = standing.error.clone().or(logged.and_then(|(.., failure)| failure));
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
        });
    }
    add_standing(&mut log, standing);
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

pub(super) fn list(conn: &Connection, filter: &Filter, now: Timestamp) -> Result<Page, Trouble> {
    let limit = filter.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let from = filter.state.map_or(if filter.live { "live" } else { "any" }, State::as_str);
    let before = filter.before.unwrap_or(JobId::from_bytes([0xFF; 16]));
    let mut ids = prepare(conn, "list", from)?;
    // Statements that do not ask the time have one parameter.
    let asks_time = ids.parameter_count() == 2;
    ids.raw_bind_parameter(1, before)?;
    if asks_time {
        ids.raw_bind_parameter(2, now.us())?;
    }
    let mut rows = ids.raw_query();
    let (mut page, mut examined) = (Page { jobs: Vec::new(), next: None }, 0);
    while let Some(row) = rows.next()? {
        let Some(id) = whole_id(row, 0)? else { continue };
        examined += 1;
        if let Some(info) = look(conn, id, now, false)?
            && fits(&info, filter)
        {
            page.jobs.push(info);
        }
        if page.jobs.len() == limit || examined == EXAMINED_MAX {
            page.next = rows.next()?.map(|_| id);
            break;
        }
    }
    Ok(page)
}

fn fits(info: &JobInfo, filter: &Filter) -> bool {
    let ended = matches!(info.state, State::Completed | State::Cancelled | State::Dead);
    !(filter.live && ended)
        && filter.queue.as_ref().is_none_or(|queue| *queue == info.queue)
        && filter.job_type.as_ref().is_none_or(|job_type| *job_type == info.job_type)
        && filter.state.is_none_or(|state| state == info.state)
}
