//! Writes how attempts ended: one statement for each kind of end in the batch, each naming the
//! whole fence of every attempt.
//!
//! A lease that somebody holds for a moment is passed over and asked for again; one that a user's
//! own transaction keeps is said to be locked, so that no other end waits for that transaction. An
//! answer that got lost is looked for in the records, so that what was written counts as written.

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
use crate::store::common::stored;
use crate::store::tally::bucket;
use crate::store::{DeadReason, End, Finish, Held};

/// A time that nobody can believe counts as a hundred years: a thousand of them fit into the sum of
/// a batch.
const LONGEST_US: i64 = 100 * 366 * 24 * 60 * 60 * 1_000_000;
/// A lease that somebody holds is asked for again after this while …
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
/// … and so often; after that it is a user's transaction, of which nobody knows how long it takes.
const LOCKED_TRIES: u32 = 1;
/// How often a batch is written again whose outcome is unknown.
const UNKNOWN_TRIES: u32 = 5;

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
            Ok(held) => self.unsure.forget(ends.iter().zip(held)),
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
            // As leases and records lie: each is found beside the one before.
            open.sort_unstable_by_key(|at| ends[*at].fence.id);
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
                    open.drain(..).for_each(|at| held[at] = Held::Locked);
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
        let (c, now) = (Columns::of(kind, batch), self.now());
        let (name, params) = match kind {
            Kind::Done => ("done", c.done(&worker.0)),
            Kind::Again => ("again", c.again(&worker.0, &now)),
            Kind::Dead => ("dead", c.dead()),
            Kind::Late => ("late", c.late(&worker.0)),
        };
        numbers(&self.query(Line::Finish, "finish", name, &params).await?)
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

/// Parameters of a statement, in its order.
type Params<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// The columns of a batch, as they travel: short names, so that each list below is read at once.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<JobId>,
    nums: Vec<i32>,
    nonces: Vec<i64>,
    /// What the kind of end keeps of it as a number: an outcome or a reason.
    codes: Vec<i16>,
    began: Vec<Timestamp>,
    ended: Vec<Timestamp>,
    failed: Vec<i32>,
    results: Vec<Option<&'a [u8]>>,
    waits: Vec<i64>,
    ran: Vec<i16>,
    due: Vec<i16>,
    ran_us: Vec<i64>,
    due_us: Vec<i64>,
    class: Vec<Option<&'a str>>,
    text: Vec<Option<&'a str>>,
    queues: Vec<&'a str>,
    types: Vec<&'a str>,
    keyed: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(kind: Kind, batch: &[&'a Finish]) -> Self {
        let mut all = Self::default();
        for one in batch {
            all.ids.push(one.fence.id);
            all.nums.push(one.fence.attempt as i32);
            all.nonces.push(one.fence.nonce);
            all.codes.push(code(kind, one));
            all.began.push(one.started_at);
            all.ended.push(one.started_at.plus(one.ran));
            all.failed.push(failures_after(one));
            all.results.push(result(one));
            all.waits.push(wait(one));
            all.ran.push(bucket(one.ran) as i16);
            all.due.push(bucket(one.waited) as i16);
            all.ran_us.push(micros(one.ran).min(LONGEST_US));
            all.due_us.push(micros(one.waited).min(LONGEST_US));
            let (class, text) = failure(one).unzip();
            all.class.push(class);
            all.text.push(text);
            all.queues.push(one.queue.as_str());
            all.types.push(one.job_type.as_str());
            all.keyed.push(one.unique);
        }
        all
    }

    fn done<'p>(&'p self, worker: &'p i64) -> Params<'p> {
        let c = self;
        vec![
            &c.ids, &c.nums, &c.nonces, &c.codes, &c.began, &c.ended, &c.failed, &c.results,
            &c.ran, &c.due, &c.ran_us, &c.due_us, &c.queues, &c.types, &c.keyed, worker,
        ]
    }

    fn again<'p>(&'p self, worker: &'p i64, now: &'p Option<Timestamp>) -> Params<'p> {
        let c = self;
        vec![
            &c.ids, &c.nums, &c.nonces, &c.codes, &c.began, &c.ended, &c.failed, &c.waits, &c.ran,
            &c.due, &c.ran_us, &c.due_us, &c.class, &c.text, &c.keyed, worker, now,
        ]
    }

    fn dead(&self) -> Params<'_> {
        let c = self;
        vec![
            &c.ids, &c.nums, &c.nonces, &c.codes, &c.began, &c.ended, &c.failed, &c.class, &c.text,
            &c.ran, &c.due, &c.ran_us, &c.due_us, &c.keyed,
        ]
    }

    fn late<'p>(&'p self, worker: &'p i64) -> Params<'p> {
        let c = self;
        vec![
            &c.ids, &c.nums, &c.nonces, &c.codes, &c.ended, &c.results, &c.class, &c.text,
            &c.began, &c.ran, &c.due, &c.ran_us, &c.due_us, &c.queues, &c.types, worker,
        ]
    }
}

fn numbers(rows: &[Row]) -> Result<Vec<usize>, Trouble> {
    rows.iter().map(|row| Ok(row.try_get::<_, i64>(0)? as usize - 1)).collect()
}

/// Returns the number that stands for an end: an outcome, or a reason.
fn code(kind: Kind, one: &Finish) -> i16 {
    let code = match (kind, &one.end) {
        (Kind::Done, End::Cancelled) => stored::CANCELLED,
        (Kind::Done, _) => stored::COMPLETED,
        (Kind::Again, End::Snoozed(_)) => stored::LOG_SNOOZED,
        (Kind::Again, End::Released) => stored::LOG_RELEASED,
        (Kind::Again, _) => stored::LOG_FAILED,
        (Kind::Dead, End::Dead(_, reason)) => stored::reason_code(*reason),
        (Kind::Dead, _) => stored::reason_code(DeadReason::Exhausted),
        (Kind::Late, End::Completed(_)) => stored::COMPLETED,
        // Released before it began, yet it counts as run: that is what at-most-once means.
        (Kind::Late, End::Released) => stored::UNHEARD,
        (Kind::Late, _) => stored::FAILED_ONCE,
    };
    code as i16
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
            Some((stored::class_of(failure), failure.message.as_str()))
        }
        _ => None,
    }
}
