//! Writes how attempts ended: one statement for each kind of end in the batch, each naming the whole
//! fence of every attempt.
//!
//! A lease that a user's own transaction holds is passed over and asked for again; an answer that
//! got lost is looked for in the records, so that what was written counts as written.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::wire::Line;
use crate::clock::{Timestamp, micros};
use crate::id::{JobId, WorkerId};
use crate::job::Delivery;
use crate::store::tally::bucket;
use crate::store::{DeadReason, End, Finish, Held};

/// A lease that somebody holds is asked for again after this while …
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
/// … and so often; the caller tries again after that.
const LOCKED_TRIES: u32 = 500;
/// How often a batch is written again whose outcome is unknown.
const UNKNOWN_TRIES: u32 = 5;

/// `outcome` in done and in attempt.
const COMPLETED: i16 = 1;
const CANCELLED: i16 = 2;
const UNHEARD: i16 = 3;
const FAILED_ONCE: i16 = 4;
const LOG_FAILED: i16 = 2;
const LOG_SNOOZED: i16 = 4;
const LOG_RELEASED: i16 = 5;

/// The statement that a kind of end needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Done,
    Again,
    Dead,
    Late,
}

fn kind(one: &Finish) -> Kind {
    match &one.end {
        _ if one.delivery == Delivery::AtMostOnce => Kind::Late,
        End::Completed(_) | End::Cancelled => Kind::Done,
        End::Failed(..) | End::Snoozed(_) | End::Released => Kind::Again,
        End::Dead(..) => Kind::Dead,
    }
}

impl Db {
    pub(super) async fn finish(
        self: &Arc<Self>,
        worker: WorkerId,
        ends: &[Finish],
    ) -> Result<Vec<Held>, Trouble> {
        let answer = self.finish_each_kind(worker, ends).await;
        match &answer {
            Ok(_) => self.unsure.forget(ends),
            // Of several kinds some may have been written before the trouble came.
            Err(_) => self.unsure.remember(ends),
        }
        let again = |one: &Finish| matches!(one.end, End::Released | End::Snoozed(_));
        if answer.is_ok() && ends.iter().any(again) {
            self.ring();
        }
        answer
    }

    async fn finish_each_kind(
        &self,
        worker: WorkerId,
        ends: &[Finish],
    ) -> Result<Vec<Held>, Trouble> {
        let mut held = vec![Held::Lost; ends.len()];
        // The same fence twice in a batch is one attempt, and the first word about it counts.
        let mut seen = HashSet::with_capacity(ends.len());
        let firsts: Vec<bool> = ends.iter().map(|one| seen.insert(one.fence)).collect();
        for kind in [Kind::Done, Kind::Again, Kind::Dead, Kind::Late] {
            let of_kind = |at: &usize| firsts[*at] && self::kind(&ends[*at]) == kind;
            let mut open: Vec<usize> = (0..ends.len()).filter(of_kind).collect();
            let mut tries = 0;
            while !open.is_empty() {
                let batch: Vec<&Finish> = open.iter().map(|at| &ends[*at]).collect();
                for at in self.write_heard(worker, kind, &batch).await? {
                    held[open[at]] = Held::Yes;
                }
                open.retain(|at| held[*at] == Held::Lost);
                if kind == Kind::Late || open.is_empty() {
                    break;
                }
                let lost: Vec<&Finish> = open.iter().map(|at| &ends[*at]).collect();
                let locked = self.places("locked", &lost, None).await?;
                open = locked.into_iter().map(|at| open[at]).collect();
                tries += 1;
                if tries > LOCKED_TRIES {
                    break;
                }
                if !open.is_empty() {
                    tokio::time::sleep(LOCKED_PAUSE).await;
                }
            }
        }
        let doubtful =
            |at: &usize| firsts[*at] && held[*at] == Held::Lost && self.unsure.has(&ends[*at]);
        let doubtful: Vec<usize> = (0..ends.len()).filter(doubtful).collect();
        if !doubtful.is_empty() {
            let batch: Vec<&Finish> = doubtful.iter().map(|at| &ends[*at]).collect();
            for at in self.places("ended", &batch, Some(worker)).await? {
                held[doubtful[at]] = Held::Yes;
            }
        }
        Ok(held)
    }

    /// Writes a batch of one kind until the server answers.
    async fn write_heard(
        &self,
        worker: WorkerId,
        kind: Kind,
        batch: &[&Finish],
    ) -> Result<Vec<usize>, Trouble> {
        let mut tries = 0;
        loop {
            match self.write(worker, kind, batch).await {
                Err(Trouble::Unknown(_)) if tries < UNKNOWN_TRIES => {
                    tries += 1;
                    self.unsure.remember(batch.iter().copied());
                }
                answer => return answer,
            }
        }
    }

    async fn places(
        &self,
        name: &'static str,
        batch: &[&Finish],
        worker: Option<WorkerId>,
    ) -> Result<Vec<usize>, Trouble> {
        let fences = Fences::of(batch);
        let worker = worker.map(|worker| worker.0);
        let mut params: Vec<&(dyn ToSql + Sync)> =
            vec![&fences.ids, &fences.attempts, &fences.nonces];
        params.extend(worker.as_ref().map(|worker| worker as &(dyn ToSql + Sync)));
        let rows = self.query(Line::Finish, "finish", name, &params).await?;
        numbers(&rows)
    }

    async fn write(
        &self,
        worker: WorkerId,
        kind: Kind,
        batch: &[&Finish],
    ) -> Result<Vec<usize>, Trouble> {
        let fences = Fences::of(batch);
        let times = Times::of(batch);
        let (f, t, now) = (&fences, &times, self.now());
        let unique: Vec<bool> = batch.iter().map(|one| one.unique).collect();
        let column = |read: fn(&Finish) -> i16| batch.iter().map(|one| read(one)).collect();
        let codes: Vec<i16> = match kind {
            Kind::Done => column(done_code),
            Kind::Again => column(log_code),
            Kind::Dead => column(dead_code),
            Kind::Late => column(late_code),
        };
        let failures: Vec<i32> = batch.iter().map(|one| failures_after(one)).collect();
        let results: Vec<Option<&[u8]>> = batch.iter().map(|one| result(one)).collect();
        let waits: Vec<i64> = batch.iter().map(|one| wait(one)).collect();
        let classes: Vec<Option<&str>> =
            batch.iter().map(|one| failure(one).map(|f| f.0)).collect();
        let messages: Vec<Option<&str>> =
            batch.iter().map(|one| failure(one).map(|f| f.1)).collect();
        let queues: Vec<&str> = batch.iter().map(|one| one.queue.as_str()).collect();
        let types: Vec<&str> = batch.iter().map(|one| one.job_type.as_str()).collect();
        let rows = match kind {
            Kind::Done => {
                self.query(
                    Line::Finish,
                    "finish",
                    "done",
                    &[
                        &f.ids,
                        &f.attempts,
                        &f.nonces,
                        &codes,
                        &t.started,
                        &t.finished,
                        &failures,
                        &results,
                        &t.ran,
                        &t.waited,
                        &t.ran_us,
                        &t.waited_us,
                        &queues,
                        &types,
                        &unique,
                        &worker.0,
                    ],
                )
                .await?
            }
            Kind::Again => {
                self.query(
                    Line::Finish,
                    "finish",
                    "again",
                    &[
                        &f.ids,
                        &f.attempts,
                        &f.nonces,
                        &codes,
                        &t.started,
                        &t.finished,
                        &failures,
                        &waits,
                        &t.ran,
                        &t.waited,
                        &t.ran_us,
                        &t.waited_us,
                        &classes,
                        &messages,
                        &unique,
                        &worker.0,
                        &now,
                    ],
                )
                .await?
            }
            Kind::Dead => {
                self.query(
                    Line::Finish,
                    "finish",
                    "dead",
                    &[
                        &f.ids,
                        &f.attempts,
                        &f.nonces,
                        &codes,
                        &t.started,
                        &t.finished,
                        &failures,
                        &classes,
                        &messages,
                        &t.ran,
                        &t.waited,
                        &t.ran_us,
                        &t.waited_us,
                        &unique,
                    ],
                )
                .await?
            }
            Kind::Late => {
                self.query(
                    Line::Finish,
                    "finish",
                    "late",
                    &[
                        &f.ids,
                        &f.attempts,
                        &f.nonces,
                        &codes,
                        &t.finished,
                        &results,
                        &classes,
                        &messages,
                        &t.started,
                        &t.ran,
                        &t.waited,
                        &t.ran_us,
                        &t.waited_us,
                        &queues,
                        &types,
                        &worker.0,
                    ],
                )
                .await?
            }
        };
        numbers(&rows)
    }
}

#[derive(Default)]
struct Fences {
    ids: Vec<JobId>,
    attempts: Vec<i32>,
    nonces: Vec<i64>,
}

impl Fences {
    fn of(batch: &[&Finish]) -> Self {
        let mut all = Self::default();
        for one in batch {
            all.ids.push(one.fence.id);
            all.attempts.push(one.fence.attempt as i32);
            all.nonces.push(one.fence.nonce);
        }
        all
    }
}

#[derive(Default)]
struct Times {
    started: Vec<Timestamp>,
    finished: Vec<Timestamp>,
    ran: Vec<i16>,
    waited: Vec<i16>,
    ran_us: Vec<i64>,
    waited_us: Vec<i64>,
}

impl Times {
    fn of(batch: &[&Finish]) -> Self {
        let mut all = Self::default();
        for one in batch {
            all.started.push(one.started_at);
            all.finished.push(one.started_at.plus(one.ran));
            all.ran.push(bucket(one.ran) as i16);
            all.waited.push(bucket(one.waited) as i16);
            all.ran_us.push(micros(one.ran));
            all.waited_us.push(micros(one.waited));
        }
        all
    }
}

fn numbers(rows: &[Row]) -> Result<Vec<usize>, Trouble> {
    rows.iter().map(|row| Ok(row.try_get::<_, i64>(0)? as usize - 1)).collect()
}

fn done_code(one: &Finish) -> i16 {
    if one.end == End::Cancelled { CANCELLED } else { COMPLETED }
}

fn log_code(one: &Finish) -> i16 {
    match one.end {
        End::Snoozed(_) => LOG_SNOOZED,
        End::Released => LOG_RELEASED,
        _ => LOG_FAILED,
    }
}

fn dead_code(one: &Finish) -> i16 {
    match one.end {
        End::Dead(_, DeadReason::Discarded) => 2,
        End::Dead(_, DeadReason::Quarantined) => 3,
        _ => 1,
    }
}

fn late_code(one: &Finish) -> i16 {
    match one.end {
        End::Completed(_) => COMPLETED,
        // Released before it began, yet it counts as run: that is what at-most-once means.
        End::Released => UNHEARD,
        _ => FAILED_ONCE,
    }
}

fn failures_after(one: &Finish) -> i32 {
    let charged = matches!(one.end, End::Failed(..) | End::Dead(..));
    one.failures.saturating_add(u32::from(charged)).min(i32::MAX as u32) as i32
}

fn result(one: &Finish) -> Option<&[u8]> {
    match &one.end {
        End::Completed(result) => result.as_deref(),
        _ => None,
    }
}

fn wait(one: &Finish) -> i64 {
    match one.end {
        End::Failed(_, wait) | End::Snoozed(wait) => micros(wait).min(Timestamp::MAX.us()),
        _ => 0,
    }
}

fn failure(one: &Finish) -> Option<(&str, &str)> {
    match &one.end {
        End::Failed(failure, _) | End::Dead(failure, _) => {
            Some((failure.class.as_str(), failure.message.as_str()))
        }
        _ => None,
    }
}
