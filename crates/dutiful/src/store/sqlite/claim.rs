//! Takes jobs from the front of the queues under a lease.
//!
//! The front of a queue is a range of ready's primary key. While no row in it is skipped, the whole
//! range moves by two statements; from the first skipped row on (a type nobody here knows, a job
//! that crashed a worker before, one that is completed at its claim) rows move one by one.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, params};

use super::enqueue::{AT_MOST_ONCE, UNIQUE};
use super::errors::Trouble;
use super::rows::{count, some_text, whole_id};
use super::statements::prepare;
use super::tally::Event;
use super::writer::Txn;
use crate::clock::Timestamp;
use crate::id::{Fence, JobId, Name};
use crate::job::Delivery;
use crate::store::{ClaimRequest, Claimed, Lane};

/// After so many rows of unknown types in one claim they are set aside …
const FOREIGN_MAX: usize = 1000;
/// … for this long.
const ASIDE: Duration = Duration::from_secs(10);
/// After so many jobs that must wait (at-most-once and nobody free, crashed and one runs already)
/// the look ends: the rest of the queue may be all of that kind, and a look holds the write lock.
const SKIPPED_MAX: usize = 1000;
/// Why a row is broken.
const NO_RECORD: &str = "its record is missing from the store";
pub(super) const NO_ID: &str = "its id in the store is damaged";
/// Of so many crashed jobs this many keep their place, the others are set aside.
const CRASHED_STAY: usize = 100;

/// The primary key of a row in ready, less its queue.
#[derive(Clone, Copy)]
struct Key {
    priority: i64,
    run_at: i64,
    id: JobId,
}

/// A row that no worker can run: its record is missing, or its id is none.
struct BrokenRow {
    priority: i64,
    run_at: i64,
    /// As it stands there.
    id: Vec<u8>,
    /// What it is kept under among the dead.
    kept: JobId,
    job_type: Name,
    why: &'static str,
}

/// What is left of the request.
struct Budget {
    jobs: usize,
    bytes: usize,
    /// True when the next payload did not fit; later jobs must not overtake it.
    full: bool,
    crashed: usize,
    nonce: i64,
    until: i64,
}

pub(super) fn claim(txn: &mut Txn<'_>, ask: &ClaimRequest) -> Result<Vec<Claimed>, Trouble> {
    let mut claimed = Vec::new();
    let mut left = Budget {
        jobs: ask.limit,
        bytes: ask.bytes,
        full: false,
        crashed: ask.crashed,
        nonce: fastrand::i64(1..),
        until: txn.now.plus(if cfg!(bug = "short_lease") { ask.lease / 2 } else { ask.lease }).us(),
    };
    for lane in &ask.lanes {
        if left.jobs == 0 || left.full {
            break;
        }
        if lane.limit > 0 && !is_paused(txn, &lane.queue)? {
            claim_lane(txn, ask, lane, &mut left, &mut claimed)?;
        }
    }
    Ok(claimed)
}

fn is_paused(txn: &Txn<'_>, queue: &Name) -> Result<bool, Trouble> {
    let mut paused = prepare(txn.conn, "claim", "paused")?;
    Ok(paused.query_row(params![queue.as_str()], |_| Ok(())).optional()?.is_some())
}

/// What the walk along the front of a queue decided about its rows.
#[derive(Default)]
struct Walk {
    /// The last row of the unbroken front.
    range_end: Option<Key>,
    /// True from the first skipped row on.
    broken: bool,
    singles: Vec<Key>,
    at_once: Vec<(Key, Fence, u32, bool, Name)>,
    foreign: Vec<Key>,
    /// At-most-once jobs passed over because no slot is free for them.
    unfree: usize,
    /// Jobs that crashed a worker before, and that may not run beside another such job.
    crashed: Vec<Key>,
    broken_rows: Vec<BrokenRow>,
}

impl Walk {
    /// True when so many rows were passed over that a claim would cost more than it brings.
    fn is_long(&self) -> bool {
        self.foreign.len() >= FOREIGN_MAX
            || self.unfree >= SKIPPED_MAX
            || self.crashed.len() >= SKIPPED_MAX
    }

    /// Returns what is to make room for the jobs behind it for a while.
    fn aside(&self) -> impl Iterator<Item = &Key> {
        let foreign = if self.foreign.len() >= FOREIGN_MAX { &self.foreign[..] } else { &[] };
        let crashed = match self.crashed.len() >= SKIPPED_MAX {
            true => &self.crashed[CRASHED_STAY..],
            false => &[],
        };
        foreign.iter().chain(crashed)
    }
}

fn claim_lane(
    txn: &mut Txn<'_>,
    ask: &ClaimRequest,
    lane: &Lane,
    left: &mut Budget,
    claimed: &mut Vec<Claimed>,
) -> Result<(), Trouble> {
    let mut walk = Walk::default();
    let mut room = lane.limit.min(left.jobs);
    let mut at_most_once = lane.at_most_once;
    let mut front = prepare(txn.conn, "claim", "front")?;
    let mut rows = front.query(params![lane.queue.as_str()])?;
    while room > 0 && !left.full && !walk.is_long() {
        let Some(row) = rows.next()? else { break };
        let job_type = txn.names.get(row.get_ref(3)?.as_str().unwrap_or_default());
        let Some(key) = key_of(row)? else {
            walk.broken = true;
            walk.broken_rows.push(broken_row(row, JobId::new(), job_type, NO_ID)?);
            continue;
        };
        if !ask.types.contains(&job_type) {
            walk.broken = true;
            walk.foreign.push(key);
            continue;
        }
        if row.get_ref(8)?.as_blob_or_null().ok().flatten().is_none() {
            walk.broken = true;
            walk.broken_rows.push(broken_row(row, key.id, job_type, NO_RECORD)?);
            continue;
        }
        let once = is_at_most_once(row.get(4)?);
        let unfree = once && at_most_once == 0;
        if unfree {
            walk.broken = true;
            walk.unfree += 1;
            continue;
        }
        if left.crashed == 0 && count(row, 7)? > 0 {
            walk.broken = true;
            walk.crashed.push(key);
            continue;
        }
        let job = read(txn, row, key, job_type, lane, left)?;
        if job.payload.len() > left.bytes && !claimed.is_empty() {
            left.full = true;
            break;
        }
        left.crashed -= usize::from(job.crashes > 0);
        left.bytes = left.bytes.saturating_sub(job.payload.len());
        left.jobs -= 1;
        room -= 1;
        if once {
            at_most_once -= 1;
            walk.broken = true;
            let job_type = job.job_type.clone();
            walk.at_once.push((key, job.fence, job.failures, job.unique, job_type));
        } else if walk.broken {
            walk.singles.push(key);
        } else {
            walk.range_end = Some(key);
        }
        claimed.push(job);
    }
    drop(rows);
    move_rows(txn, ask, lane, &walk, left)
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<Option<Key>> {
    let Some(id) = whole_id(row, 2)? else { return Ok(None) };
    Ok(Some(Key { priority: row.get(0)?, run_at: row.get(1)?, id }))
}

fn broken_row(
    row: &Row<'_>,
    kept: JobId,
    job_type: Name,
    why: &'static str,
) -> rusqlite::Result<BrokenRow> {
    let (priority, run_at, id) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(BrokenRow { priority, run_at, id, kept, job_type, why })
}

fn is_at_most_once(flags: i64) -> bool {
    flags & AT_MOST_ONCE != 0 && cfg!(not(bug = "at_most_once_leased"))
}

fn read(
    txn: &Txn<'_>,
    row: &Row<'_>,
    key: Key,
    job_type: Name,
    lane: &Lane,
    left: &Budget,
) -> Result<Claimed, Trouble> {
    let flags: i64 = row.get(4)?;
    let at_most_once = is_at_most_once(flags);
    let attempt = count(row, 5)?;
    Ok(Claimed {
        fence: Fence { id: key.id, attempt: attempt.saturating_add(1), nonce: left.nonce },
        job_type,
        queue: lane.queue.clone(),
        payload: row.get(8)?,
        failures: count(row, 6)?,
        crashes: count(row, 7)?,
        max_attempts: row.get(9)?,
        timeout: Duration::from_millis(row.get::<_, i64>(10)?.max(1) as u64),
        delivery: if at_most_once { Delivery::AtMostOnce } else { Delivery::AtLeastOnce },
        unique: flags & UNIQUE != 0,
        created_at: Timestamp::from_us(row.get(11)?),
        run_at: Timestamp::from_us(key.run_at),
        claimed_at: txn.now,
        correlation_id: some_text(row, 12)?,
        trace_parent: some_text(row, 13)?,
        group: some_text(row, 14)?,
    })
}

fn move_rows(
    txn: &mut Txn<'_>,
    ask: &ClaimRequest,
    lane: &Lane,
    walk: &Walk,
    left: &Budget,
) -> Result<(), Trouble> {
    let queue = lane.queue.as_str();
    let (nonce, until, now) = (left.nonce, left.until, txn.now.us());
    let worker = ask.worker.0;
    let leased = |name: &'static str, key: &Key| -> Result<(), Trouble> {
        prepare(txn.conn, "claim", name)?.execute(params![
            queue,
            key.priority,
            key.run_at,
            key.id,
            nonce,
            worker,
            until,
            now
        ])?;
        Ok(())
    };
    let left_ready = |name: &'static str, key: &Key| -> Result<(), Trouble> {
        let gone = params![queue, key.priority, key.run_at, key.id];
        prepare(txn.conn, "claim", name)?.execute(gone)?;
        Ok(())
    };
    if let Some(end) = &walk.range_end {
        leased("lease_range", end)?;
        left_ready("leave_range", end)?;
    }
    for key in &walk.singles {
        leased("lease_one", key)?;
        left_ready("leave_one", key)?;
    }
    for (key, fence, failures, unique, job_type) in &walk.at_once {
        let done = params![fence.id, fence.attempt, fence.nonce, worker, now, failures];
        prepare(txn.conn, "claim", "done_one")?.execute(done)?;
        left_ready("leave_one", key)?;
        if *unique {
            prepare(txn.conn, "claim", "free_key")?.execute(params![key.id])?;
        }
        txn.tally.count(&lane.queue, job_type, Event::Completed);
    }
    let later = txn.now.plus(ASIDE).us();
    for key in walk.aside() {
        let aside = params![queue, key.priority, key.run_at, key.id, later];
        prepare(txn.conn, "claim", "aside")?.execute(aside)?;
        left_ready("leave_one", key)?;
        // The front is shorter now: look again at once.
        *txn.ring = true;
    }
    for one in &walk.broken_rows {
        let key = (one.priority, one.run_at, &one.id);
        let dead = params![queue, key.0, key.1, key.2, now, one.why, one.kept];
        prepare(txn.conn, "claim", "broken")?.execute(dead)?;
        let gone = params![queue, key.0, key.1, key.2];
        prepare(txn.conn, "claim", "leave_one")?.execute(gone)?;
        txn.tally.count(&lane.queue, &one.job_type, Event::Dead);
    }
    Ok(())
}
