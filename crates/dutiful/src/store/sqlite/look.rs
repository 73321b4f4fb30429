//! Shows a job: where it stands, its record, what its handlers said, its attempts.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::errors::Trouble;
use super::rows::{count, failure, some_text, text};
use super::statements::prepare;
use crate::clock::Timestamp;
use crate::id::{JobId, Name, WorkerId};
use crate::inspect::{AttemptInfo, JobInfo, JobResult, LogLine, Progress};
use crate::store::common::look::{Logged, Standing, Stored, logged_outcome, raw};
use crate::store::common::stored::{AT_MOST_ONCE, split_tags};

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let at = |column| some_time(row, column);
    Ok(Standing {
        place: row.get(0)?,
        detail: row.get(1)?,
        attempt: count(row, 2)?,
        failures: count(row, 3)?,
        crashes: count(row, 4)?,
        worker: row.get(5)?,
        started_at: at(6)?,
        finished_at: at(7)?,
        run_at: at(8)?,
        error: failure(row, 9)?,
        result: row.get(11)?,
    })
}

fn some_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_us))
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
    let mut places = prepare(conn, "show", "standing")?;
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        let found = places.query_row(params![id], standing).optional()?;
        let result = found.map(|found| found.result(*id, now, || last_attempt(conn, *id)));
        results.push(result.transpose()?);
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
        prepare(conn, "show", "standing")?.query_row(params![id], standing).optional()?;
    let Some(standing) = standing else { return Ok(None) };
    let record = if whole { "record" } else { "brief" };
    let stored = prepare(conn, "show", record)?.query_row(params![id], stored).optional()?;
    let Some(stored) = stored else { return Ok(None) };
    let mut info = standing.describe(id, stored, now);
    if whole {
        info.attempts = attempts(conn, id, &standing)?;
        info.result = standing.result.as_deref().and_then(raw);
    }
    add_progress(conn, &mut info, whole)?;
    standing.add_last(&mut info, last_attempt(conn, id)?);
    Ok(Some(info))
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        job_type: Name::stored(&text(row, 0)?),
        queue: Name::stored(&text(row, 1)?),
        priority: row.get(2)?,
        payload: row.get(3)?,
        payload_bytes: row.get::<_, i64>(14)?.max(0) as usize,
        created_at: Timestamp::from_us(row.get(4)?),
        scheduled_for: some_time(row, 5)?,
        max_attempts: row.get(6)?,
        timeout_ms: row.get::<_, i64>(7)?.max(0) as u64,
        correlation_id: some_text(row, 8)?,
        trace_parent: some_text(row, 9)?,
        group: some_text(row, 10)?,
        unique_key: some_text(row, 11)?,
        tags: split_tags(some_text(row, 12)?),
        at_most_once: row.get::<_, i64>(13)? * 2 == AT_MOST_ONCE,
    })
}

fn last_attempt(conn: &Connection, id: JobId) -> Result<Option<Logged>, Trouble> {
    let mut statement = prepare(conn, "show", "last_attempt")?;
    let read = |row: &Row<'_>| {
        let started_at = Timestamp::from_us(row.get(2)?);
        Ok(Logged { number: row.get(0)?, started_at, error: failure(row, 5)? })
    };
    Ok(statement.query_row(params![id], read).optional()?)
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
    standing.add_to_log(&mut log);
    add_log(conn, id, &mut log)?;
    for one in &mut log {
        one.worker_name = prepare(conn, "show", "worker")?
            .query_row(params![one.worker.0], |row| some_text(row, 0))
            .optional()?
            .flatten();
    }
    Ok(log)
}
