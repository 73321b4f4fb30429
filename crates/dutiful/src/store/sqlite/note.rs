//! Keeps what handlers say of their attempts: progress, checkpoints and log lines, all bounded.

use rusqlite::params;

use super::errors::Trouble;
use super::statements::prepare;
use super::writer::Txn;
use crate::inspect::{LOG_ATTEMPTS_MAX, LOG_LINES_MAX};
use crate::store::{Held, Note};

pub(super) fn note(txn: &mut Txn<'_>, notes: &[Note]) -> Result<Vec<Held>, Trouble> {
    notes.iter().map(|one| note_one(txn, one)).collect()
}

pub(super) fn note_one(txn: &Txn<'_>, one: &Note) -> Result<Held, Trouble> {
    let (id, attempt) = (one.fence.id, one.fence.attempt);
    let unfenced = cfg!(bug = "note_unfenced");
    let fence = params![id, attempt, one.fence.nonce];
    if !unfenced && !prepare(txn.conn, "note", "holds")?.exists(fence)? {
        return Ok(Held::Lost);
    }
    if let Some(progress) = &one.progress {
        let (percent, note, at) = (progress.percent, &progress.note, progress.at.us());
        let row = params![id, attempt, percent, note, at];
        prepare(txn.conn, "note", "progress")?.execute(row)?;
    }
    if let Some(checkpoint) = &one.checkpoint {
        let row = params![id, attempt, checkpoint, txn.now.us()];
        prepare(txn.conn, "note", "checkpoint")?.execute(row)?;
    }
    for line in &one.log {
        let row = params![id, attempt, line.number, line.at.us(), line.text];
        prepare(txn.conn, "note", "log")?.execute(row)?;
    }
    if !one.log.is_empty() {
        make_room(txn, one)?;
    }
    Ok(Held::Yes)
}

/// Old lines of this attempt, and those of attempts long ago, go.
fn make_room(txn: &Txn<'_>, one: &Note) -> Result<(), Trouble> {
    let (id, attempt) = (one.fence.id, one.fence.attempt);
    prepare(txn.conn, "note", "trim")?.execute(params![id, attempt, LOG_LINES_MAX])?;
    if let Some(gone) = attempt.checked_sub(LOG_ATTEMPTS_MAX).filter(|gone| *gone > 0) {
        prepare(txn.conn, "note", "forget")?.execute(params![id, gone])?;
    }
    Ok(())
}
