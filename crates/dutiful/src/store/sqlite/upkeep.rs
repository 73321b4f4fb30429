//! The chores of whoever leads: promote, rescue, prune, fold; and the leadership itself.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::change::{cancel, erase};
use super::claim::NO_ID;
use super::enqueue::UNIQUE;
use super::errors::Trouble;
use super::finish::CANCELLED;
use super::rows::{count, some_text, text, whole_id};
use super::silence::Silent;
use super::statements::prepare;
use super::tally::{Event, Histogram, Row};
use super::writer::Txn;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::store::{Leadership, Promoted, RescueRequest, Rescued, Retention};

/// No leader's term lasts longer without being renewed.
const TTL_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// No lease lasts longer without being renewed.
const LEASE_MAX: std::time::Duration = std::time::Duration::from_secs(25 * 60 * 60);
/// Sorts behind every id that a row of ours, or a damaged one, is likely to have.
const AFTER_ALL_IDS: [u8; 64] = [0xFF; 64];
/// Most jobs deleted by one prune.
const PRUNE_ROWS: i64 = 1000;
/// A clock of a client that made an id is ahead by less than this.
const AHEAD_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

pub(super) fn lead(
    txn: &mut Txn<'_>,
    worker: WorkerId,
    ttl: std::time::Duration,
) -> Result<Leadership, Trouble> {
    let row: Option<(i64, i64, i64)> = prepare(txn.conn, "lead", "row")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let term = match row {
        Some((leader, term, until)) if leader == worker.0 && until >= txn.now.us() => term,
        // An end that lies further ahead than any term was set before the clock went back.
        Some((leader, term, until))
            if (txn.now.us()..=txn.now.plus(ttl.max(TTL_MAX)).us()).contains(&until) =>
        {
            return Ok(Leadership { leader: WorkerId(leader), term });
        }
        Some((_, term, _)) => term + 1,
        None => 1,
    };
    let until = txn.now.plus(ttl).us();
    prepare(txn.conn, "lead", "take")?.execute(params![worker.0, term, until])?;
    Ok(Leadership { leader: worker, term })
}

pub(super) fn abdicate(txn: &mut Txn<'_>, worker: WorkerId, term: i64) -> Result<(), Trouble> {
    prepare(txn.conn, "abdicate", "end")?.execute(params![worker.0, term])?;
    Ok(())
}

/// A chore of an old leader must change nothing, however late it arrives.
fn check_term(conn: &Connection, term: i64) -> Result<(), Trouble> {
    let row: Option<i64> =
        prepare(conn, "lead", "row")?.query_row([], |row| row.get(1)).optional()?;
    let now = row.unwrap_or(0);
    if cfg!(not(bug = "leader_without_term")) && now != term {
        return Err(StoreError::NotLeader(now).into());
    }
    Ok(())
}

/// Returns when the next scheduled job is due.
pub(super) fn next_due(conn: &Connection) -> Result<Option<Timestamp>, Trouble> {
    let next: Option<i64> = prepare(conn, "promote", "next")?.query_row([], |row| row.get(0))?;
    Ok(next.map(Timestamp::from_us))
}

pub(super) fn promote(txn: &mut Txn<'_>, term: i64, limit: usize) -> Result<Promoted, Trouble> {
    check_term(txn.conn, term)?;
    let now = txn.now.us();
    let limit = limit.clamp(1, 100_000) as i64;
    let last = prepare(txn.conn, "promote", "last")?
        .query_row(params![now, limit], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    // An id as it stands, whatever its length, for it is where the range ends.
    let (run_at, id): (i64, Vec<u8>) = last.unwrap_or((now, AFTER_ALL_IDS.to_vec()));
    let moved = prepare(txn.conn, "promote", "to_ready")?.execute(params![run_at, id, now])?;
    prepare(txn.conn, "promote", "leave")?.execute(params![run_at, id])?;
    *txn.ring |= moved > 0;
    let next = next_due(txn.conn)?.map(|at| at.since(txn.now));
    Ok(Promoted { moved, next })
}

/// Expired leases that were seen before, by fence and end, and when: a rescue needs two looks, so
/// that an owner that could not write (a full disk, a suspended machine) gets its turn first. One
/// that was renewed since has another end, and is no longer the lease that was seen.
pub(super) type Suspects = HashMap<(Fence, i64), Timestamp>;

struct Expired {
    fence: Fence,
    until: i64,
    worker: i64,
    claimed_at: i64,
    crashes: u32,
    queue: Name,
    job_type: Name,
    unique: bool,
    cancel: bool,
}

/// What a look at expired leases found, and the id, as it stands, that it came to.
#[derive(Default)]
struct Page {
    expired: Vec<Expired>,
    /// Leases that no fence can name: under which id as it stands, of which queue and type.
    broken: Vec<(Vec<u8>, Name, Name)>,
    last: Option<Vec<u8>>,
}

pub(super) fn rescue(
    txn: &mut Txn<'_>,
    term: i64,
    ask: &RescueRequest,
    suspects: &mut Suspects,
    silent: &[Silent],
) -> Result<Vec<Rescued>, Trouble> {
    check_term(txn.conn, term)?;
    let (mut rescued, mut seen) = (Vec::new(), Suspects::new());
    let mut rescue = |txn: &mut Txn<'_>, one: Expired| -> Result<(), Trouble> {
        // A first sight in the future is of the time before the clock went back.
        let suspect = (one.fence, one.until);
        let known = suspects.get(&suspect).filter(|at| **at <= txn.now);
        let first_seen = *known.unwrap_or(&txn.now);
        // Kept until it is gone from lease: a transaction that is rolled back forgets nothing.
        seen.insert(suspect, first_seen);
        let patient = txn.now.since(first_seen) >= ask.patience;
        if (patient || cfg!(bug = "no_rescue_patience")) && rescued.len() < ask.limit {
            rescued.push(rescue_one(txn, ask, one)?);
        }
        Ok(())
    };
    // A number sorts before every blob, even the empty one.
    let mut after = Value::Integer(0);
    loop {
        let page = expired(txn, &after, ask.limit)?;
        for (id, queue, job_type) in page.broken {
            bury_broken(txn, &id)?;
            txn.tally.count(&queue, &job_type, Event::Dead);
        }
        for one in page.expired {
            rescue(txn, one)?;
        }
        let Some(last) = page.last else { break };
        after = Value::Blob(last);
    }
    for Silent { fence, until } in silent {
        let key = params![fence.id, fence.attempt, fence.nonce, until];
        let mut statement = prepare(txn.conn, "rescue", "silent")?;
        let one = statement.query_row(key, |row| read(txn, row, *fence)).optional()?;
        if let Some(one) = one {
            rescue(txn, one)?;
        }
    }
    *suspects = seen;
    Ok(rescued)
}

fn expired(txn: &mut Txn<'_>, after: &Value, limit: usize) -> Result<Page, Trouble> {
    let mut statement = prepare(txn.conn, "rescue", "expired")?;
    // A lease of the time before the clock went back, which no living worker has renewed since.
    let beyond = txn.now.plus(LEASE_MAX).us();
    let mut rows = statement.query(params![txn.now.us(), after, limit.max(1) as i64, beyond])?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        page.last = Some(row.get(0)?);
        let (Some(id), Ok(attempt)) = (whole_id(row, 0)?, row.get(1)) else {
            let (queue, job_type) = (txn.names.get(&text(row, 7)?), txn.names.get(&text(row, 8)?));
            page.broken.push((row.get(0)?, queue, job_type));
            continue;
        };
        let fence = Fence { id, attempt, nonce: row.get(2)? };
        page.expired.push(read(txn, row, fence)?);
    }
    Ok(page)
}

fn read(txn: &mut Txn<'_>, row: &rusqlite::Row<'_>, fence: Fence) -> rusqlite::Result<Expired> {
    Ok(Expired {
        fence,
        until: row.get(3)?,
        worker: row.get(4)?,
        claimed_at: row.get(5)?,
        crashes: count(row, 6)?,
        queue: txn.names.get(&text(row, 7)?),
        job_type: txn.names.get(&text(row, 8)?),
        unique: row.get::<_, i64>(9)? & UNIQUE != 0,
        cancel: row.get::<_, i64>(10)? != 0,
    })
}

/// Takes a lease that no fence can name out of everybody's way, to the dead.
fn bury_broken(txn: &Txn<'_>, id: &[u8]) -> Result<(), Trouble> {
    let kept = id.try_into().map_or_else(|_| JobId::new(), JobId::from_bytes);
    let dead = params![id, kept, txn.now.us(), NO_ID];
    prepare(txn.conn, "rescue", "broken")?.execute(dead)?;
    prepare(txn.conn, "rescue", "leave_broken")?.execute(params![id])?;
    Ok(())
}

fn rescue_one(txn: &mut Txn<'_>, ask: &RescueRequest, one: Expired) -> Result<Rescued, Trouble> {
    let (id, attempt, nonce) = (one.fence.id, one.fence.attempt, one.fence.nonce);
    let now = txn.now.us();
    let crashes = one.crashes.saturating_add(1);
    let crashes_max = ask.crashes_max + u32::from(cfg!(bug = "one_more_crash"));
    let dead = ask.crashes_max > 0 && crashes >= crashes_max;
    if dead {
        let message =
            format!("{crashes} workers in a row died or stopped renewing while they ran it");
        prepare(txn.conn, "rescue", "to_dead")?
            .execute(params![id, attempt, nonce, now, message])?;
        if one.unique {
            prepare(txn.conn, "rescue", "free_key")?.execute(params![id])?;
        }
        txn.tally.count(&one.queue, &one.job_type, Event::Dead);
    } else {
        let message = "the worker died or stopped renewing its lease";
        let log = params![id, attempt, one.worker, one.claimed_at, now, message];
        if cfg!(not(bug = "rescue_without_attempt")) {
            prepare(txn.conn, "rescue", "attempt")?.execute(log)?;
        }
        prepare(txn.conn, "rescue", "to_ready")?.execute(params![id, attempt, nonce, now])?;
        *txn.ring = true;
    }
    prepare(txn.conn, "rescue", "end")?.execute(params![id, attempt, nonce])?;
    if one.cancel && !dead {
        // Its worker died before it heard the request; the next one need not begin.
        cancel(txn, id)?;
    }
    if cfg!(not(bug = "stalls_uncounted")) {
        txn.tally.count(&one.queue, &one.job_type, Event::Stalled);
    }
    Ok(Rescued { fence: one.fence, queue: one.queue, job_type: one.job_type, crashes, dead })
}

/// A finished job that retention no longer keeps, as a look without the write lock found it.
pub(super) struct Prunable {
    id: JobId,
    /// The statement that says whether it still stands there.
    still: &'static str,
    finished_before: Timestamp,
    /// What leaves the numbers with it; dead jobs are counted by their rows.
    gone: Option<Event>,
    queue: Name,
    job_type: Name,
}

/// Looks for what can be pruned. The look may pass over many jobs that were created long ago and
/// ended lately, so it holds no lock.
pub(super) fn prunable(
    conn: &Connection,
    keep: Retention,
    now: Timestamp,
) -> Result<Vec<Prunable>, Trouble> {
    let done = prunable_in(conn, ("done", "still_done"), now.minus(keep.completed), now)?;
    let dead = prunable_in(conn, ("dead", "still_dead"), now.minus(keep.dead), now)?;
    Ok(done.into_iter().chain(dead).collect())
}

fn prunable_in(
    conn: &Connection,
    (place, still): (&'static str, &'static str),
    cut: Timestamp,
    now: Timestamp,
) -> Result<Vec<Prunable>, Trouble> {
    // Ids of our own lie below the cut. Foreign ones (a random UUID) sort by no time: nearly all of
    // them lie in the future, and there each row is looked at.
    let future = JobId::floor(now.plus(AHEAD_MAX).us());
    let past = (JobId::from_bytes([0; 16]), JobId::floor(cut.us()));
    let mut found = Vec::new();
    let name = |text: Option<String>| Name::stored(text.as_deref().unwrap_or("unknown"));
    for (first, last) in [past, (future, JobId::from_bytes([0xFF; 16]))] {
        let mut statement = prepare(conn, "prune", place)?;
        let mut rows = statement.query(params![first, last, cut.us(), PRUNE_ROWS])?;
        while let Some(row) = rows.next()? {
            let gone = match (place, row.get::<_, i64>(1)?) {
                ("dead", _) => None,
                (_, CANCELLED) => Some(Event::CancelledGone),
                _ => Some(Event::CompletedGone),
            };
            let (queue, job_type) = (name(some_text(row, 2)?), name(some_text(row, 3)?));
            let Some(id) = whole_id(row, 0)? else { continue };
            found.push(Prunable { id, still, finished_before: cut, gone, queue, job_type });
        }
    }
    Ok(found)
}

pub(super) fn prune(
    txn: &mut Txn<'_>,
    term: i64,
    keep: Retention,
    found: &[Prunable],
) -> Result<usize, Trouble> {
    check_term(txn.conn, term)?;
    let mut gone = 0;
    for one in found {
        // Since the look somebody may have retried it.
        let key = params![one.id, one.finished_before.us()];
        if !prepare(txn.conn, "prune", one.still)?.exists(key)? {
            continue;
        }
        erase(txn.conn, one.id)?;
        gone += 1;
        if let Some(event) = one.gone {
            txn.tally.count(&one.queue, &one.job_type, event);
        }
    }
    gone += prepare(txn.conn, "prune", "once")?.execute(params![txn.now.us(), PRUNE_ROWS])?;
    gone += prepare(txn.conn, "prune", "kept")?.execute(params![txn.now.us(), PRUNE_ROWS])?;
    let silent = txn.now.minus(keep.completed.max(keep.dead)).us();
    gone += prepare(txn.conn, "prune", "workers")?.execute(params![silent])?;
    Ok(gone)
}

pub(super) fn fold(txn: &mut Txn<'_>, term: i64) -> Result<usize, Trouble> {
    check_term(txn.conn, term)?;
    let (sums, last, rows) = sum_rows(txn)?;
    for ((queue, job_type, event), mut sum) in sums {
        let key = params![queue.as_str(), job_type.as_str(), event];
        let before = prepare(txn.conn, "fold", "total")?
            .query_row(key, |row| {
                Ok((row.get::<_, i64>(0)?, histogram(row, 1)?, histogram(row, 2)?))
            })
            .optional()?;
        if let Some((n, ran, waited)) = before {
            sum.n += n;
            merge(&mut sum.ran, ran);
            merge(&mut sum.waited, waited);
        }
        let (ran, waited) = (sum.ran.map(|h| h.to_bytes()), sum.waited.map(|h| h.to_bytes()));
        let put = params![queue.as_str(), job_type.as_str(), event, sum.n, ran, waited];
        prepare(txn.conn, "fold", "put")?.execute(put)?;
    }
    prepare(txn.conn, "fold", "clear")?.execute(params![last])?;
    Ok(rows)
}

type Sums = HashMap<(Name, Name, i64), Row>;

fn sum_rows(txn: &mut Txn<'_>) -> Result<(Sums, i64, usize), Trouble> {
    let (mut sums, mut last, mut count) = (Sums::new(), 0, 0);
    let mut statement = prepare(txn.conn, "fold", "rows")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        count += 1;
        let queue = txn.names.get(&text(row, 1)?);
        let job_type = txn.names.get(&text(row, 2)?);
        let sum = sums.entry((queue, job_type, row.get(3)?)).or_default();
        sum.n += row.get::<_, i64>(4)?;
        merge(&mut sum.ran, histogram(row, 5)?);
        merge(&mut sum.waited, histogram(row, 6)?);
    }
    Ok((sums, last, count))
}

fn histogram(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Histogram>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    Ok(bytes.as_deref().and_then(Histogram::from_bytes))
}

fn merge(into: &mut Option<Histogram>, other: Option<Histogram>) {
    match (into.as_mut(), other) {
        (Some(mine), Some(theirs)) => mine.merge(&theirs),
        (None, theirs) => *into = theirs,
        (Some(_), None) => {}
    }
}
