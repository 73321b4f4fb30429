//! What operators ask about workers and queues: who works, and to empty a queue.

use rusqlite::{Connection, Row, params};

use super::change::erase;
use super::errors::Trouble;
use super::rows::{count, text, whole_id};
use super::statements::prepare;
use super::writer::Txn;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{JobId, Name, WorkerId};
use crate::inspect::WorkerInfo;
use crate::store::common::presence::{Heard, WORKERS_MAX, split_queues};

/// Most jobs deleted by one clear: one transaction, in which nobody else writes.
pub(super) const CLEAR_MAX: usize = 1000;
/// Most looks of one clear, each of which found jobs that were gone when it came to delete them.
pub(super) const LOOKS_MAX: usize = 1000;

pub(super) fn workers(conn: &Connection, now: Timestamp) -> Result<Vec<WorkerInfo>, Trouble> {
    let mut all = prepare(conn, "workers", "all")?;
    let rows = all.query_map(params![WORKERS_MAX], |row| describe(row, now))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn describe(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<WorkerInfo> {
    let at = |column| row.get::<_, i64>(column).map(Timestamp::from_us);
    let beat_at = at(6)?;
    let stopped_at = row.get::<_, Option<i64>>(7)?.map(Timestamp::from_us);
    let lease_until = row.get::<_, Option<i64>>(9)?.map(Timestamp::from_us);
    Ok(WorkerInfo {
        id: WorkerId(row.get(0)?),
        name: text(row, 1)?.into_owned(),
        pid: count(row, 2)?,
        queues: split_queues(&text(row, 3)?),
        types: types(&text(row, 4)?),
        started_at: at(5)?,
        beat_at,
        stopped_at,
        running: row.get(8)?,
        quiet: row.get(10)?,
        state: Heard { beat_at, stopped_at, lease_until }.state(now),
    })
}

fn types(json: &str) -> Vec<Name> {
    let all: Vec<String> = serde_json::from_str(json).unwrap_or_default();
    all.iter().map(|name| Name::stored(name)).collect()
}

/// Looks for jobs that wait in a queue.
pub(super) fn waiting(
    conn: &Connection,
    queue: &Name,
    limit: usize,
) -> Result<Vec<JobId>, Trouble> {
    let mut found = Vec::new();
    for place in ["ready", "scheduled"] {
        let left = limit.saturating_sub(found.len());
        if left > 0 {
            let mut statement = prepare(conn, "clear", place)?;
            let rows = params![queue.as_str(), left as i64];
            let ids = statement.query_map(rows, |row| whole_id(row, 0))?;
            // A row that no id can name is left for a claim, which takes it to the dead.
            found.extend(ids.collect::<Result<Vec<_>, _>>()?.into_iter().flatten());
        }
    }
    Ok(found)
}

pub(super) fn too_fast(queue: &Name) -> StoreError {
    StoreError::Unavailable(format!(
        "jobs left queue {queue} faster than they could be deleted; pause it and clear it again"
    ))
}

pub(super) fn clear(txn: &mut Txn<'_>, queue: &Name, found: &[JobId]) -> Result<usize, Trouble> {
    let mut gone = 0;
    for id in found {
        // Since the look a worker may have claimed it.
        if prepare(txn.conn, "clear", "still")?.exists(params![id, queue.as_str()])? {
            erase(txn.conn, *id)?;
            gone += 1;
        }
    }
    Ok(gone)
}
