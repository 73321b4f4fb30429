//! Shows jobs: where each stands, its record, what its handlers said, its attempts, of one moment.

use tokio_postgres::Row;

use super::Db;
use super::errors::Trouble;
use super::rows::{count, get, logged, standing};
use super::wire::Line;
use crate::clock::Timestamp;
use crate::id::{JobId, Name, WorkerId};
use crate::inspect::{AttemptInfo, JobInfo, JobResult, LogLine, Progress};
use crate::store::Failure;
use crate::store::common::look::{Standing, Stored, logged_outcome, raw};
use crate::store::common::stored::split_tags;

impl Db {
    pub(super) async fn show(&self, id: JobId) -> Result<Option<JobInfo>, Trouble> {
        Ok(self.jobs(&[id], true).await?.pop())
    }

    /// Returns those of these jobs that are on record, in this order; `whole` with all they hold.
    pub(super) async fn jobs(&self, ids: &[JobId], whole: bool) -> Result<Vec<JobInfo>, Trouble> {
        let rows = self.query(Line::Look, "show", "jobs", &[&ids, &self.now(), &whole]).await?;
        rows.iter().map(|row| describe(row, whole)).collect()
    }

    pub(super) async fn results(&self, ids: &[JobId]) -> Result<Vec<Option<JobResult>>, Trouble> {
        let rows = self.query(Line::Look, "show", "results", &[&ids, &self.now()]).await?;
        let mut results: Vec<_> = ids.iter().map(|_| None).collect();
        for row in &rows {
            let found = standing(row)?;
            let result = found.result(get(row, "id")?, get(row, "now")?, || logged(row))?;
            let asked = usize::try_from(get::<i64>(row, "n")? - 1).ok();
            if let Some(answer) = asked.and_then(|asked| results.get_mut(asked)) {
                *answer = Some(result);
            }
        }
        Ok(results)
    }
}

fn describe(row: &Row, whole: bool) -> Result<JobInfo, Trouble> {
    let standing = standing(row)?;
    let mut info = standing.describe(get(row, "id")?, stored(row)?, get(row, "now")?);
    if whole {
        info.attempts = attempts(row, &standing)?;
        info.result = standing.result.as_deref().and_then(raw);
    }
    info.progress = progress(row)?;
    info.checkpoint = get::<Option<&[u8]>>(row, "checkpoint")?.and_then(raw);
    standing.add_last(&mut info, logged(row)?);
    Ok(info)
}

fn stored(row: &Row) -> Result<Stored, Trouble> {
    Ok(Stored {
        job_type: Name::stored(get(row, "type")?),
        queue: Name::stored(get(row, "queue")?),
        priority: get::<i16>(row, "priority")?.max(0) as u16,
        payload: get(row, "payload")?,
        payload_bytes: count(row, "payload_bytes")? as usize,
        created_at: get(row, "created_at")?,
        scheduled_for: get(row, "scheduled_for")?,
        max_attempts: count(row, "max_attempts")?,
        timeout_ms: get::<i64>(row, "timeout_ms")?.max(0) as u64,
        correlation_id: get(row, "correlation_id")?,
        trace_parent: get(row, "trace_parent")?,
        group: get(row, "group_key")?,
        unique_key: get(row, "unique_key")?,
        tags: split_tags(get(row, "tags")?),
        at_most_once: get::<i16>(row, "delivery")? == 1,
    })
}

fn progress(row: &Row) -> Result<Option<Progress>, Trouble> {
    let Some(percent) = get::<Option<i16>>(row, "percent")? else { return Ok(None) };
    let (note, at) = (get(row, "note")?, get(row, "noted_at")?);
    Ok(Some(Progress { percent: percent.clamp(0, 100) as u8, note, at }))
}

/// Reads the columns that hold one value for each attempt in the log, and adds the one that stands
/// in the place's own row.
fn attempts(row: &Row, standing: &Standing) -> Result<Vec<AttemptInfo>, Trouble> {
    let numbers: Vec<i32> = list(row, "attempts")?;
    let workers: Vec<i64> = list(row, "workers")?;
    let names: Vec<Option<String>> = list(row, "names")?;
    let (starts, ends): (Vec<_>, Vec<_>) = (list(row, "starts")?, list(row, "ends")?);
    let outcomes: Vec<i16> = list(row, "outcomes")?;
    let classes: Vec<Option<String>> = list(row, "classes")?;
    let messages: Vec<Option<String>> = list(row, "messages")?;
    let mut log = Vec::with_capacity(numbers.len() + 1);
    for (at, (number, (class, message))) in
        numbers.into_iter().zip(classes.into_iter().zip(messages)).enumerate()
    {
        log.push(AttemptInfo {
            number: number.max(0) as u32,
            worker: WorkerId(workers[at]),
            worker_name: names[at].clone(),
            started_at: starts[at],
            finished_at: ends[at],
            outcome: logged_outcome(i64::from(outcomes[at])),
            error: class.map(|class| Failure { class, message: message.unwrap_or_default() }),
            log: Vec::new(),
        });
    }
    let from_log = log.len();
    standing.add_to_log(&mut log);
    if log.len() > from_log || standing.worker != 0 {
        name_last(&mut log, standing, get(row, "name")?);
    }
    add_lines(row, &mut log)?;
    Ok(log)
}

fn name_last(log: &mut [AttemptInfo], standing: &Standing, name: Option<String>) {
    if let Some(last) = log.last_mut()
        && last.worker == WorkerId(standing.worker)
    {
        last.worker_name = name;
    }
}

fn add_lines(row: &Row, log: &mut [AttemptInfo]) -> Result<(), Trouble> {
    let (attempts, numbers): (Vec<i32>, Vec<i64>) =
        (list(row, "log_attempts")?, list(row, "numbers")?);
    let times: Vec<Timestamp> = list(row, "logged")?;
    let texts: Vec<String> = list(row, "lines")?;
    for (((attempt, number), at), text) in attempts.into_iter().zip(numbers).zip(times).zip(texts) {
        let line = LogLine { number: number.max(0) as _, at, text };
        if let Some(one) = log.iter_mut().find(|one| i64::from(one.number) == i64::from(attempt)) {
            one.log.push(line);
        }
    }
    Ok(())
}

/// Reads an array; without rows it is null.
fn list<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    column: &str,
) -> Result<Vec<T>, Trouble> {
    Ok(get::<Option<Vec<T>>>(row, column)?.unwrap_or_default())
}
