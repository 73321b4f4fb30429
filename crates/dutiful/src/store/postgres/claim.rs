//! Takes jobs from the front of the queues under a lease: one statement for all lanes.
//!
//! The statement picks as many rows as were asked for and takes them all. Where it meets one that
//! may have to stay (a second job that crashed a worker, an at-most-once job without a free slot)
//! it takes nothing, and another statement weighs row by row; what is missing then is asked for
//! again with what is left of the request. Where a worker died with thousands of leases, each claim
//! would weigh them all to take one: a claim that passed many over has the next look at few.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::floors::Stretches;
use super::wire::Line;
use crate::clock::micros;
use crate::id::{Fence, JobId, Name};
use crate::job::Delivery;
use crate::store::common::stored::{AT_MOST_ONCE, UNIQUE};
use crate::store::{ClaimRequest, Claimed};

/// Statements of one claim.
const ROUNDS_MAX: usize = 8;
/// So many rows of unknown types at the front of a lane are set aside …
const FOREIGN_MAX: i32 = 1000;
/// … for this long.
const ASIDE: Duration = Duration::from_secs(10);
/// A claim that came back short looks for such rows, but not more often than this.
const FOREIGN_EVERY: Duration = Duration::from_secs(1);

/// A claim that passed over so many jobs that crashed a worker met a crowd …
const CROWD_MIN: usize = 64;
/// … and one that passed over fewer than `part_few` shows has seen its end, or others have it.
const CROWD_GONE: usize = 16;

/// What is left of the request.
struct Left {
    rooms: Vec<i32>,
    onces: Vec<i32>,
    limit: i32,
    bytes: i64,
    crashed: i32,
    /// True where the next statement looks at few of a crowd.
    crowded: bool,
    /// True while nothing was taken: the first payload may have any size.
    first: bool,
    /// True when the next payload did not fit; later jobs must not overtake it.
    full: bool,
    /// What tells these leases from all others.
    nonce: i64,
    /// True when rows were passed over that took others' room.
    again: bool,
}

/// A job with its lane and priority, by which the answer is ordered.
type Placed = ((i64, i16), Claimed);

/// When rows of unknown types were looked for last.
#[derive(Default)]
pub(super) struct ForeignLook(Mutex<Option<Instant>>);

impl ForeignLook {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= FOREIGN_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// Whether many wait that crashed a worker. It says how claims look, not what they take.
#[derive(Default)]
pub(super) struct Crowd(AtomicBool);

impl Crowd {
    fn is_here(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes note of how many a claim passed over.
    fn note(&self, passed: usize) {
        let enough = if self.is_here() { CROWD_GONE } else { CROWD_MIN };
        self.0.store(passed >= enough, Ordering::Relaxed);
    }
}

impl Db {
    pub(super) async fn claim(&self, ask: &ClaimRequest) -> Result<Vec<Claimed>, Trouble> {
        let clamp = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let queues: Vec<&str> = ask.lanes.iter().map(|lane| lane.queue.as_str()).collect();
        let types: Vec<&str> = ask.types.iter().map(Name::as_str).collect();
        let mut left = Left {
            rooms: ask.lanes.iter().map(|lane| clamp(lane.limit)).collect(),
            onces: ask.lanes.iter().map(|lane| clamp(lane.at_most_once)).collect(),
            limit: clamp(ask.limit),
            bytes: i64::try_from(ask.bytes).unwrap_or(i64::MAX),
            crashed: clamp(ask.crashed),
            crowded: false,
            first: true,
            full: false,
            nonce: fastrand::i64(1..),
            again: true,
        };
        let stretches = self.floors.stretches(ask);
        let mut claimed: Vec<Placed> = Vec::new();
        // One statement must not meet a queue twice: lanes that name one again come after it.
        for turn in turns(&queues) {
            left.again = true;
            for _ in 0..ROUNDS_MAX {
                if !left.again || left.full || left.limit == 0 {
                    break;
                }
                left.crowded = left.crashed > 0 && self.crowd.is_here();
                // What others had locked is not made up for there.
                left.again = left.crowded;
                for row in &self.front(ask, (&queues, &types), &turn, &left, &stretches).await? {
                    claimed.extend(take(row, ask, &mut left)?);
                }
            }
        }
        claimed.sort_by(|(a, x), (b, y)| (a, x.run_at, x.fence.id).cmp(&(b, y.run_at, y.fence.id)));
        // In a lane that had less than it was asked for, all that is left is of other types.
        let short: Vec<usize> = (0..queues.len()).filter(|at| left.rooms[*at] > 0).collect();
        if left.limit > 0 && !left.full && !short.is_empty() && self.foreign.is_due() {
            let queues: Vec<&str> = short.iter().map(|at| queues[*at]).collect();
            self.set_aside(&queues, &types, &stretches.of(&short)).await?;
        }
        let (placed, claimed): (Vec<_>, Vec<_>) = claimed.into_iter().unzip();
        let priorities: Vec<i16> = placed.into_iter().map(|(_, priority)| priority).collect();
        self.note_claimed(ask, &claimed, &priorities);
        Ok(claimed)
    }

    /// Claims from the front of the lanes that have their turn.
    async fn front(
        &self,
        ask: &ClaimRequest,
        (queues, types): (&[&str], &[&str]),
        turn: &[bool],
        left: &Left,
        stretches: &Stretches,
    ) -> Result<Vec<Row>, Trouble> {
        let lease = if cfg!(bug = "short_lease") { ask.lease / 2 } else { ask.lease };
        let (lease, now) = (micros(lease), self.now());
        let rooms = left.rooms.iter().zip(turn).map(|(room, on)| if *on { *room } else { 0 });
        let rooms: Vec<i32> = rooms.collect();
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &queues,
            &rooms,
            &left.onces,
            &types,
            &left.limit,
            &left.bytes,
            &left.crashed,
            &left.nonce,
            &ask.worker.0,
            &lease,
            &now,
        ];
        params.extend(stretches.params());
        if !left.crowded {
            let rows = self.query(Line::Claim, "claim", "front", &params).await?;
            let whole = |row: &Row| Ok::<_, Trouble>(row.try_get::<_, Option<JobId>>(1)?.is_some());
            if rows.first().map_or(Ok(true), whole)? {
                return Ok(rows);
            }
        }
        let name = if left.crowded { "crowded" } else { "weighed" };
        params.push(&left.first);
        let rows = self.query(Line::Claim, "claim", name, &params).await?;
        if left.crashed > 0 {
            let passed = |row: &&Row| row.get::<_, i32>(7) > 0 && !row.get::<_, bool>(18);
            self.crowd.note(rows.iter().filter(passed).count());
        }
        Ok(rows)
    }

    /// Puts rows that nobody here can run 10 s ahead, where they hide what lies behind them.
    async fn set_aside(
        &self,
        queues: &[&str],
        types: &[&str],
        stretches: &Stretches,
    ) -> Result<(), Trouble> {
        let (aside, now) = (micros(ASIDE), self.now());
        let mut params: Vec<&(dyn ToSql + Sync)> =
            vec![&queues, &types, &FOREIGN_MAX, &aside, &now];
        params.extend(stretches.params());
        self.query(Line::Claim, "claim", "aside", &params).await.map(drop)
    }
}

/// Says which lanes have their turn together: each queue once.
fn turns(queues: &[&str]) -> Vec<Vec<bool>> {
    let nth = |at: usize| queues[..at].iter().filter(|queue| **queue == queues[at]).count();
    let nth: Vec<usize> = (0..queues.len()).map(nth).collect();
    let last = nth.iter().max().map_or(0, |last| last + 1);
    (0..last).map(|turn| nth.iter().map(|nth| *nth == turn).collect()).collect()
}

/// Reads one row of the front; `None` for one that stays (or that no worker can run).
fn take(row: &Row, ask: &ClaimRequest, left: &mut Left) -> Result<Option<Placed>, Trouble> {
    let (lane, flags): (i64, i16) = (row.try_get(0)?, row.try_get(5)?);
    let at = (lane - 1) as usize;
    if !row.try_get::<_, bool>(18)? {
        left.full |= !row.try_get::<_, bool>(19)?;
        left.again = true;
        return Ok(None);
    }
    let crashes: i32 = row.try_get(7)?;
    let payload: Vec<u8> = row.try_get(11)?;
    let at_most_once = i64::from(flags) & AT_MOST_ONCE != 0;
    left.first = false;
    left.limit -= 1;
    left.rooms[at] -= 1;
    left.onces[at] -= i32::from(at_most_once);
    left.crashed -= i32::from(crashes > 0);
    left.bytes = left.bytes.saturating_sub(payload.len() as i64).max(0);
    let text: &str = row.try_get(4)?;
    let job_type = ask.types.get(text).cloned().unwrap_or_else(|| Name::stored(text));
    let attempt: i32 = row.try_get(2)?;
    let job = Claimed {
        fence: Fence { id: row.try_get(1)?, attempt: attempt as u32, nonce: left.nonce },
        job_type,
        queue: ask.lanes[at].queue.clone(),
        payload,
        failures: row.try_get::<_, i32>(6)? as u32,
        crashes: crashes as u32,
        max_attempts: row.try_get::<_, i32>(12)? as u32,
        timeout: Duration::from_millis(row.try_get::<_, i64>(13)?.max(1) as u64),
        delivery: if at_most_once { Delivery::AtMostOnce } else { Delivery::AtLeastOnce },
        unique: i64::from(flags) & UNIQUE != 0,
        created_at: row.try_get(14)?,
        run_at: row.try_get(9)?,
        claimed_at: row.try_get(10)?,
        correlation_id: row.try_get(15)?,
        trace_parent: row.try_get(16)?,
        group: row.try_get(17)?,
    };
    Ok(Some(((lane, row.try_get(8)?), job)))
}
