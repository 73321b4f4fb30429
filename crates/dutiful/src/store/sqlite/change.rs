//! Changes by id: cancel, retry, discard, reschedule, delete; and pausing a queue.

use rusqlite::{Connection, OptionalExtension, params};

use super::enqueue::take_key_or_holder;
use super::errors::Trouble;
use super::rows::some_text;
use super::statements::prepare;
use super::tally::Event;
use super::writer::Txn;
use crate::clock::Timestamp;
use crate::id::{JobId, Name};
use crate::job::State;
use crate::store::Change;
use crate::store::common::stored::state_of;

/// Where a job stands.
struct Place {
    state: State,
    queue: Name,
    job_type: Name,
}

/// Looks in every place. Within a transaction the answer holds until its end.
fn find(txn: &mut Txn<'_>, id: JobId) -> Result<Option<Place>, Trouble> {
    let row = prepare(txn.conn, "show", "place")?
        .query_row(params![id], |row| {
            let text = |column| some_text(row, column);
            Ok((row.get(0)?, row.get(1)?, text(2)?, text(3)?))
        })
        .optional()?;
    let Some((place, detail, queue, job_type)) = row else { return Ok(None) };
    Ok(Some(Place {
        state: state_of(place, detail, txn.now),
        queue: txn.names.get(queue.as_deref().unwrap_or("unknown")),
        job_type: txn.names.get(job_type.as_deref().unwrap_or("unknown")),
    }))
}

/// Runs a verb's statements that take the id, or the id and the time.
fn run(
    conn: &Connection,
    verb: &'static str,
    id: JobId,
    steps: &[&'static str],
) -> Result<(), Trouble> {
    for step in steps {
        prepare(conn, verb, step)?.execute(params![id])?;
    }
    Ok(())
}

fn run_at(
    conn: &Connection,
    verb: &'static str,
    step: &'static str,
    id: JobId,
    at: Timestamp,
) -> Result<usize, Trouble> {
    Ok(prepare(conn, verb, step)?.execute(params![id, at.us()])?)
}

pub(super) fn cancel(txn: &mut Txn<'_>, id: JobId) -> Result<Change, Trouble> {
    let Some(place) = find(txn, id)? else { return Ok(Change::NotFound) };
    match place.state {
        State::Pending | State::Scheduled | State::Failed => {
            // A pending job set aside stands in scheduled, so both places are tried.
            run_at(txn.conn, "cancel", "ready_to_done", id, txn.now)?;
            run_at(txn.conn, "cancel", "scheduled_to_done", id, txn.now)?;
            run(txn.conn, "cancel", id, &["leave_ready", "leave_scheduled", "free_key"])?;
            txn.tally.count(&place.queue, &place.job_type, Event::Cancelled);
            Ok(Change::Done)
        }
        State::Active | State::Stalled => {
            run(txn.conn, "cancel", id, &["ask"])?;
            Ok(Change::Requested)
        }
        state => Ok(Change::Refused { state }),
    }
}

pub(super) fn retry(txn: &mut Txn<'_>, id: JobId) -> Result<Change, Trouble> {
    let Some(place) = find(txn, id)? else { return Ok(Change::NotFound) };
    match place.state {
        State::Failed => {
            run_at(txn.conn, "retry", "scheduled_to_ready", id, txn.now)?;
            run(txn.conn, "retry", id, &["leave_scheduled"])?;
        }
        State::Dead | State::Cancelled => {
            if let Some(holder) = take_key_again(txn, id)? {
                return Ok(Change::Conflict { holder });
            }
            if place.state == State::Dead {
                run(txn.conn, "retry", id, &["log_dead"])?;
                run_at(txn.conn, "retry", "dead_to_ready", id, txn.now)?;
                run(txn.conn, "retry", id, &["leave_dead"])?;
            } else {
                run(txn.conn, "retry", id, &["log_done"])?;
                run_at(txn.conn, "retry", "done_to_ready", id, txn.now)?;
                run(txn.conn, "retry", id, &["leave_done"])?;
                txn.tally.count(&place.queue, &place.job_type, Event::CancelledGone);
            }
        }
        state => return Ok(Change::Refused { state }),
    }
    *txn.ring = true;
    Ok(Change::Done)
}

/// Takes the unique key of a job that becomes live again; returns who holds it if it is taken.
fn take_key_again(txn: &Txn<'_>, id: JobId) -> Result<Option<JobId>, Trouble> {
    let key: Option<Option<String>> =
        prepare(txn.conn, "retry", "key")?.query_row(params![id], |row| row.get(0)).optional()?;
    let Some(Some(key)) = key else { return Ok(None) };
    take_key_or_holder(txn.conn, &key, id)
}

pub(super) fn discard(txn: &mut Txn<'_>, id: JobId) -> Result<Change, Trouble> {
    let Some(place) = find(txn, id)? else { return Ok(Change::NotFound) };
    if place.state != State::Dead {
        return Ok(Change::Refused { state: place.state });
    }
    run(txn.conn, "discard", id, &["log"])?;
    run_at(txn.conn, "discard", "to_done", id, txn.now)?;
    run(txn.conn, "discard", id, &["leave_dead"])?;
    txn.tally.count(&place.queue, &place.job_type, Event::Cancelled);
    Ok(Change::Done)
}

pub(super) fn reschedule(txn: &mut Txn<'_>, id: JobId, at: Timestamp) -> Result<Change, Trouble> {
    let Some(place) = find(txn, id)? else { return Ok(Change::NotFound) };
    match place.state {
        State::Pending | State::Scheduled | State::Failed => {
            if run_at(txn.conn, "reschedule", "move", id, at)? == 0 {
                run_at(txn.conn, "reschedule", "ready_to_scheduled", id, at)?;
                run(txn.conn, "reschedule", id, &["leave_ready"])?;
            }
            *txn.ring = true;
            Ok(Change::Done)
        }
        state => Ok(Change::Refused { state }),
    }
}

pub(super) fn delete(txn: &mut Txn<'_>, id: JobId) -> Result<Change, Trouble> {
    let Some(place) = find(txn, id)? else { return Ok(Change::NotFound) };
    match place.state {
        State::Active | State::Stalled => return Ok(Change::Refused { state: place.state }),
        State::Completed => {
            txn.tally.count(&place.queue, &place.job_type, Event::CompletedGone);
        }
        State::Cancelled => {
            txn.tally.count(&place.queue, &place.job_type, Event::CancelledGone);
        }
        _ => {}
    }
    erase(txn.conn, id)?;
    Ok(Change::Done)
}

/// Removes a job from every table but lease.
pub(super) fn erase(conn: &Connection, id: JobId) -> Result<(), Trouble> {
    run(conn, "delete", id, &["ready", "scheduled", "done", "dead", "attempts", "key"])?;
    run(conn, "delete", id, &["progress", "log", "record"])
}

pub(super) fn pause(txn: &mut Txn<'_>, queue: &Name, paused: bool) -> Result<bool, Trouble> {
    let was = prepare(txn.conn, "pause", "paused")?
        .query_row(params![queue.as_str()], |_| Ok(()))
        .optional()?
        .is_some();
    if was != paused {
        let at = paused.then(|| txn.now.us());
        prepare(txn.conn, "pause", "set")?.execute(params![queue.as_str(), at])?;
        *txn.ring = true;
    }
    Ok(was != paused)
}
