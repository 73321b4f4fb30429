//! Writes how attempts ended: every write names the whole fence and changes one row, or is lost.

use std::time::Duration;

use rusqlite::{CachedStatement, Connection, params};

use super::change;
use super::errors::Trouble;
use super::statements::prepare;
use super::tally::Event;
use super::writer::Txn;
use crate::clock::Timestamp;
use crate::id::WorkerId;
use crate::job::Delivery;
pub(super) use crate::store::common::stored::{
    CANCELLED, COMPLETED, FAILED_ONCE, LOG_FAILED, LOG_RELEASED, LOG_SNOOZED, UNHEARD,
    WAITS_FAILED, WAITS_SNOOZED,
};
use crate::store::common::stored::{class_of, reason_code};
use crate::store::{DeadReason, End, Failure, Finish, Held};

/// The two statements that every completed job needs, looked up once for a batch.
pub(super) struct Hot<'c> {
    end: CachedStatement<'c>,
    done: CachedStatement<'c>,
}

impl<'c> Hot<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> Result<Self, Trouble> {
        Ok(Self { end: prepare(conn, "finish", "end")?, done: prepare(conn, "finish", "done")? })
    }
}

pub(super) fn finish(
    txn: &mut Txn<'_>,
    worker: WorkerId,
    ends: &[Finish],
) -> Result<Vec<Held>, Trouble> {
    let mut hot = Hot::prepare(txn.conn)?;
    ends.iter().map(|one| finish_one(txn, &mut hot, worker, one)).collect()
}

pub(super) fn finish_one(
    txn: &mut Txn<'_>,
    hot: &mut Hot<'_>,
    worker: WorkerId,
    one: &Finish,
) -> Result<Held, Trouble> {
    if one.delivery == Delivery::AtMostOnce {
        return finish_late(txn, worker, one);
    }
    let again = matches!(one.end, End::Failed(..) | End::Snoozed(_) | End::Released);
    let cancelled = again && is_cancel_asked(txn, one)?;
    let moved = match &one.end {
        End::Completed(result) => complete(txn, hot, worker, one, (COMPLETED, result.as_deref()))?,
        End::Cancelled => complete(txn, hot, worker, one, (CANCELLED, None))?,
        End::Failed(_, wait) => {
            let failures = one.failures.saturating_add(1);
            wait_until(txn, hot, one, *wait, failures, WAITS_FAILED)?
        }
        End::Snoozed(wait) => wait_until(txn, hot, one, *wait, one.failures, WAITS_SNOOZED)?,
        End::Released => release(txn, hot, one)?,
        End::Dead(failure, reason) => bury(txn, hot, one, failure, *reason)?,
    };
    if !moved {
        return Ok(Held::Lost);
    }
    log_and_count(txn, worker, one)?;
    if cancelled {
        // The request came too late for the handler, but not too late for the next attempt.
        change::cancel(txn, one.fence.id)?;
    }
    Ok(Held::Yes)
}

fn is_cancel_asked(txn: &Txn<'_>, one: &Finish) -> Result<bool, Trouble> {
    let fence = params![one.fence.id, one.fence.attempt, one.fence.nonce];
    Ok(prepare(txn.conn, "finish", "asked")?.exists(fence)?)
}

fn fence_ends(_txn: &Txn<'_>, hot: &mut Hot<'_>, one: &Finish) -> Result<bool, Trouble> {
    #[cfg(not(bug = "no_fence"))]
    let key = params![one.fence.id, one.fence.attempt, one.fence.nonce];
    #[cfg(not(bug = "no_fence"))]
    return Ok(hot.end.execute(key)? == 1);
    #[cfg(bug = "no_fence")]
    {
        _txn.conn.execute("DELETE FROM dutiful_lease WHERE id = ?1", params![one.fence.id])?;
        Ok(true)
    }
}

fn complete(
    txn: &Txn<'_>,
    hot: &mut Hot<'_>,
    worker: WorkerId,
    one: &Finish,
    (outcome, result): (i64, Option<&[u8]>),
) -> Result<bool, Trouble> {
    if !fence_ends(txn, hot, one)? {
        return Ok(false);
    }
    hot.done.execute(params![
        one.fence.id,
        one.fence.attempt,
        one.fence.nonce,
        worker.0,
        outcome,
        one.started_at.us(),
        finished_at(one).us(),
        one.failures,
        result,
    ])?;
    if one.unique && cfg!(not(bug = "forget_unique")) {
        prepare(txn.conn, "finish", "free_key")?.execute(params![one.fence.id])?;
    }
    Ok(true)
}

fn wait_until(
    txn: &mut Txn<'_>,
    hot: &mut Hot<'_>,
    one: &Finish,
    wait: Duration,
    failures: u32,
    reason: i64,
) -> Result<bool, Trouble> {
    prepare(txn.conn, "finish", "scheduled")?.execute(params![
        one.fence.id,
        one.fence.attempt,
        one.fence.nonce,
        txn.now.plus(wait).us(),
        failures,
        reason,
    ])?;
    fence_ends(txn, hot, one)
}

fn release(txn: &mut Txn<'_>, hot: &mut Hot<'_>, one: &Finish) -> Result<bool, Trouble> {
    let fence = params![one.fence.id, one.fence.attempt, one.fence.nonce, txn.now.us()];
    prepare(txn.conn, "finish", "ready")?.execute(fence)?;
    *txn.ring = true;
    fence_ends(txn, hot, one)
}

fn bury(
    txn: &Txn<'_>,
    hot: &mut Hot<'_>,
    one: &Finish,
    failure: &Failure,
    reason: DeadReason,
) -> Result<bool, Trouble> {
    prepare(txn.conn, "finish", "dead")?.execute(params![
        one.fence.id,
        one.fence.attempt,
        one.fence.nonce,
        reason_code(reason),
        one.started_at.us(),
        finished_at(one).us(),
        one.failures.saturating_add(1),
        class_of(failure),
        failure.message,
    ])?;
    if !fence_ends(txn, hot, one)? {
        return Ok(false);
    }
    if one.unique {
        prepare(txn.conn, "finish", "free_key")?.execute(params![one.fence.id])?;
    }
    Ok(true)
}

/// An at-most-once job is done since its claim: note how it went, and never run it again.
fn finish_late(txn: &mut Txn<'_>, worker: WorkerId, one: &Finish) -> Result<Held, Trouble> {
    let (outcome, result) = match &one.end {
        End::Completed(result) => (COMPLETED, result.as_deref()),
        // Released before it began, yet it counts as run: that is what at-most-once means.
        End::Released => (UNHEARD, None),
        _ => (FAILED_ONCE, None),
    };
    let changed = prepare(txn.conn, "finish", "late")?.execute(params![
        one.fence.id,
        one.fence.attempt,
        one.fence.nonce,
        outcome,
        finished_at(one).us(),
        result,
    ])?;
    if changed == 0 {
        return Ok(Held::Lost);
    }
    let failure = match &one.end {
        End::Failed(failure, _) | End::Dead(failure, _) => Some(failure),
        _ => None,
    };
    if failure.is_some() {
        log(txn, worker, one, LOG_FAILED, failure)?;
    }
    // The claim counted it as completed already.
    let times = (one.ran, one.waited);
    match failure {
        Some(failure) => count_failed(txn, one, failure),
        None => txn.tally.times(&one.queue, &one.job_type, Event::Completed, times),
    }
    Ok(Held::Yes)
}

fn log_and_count(txn: &mut Txn<'_>, worker: WorkerId, one: &Finish) -> Result<(), Trouble> {
    match &one.end {
        End::Completed(_) => {
            let times = (one.ran, one.waited);
            txn.tally.run(&one.queue, &one.job_type, Event::Completed, times);
        }
        End::Cancelled => txn.tally.count(&one.queue, &one.job_type, Event::Cancelled),
        End::Failed(failure, _) => {
            log(txn, worker, one, LOG_FAILED, Some(failure))?;
            count_failed(txn, one, failure);
        }
        End::Dead(failure, _) => {
            count_failed(txn, one, failure);
            txn.tally.count(&one.queue, &one.job_type, Event::Dead);
        }
        End::Snoozed(_) => {
            log(txn, worker, one, LOG_SNOOZED, None)?;
            txn.tally.count(&one.queue, &one.job_type, Event::Snoozed);
        }
        End::Released => {
            log(txn, worker, one, LOG_RELEASED, None)?;
            txn.tally.count(&one.queue, &one.job_type, Event::Released);
        }
    }
    Ok(())
}

fn count_failed(txn: &mut Txn<'_>, one: &Finish, failure: &Failure) {
    let times = (one.ran, one.waited);
    txn.tally.failed(&one.queue, &one.job_type, class_of(failure), times);
}

fn log(
    txn: &Txn<'_>,
    worker: WorkerId,
    one: &Finish,
    outcome: i64,
    failure: Option<&Failure>,
) -> Result<(), Trouble> {
    prepare(txn.conn, "finish", "attempt")?.execute(params![
        one.fence.id,
        one.fence.attempt,
        worker.0,
        one.started_at.us(),
        finished_at(one).us(),
        outcome,
        failure.map(class_of),
        failure.map(|f| f.message.as_str()),
    ])?;
    Ok(())
}

fn finished_at(one: &Finish) -> Timestamp {
    one.started_at.plus(one.ran)
}
