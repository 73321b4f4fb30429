//! Stores jobs: the record, its place, its unique key.

use rusqlite::types::ToSqlOutput;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params};

use super::errors::Trouble;
use super::statements::prepare;
use super::tally::Event;
use super::writer::Txn;
use crate::id::JobId;
use crate::job::{Delivery, Record};
use crate::store::common::stored::join_tags;
pub(super) use crate::store::common::stored::{AT_MOST_ONCE, UNIQUE};
use crate::store::{EnqueueOutcome, Enqueued};

impl ToSql for JobId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(&self.as_bytes()[..]))
    }
}

/// True when a job may be claimed as soon as it is stored.
pub(super) fn is_due(job: &Record) -> bool {
    job.scheduled_for.is_none() && job.delay.is_zero()
}

pub(super) fn enqueue(txn: &mut Txn<'_>, jobs: &[Record]) -> Result<Vec<Enqueued>, Trouble> {
    let mut plain = prepare(txn.conn, "enqueue", "plain")?;
    let mut ready = prepare(txn.conn, "enqueue", "ready")?;
    let mut answers = Vec::with_capacity(jobs.len());
    // Jobs that are all due now get their places by one statement, from the records just written.
    let newest = match jobs.len() > 1 && jobs.iter().all(is_due) {
        true => Some(newest_record(txn)?),
        false => None,
    };
    for job in jobs {
        let outcome = match take_key(txn, job)? {
            Some(other) => other,
            None if insert_record(txn, &mut plain, job)? == 0 => {
                Enqueued { id: job.id, outcome: EnqueueOutcome::Exists }
            }
            None => {
                if newest.is_none() {
                    insert_place(txn, &mut ready, job)?;
                }
                txn.tally.count(&job.queue, &job.job_type, Event::Enqueued);
                Enqueued { id: job.id, outcome: EnqueueOutcome::New }
            }
        };
        answers.push(outcome);
    }
    if let Some(newest) = newest {
        let places = params![newest, txn.now.us()];
        *txn.ring |= prepare(txn.conn, "enqueue", "ready_since")?.execute(places)? > 0;
    }
    Ok(answers)
}

/// Returns the number of the newest record; those written after it in this transaction have larger
/// ones.
fn newest_record(txn: &Txn<'_>) -> Result<i64, Trouble> {
    Ok(prepare(txn.conn, "enqueue", "newest")?.query_row([], |row| row.get(0))?)
}

/// Takes the unique key, if there is one; answers for the job when it is known or the key is held.
fn take_key(txn: &mut Txn<'_>, job: &Record) -> Result<Option<Enqueued>, Trouble> {
    let Some(key) = &job.unique_key else { return Ok(None) };
    let known =
        prepare(txn.conn, "enqueue", "known")?.query_row(params![job.id], |_| Ok(())).optional()?;
    if known.is_some() {
        return Ok(Some(Enqueued { id: job.id, outcome: EnqueueOutcome::Exists }));
    }
    let holder = take_key_or_holder(txn.conn, key, job.id)?;
    Ok(holder.map(|id| Enqueued { id, outcome: EnqueueOutcome::Duplicate }))
}

/// Takes a unique key for a job that is live, or becomes live again; returns who holds it if it is
/// taken.
pub(super) fn take_key_or_holder(
    conn: &Connection,
    key: &str,
    id: JobId,
) -> Result<Option<JobId>, Trouble> {
    if prepare(conn, "enqueue", "take_key")?.execute(params![key, id])? == 1 {
        return Ok(None);
    }
    let holder: [u8; 16] =
        prepare(conn, "enqueue", "holder")?.query_row(params![key], |row| row.get(0))?;
    Ok(Some(JobId::from_bytes(holder)))
}

fn insert_record(
    txn: &Txn<'_>,
    plain: &mut CachedStatement<'_>,
    job: &Record,
) -> Result<usize, Trouble> {
    let delivery = i64::from(job.delivery == Delivery::AtMostOnce);
    let timeout = job.timeout.as_millis() as i64;
    let is_plain = job.scheduled_for.is_none()
        && job.delay.is_zero()
        && job.correlation_id.is_none()
        && job.trace_parent.is_none()
        && job.group.is_none()
        && job.unique_key.is_none()
        && job.tags.is_empty();
    if is_plain {
        return Ok(plain.execute(params![
            job.id,
            job.job_type.as_str(),
            job.queue.as_str(),
            job.payload,
            job.priority,
            txn.now.us(),
            job.max_attempts,
            timeout,
            delivery,
        ])?);
    }
    Ok(prepare(txn.conn, "enqueue", "record")?.execute(params![
        job.id,
        job.job_type.as_str(),
        job.queue.as_str(),
        job.payload,
        job.priority,
        txn.now.us(),
        run_at(txn, job),
        job.max_attempts,
        timeout,
        job.correlation_id,
        job.trace_parent,
        job.group,
        job.unique_key,
        join_tags(&job.tags),
        delivery,
    ])?)
}

fn insert_place(
    txn: &mut Txn<'_>,
    ready: &mut CachedStatement<'_>,
    job: &Record,
) -> Result<(), Trouble> {
    let now = txn.now.us();
    let run_at = run_at(txn, job).unwrap_or(now);
    let mut flags = if job.unique_key.is_some() { UNIQUE } else { 0 };
    if job.delivery == Delivery::AtMostOnce {
        flags |= AT_MOST_ONCE;
    }
    let row = params![
        job.queue.as_str(),
        job.priority,
        run_at.max(now),
        job.id,
        job.job_type.as_str(),
        flags
    ];
    if run_at > now {
        prepare(txn.conn, "enqueue", "scheduled")?.execute(row)?;
    } else {
        ready.execute(row)?;
        *txn.ring = true;
    }
    Ok(())
}

fn run_at(txn: &Txn<'_>, job: &Record) -> Option<i64> {
    let delayed = || (!job.delay.is_zero()).then(|| txn.now.plus(job.delay));
    job.scheduled_for.or_else(delayed).map(|at| at.us())
}
