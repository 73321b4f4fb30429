//! Stores jobs: one statement for a batch, whether it is one job or a thousand, and another one
//! where an id turned out to be there already.

use std::collections::HashSet;

use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::wire::Line;
use crate::clock::{Timestamp, micros};
use crate::id::JobId;
use crate::job::{Delivery, Record};
use crate::store::common::stored::join_tags;
use crate::store::{EnqueueOutcome, Enqueued};

/// A batch as large as this goes by COPY: below, its five statements cost more than they spare.
pub(super) const COPY_MIN: usize = 1000;

/// How a batch is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As rows of COPY.
    Copy,
    /// So that a sleeper is woken before the disk has it.
    Sooner,
    Plain,
    /// By the statement that expects ids to be there already.
    Known,
}

/// The columns of a batch, as they travel.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) ids: Vec<JobId>,
    pub(super) types: Vec<&'a str>,
    pub(super) queues: Vec<&'a str>,
    pub(super) payloads: Vec<&'a [u8]>,
    pub(super) priorities: Vec<i16>,
    pub(super) delays: Vec<i64>,
    pub(super) times: Vec<Option<Timestamp>>,
    pub(super) attempts: Vec<i32>,
    pub(super) timeouts: Vec<i64>,
    pub(super) deliveries: Vec<i16>,
    pub(super) correlations: Vec<Option<&'a str>>,
    pub(super) traces: Vec<Option<&'a str>>,
    pub(super) groups: Vec<Option<&'a str>>,
    pub(super) tags: Vec<Option<String>>,
    pub(super) keys: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, job: &'a Record) {
        /// Longer than any time that can be stored, and no risk to the server's arithmetic.
        const DELAY_MAX: i64 = Timestamp::MAX.us();
        self.ids.push(job.id);
        self.types.push(job.job_type.as_str());
        self.queues.push(job.queue.as_str());
        self.payloads.push(&job.payload);
        self.priorities.push(job.priority as i16);
        self.delays.push(match job.delay.is_zero() {
            true => -1,
            false => micros(job.delay).min(DELAY_MAX),
        });
        self.times.push(job.scheduled_for);
        self.attempts.push(job.max_attempts as i32);
        self.timeouts.push(job.timeout.as_millis() as i64);
        self.deliveries.push(i16::from(job.delivery == Delivery::AtMostOnce));
        self.correlations.push(job.correlation_id.as_deref());
        self.traces.push(job.trace_parent.as_deref());
        self.groups.push(job.group.as_deref());
        self.tags.push(join_tags(&job.tags));
        self.keys.push(job.unique_key.as_deref());
    }

    /// Returns the time that was asked for, as `part_given` reckons it.
    pub(super) fn wanted(&self, at: usize, now: Timestamp) -> Option<Timestamp> {
        let delay = self.delays[at];
        let later = || Timestamp::from_us(now.us().saturating_add(delay));
        let wanted = self.times[at].or_else(|| (delay >= 0).then(later));
        wanted.map(|wanted| wanted.min(Timestamp::MAX))
    }

    /// The parameters of every statement, in their order; some take more behind them.
    pub(super) fn params<'p>(&'p self, now: &'p Option<Timestamp>) -> Vec<&'p (dyn ToSql + Sync)> {
        vec![
            &self.ids,
            &self.types,
            &self.queues,
            &self.payloads,
            &self.priorities,
            &self.delays,
            &self.times,
            &self.attempts,
            &self.timeouts,
            &self.deliveries,
            &self.correlations,
            &self.traces,
            &self.groups,
            &self.tags,
            now,
        ]
    }
}

impl Db {
    /// Stores a batch, all of it or nothing; the answers keep the order. `since` is when the same
    /// batch was sent first, if the answer to that got lost.
    pub(super) async fn enqueue(
        &self,
        line: Line,
        jobs: &[Record],
        since: Option<Instant>,
    ) -> Result<Vec<Enqueued>, Trouble> {
        let mut stored = if line == Line::Keyed {
            let mut columns = Columns::default();
            jobs.iter().for_each(|job| columns.push(job));
            self.insert_keyed(line, &columns).await?
        } else {
            self.insert_plain(line, jobs, since.is_some()).await?
        };
        if let Some(since) = since {
            self.tell_new(line, jobs, &mut stored, since).await?;
        }
        Ok(stored)
    }

    /// Tells what the lost answer would have said: a job that is no older than the first asking was
    /// stored by it, an older one existed before. Ages are the server's, and compared with a span
    /// that began before and ends after them, so no job of ours seems too old.
    async fn tell_new(
        &self,
        line: Line,
        jobs: &[Record],
        stored: &mut [Enqueued],
        since: Instant,
    ) -> Result<(), Trouble> {
        let exists = |one: &Enqueued| one.outcome == EnqueueOutcome::Exists;
        let there: Vec<JobId> = stored.iter().filter(|one| exists(one)).map(|one| one.id).collect();
        if there.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let rows = self.query(line, "enqueue", "ages", &[&there, &now]).await?;
        let span = micros(since.elapsed());
        let mut young = HashSet::with_capacity(rows.len());
        for row in &rows {
            if row.try_get::<_, i64>(1)? <= span {
                young.insert(row.try_get::<_, JobId>(0)?);
            }
        }
        // Of an id that stands twice in the batch only the first was new.
        let new = stored.iter().filter(|one| one.outcome == EnqueueOutcome::New);
        new.for_each(|one| {
            young.remove(&one.id);
        });
        for (one, job) in stored.iter_mut().zip(jobs) {
            if exists(one) && young.remove(&job.id) {
                one.outcome = EnqueueOutcome::New;
            }
        }
        Ok(())
    }

    /// Inserts jobs in the order of their ids, so that two batches with the same ones cannot wait
    /// for each other in a circle. The same id twice in a batch is one job; the second one exists
    /// already.
    async fn insert_plain(
        &self,
        line: Line,
        jobs: &[Record],
        known: bool,
    ) -> Result<Vec<Enqueued>, Trouble> {
        let mut given: Vec<&Record> = jobs.iter().collect();
        given.sort_by_key(|job| job.id);
        given.dedup_by_key(|job| job.id);
        let mut columns = Columns::default();
        given.into_iter().for_each(|job| columns.push(job));
        let mut way = match self.wire.manner().prepares {
            _ if known => Way::Known,
            true if columns.ids.len() >= COPY_MIN => Way::Copy,
            true if self.flushes() && self.bell.is_anybody_asleep() => Way::Sooner,
            _ => Way::Plain,
        };
        loop {
            let new = match way {
                Way::Copy => self.copy(&columns).await.map(|()| columns.ids.clone()),
                Way::Sooner => self.insert_sooner(line, &columns).await,
                Way::Plain => self.insert(line, "plain", &columns).await,
                Way::Known => self.insert_known(line, &columns).await,
            };
            way = match new {
                Ok(new) => {
                    if way != Way::Sooner {
                        self.ring();
                    }
                    return Ok(told(jobs, &mut new.into_iter().collect()));
                }
                Err(Trouble::Repeated(_)) if way != Way::Known => Way::Known,
                // It was not done, and is asked for again in the way that bears trouble.
                Err(Trouble::Unsent(_) | Trouble::Again(_) | Trouble::Outdated(_))
                    if matches!(way, Way::Copy | Way::Sooner) =>
                {
                    Way::Plain
                }
                Err(trouble) => return Err(trouble),
            };
        }
    }

    async fn insert(
        &self,
        line: Line,
        name: &'static str,
        columns: &Columns<'_>,
    ) -> Result<Vec<JobId>, Trouble> {
        let now = self.now();
        ids(&self.query(line, "enqueue", name, &columns.params(&now)).await?)
    }

    /// Inserts what is not there yet. What is there may have been stored a moment ago by a commit
    /// that has not reached the disk; nobody is told that it is there before it has.
    async fn insert_known(&self, line: Line, columns: &Columns<'_>) -> Result<Vec<JobId>, Trouble> {
        let new = self.insert(line, "known", columns).await?;
        if new.len() < columns.ids.len() {
            self.flush(line).await?;
        }
        Ok(new)
    }

    async fn insert_keyed(&self, line: Line, c: &Columns<'_>) -> Result<Vec<Enqueued>, Trouble> {
        let now = self.now();
        let mut params = c.params(&now);
        params.push(&c.keys);
        let rows = self.query(line, "enqueue", "keyed", &params).await?;
        self.ring();
        let mut answers: Vec<_> =
            c.ids.iter().map(|id| Enqueued { id: *id, outcome: EnqueueOutcome::Exists }).collect();
        for row in rows {
            let (place, id, outcome): (i64, JobId, i16) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let outcome = match outcome {
                0 => EnqueueOutcome::New,
                1 => EnqueueOutcome::Exists,
                _ => EnqueueOutcome::Duplicate,
            };
            if let Some(answer) = answers.get_mut((place - 1) as usize) {
                *answer = Enqueued { id, outcome };
            }
        }
        Ok(answers)
    }
}

/// The ids that an insert answered with: those of new jobs.
pub(super) fn ids(rows: &[Row]) -> Result<Vec<JobId>, Trouble> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Tells of each job whether it is among the new ones: of an id that stands twice, the first is.
fn told(jobs: &[Record], new: &mut HashSet<JobId>) -> Vec<Enqueued> {
    let mut outcome = |job: &Record| match new.remove(&job.id) {
        true => EnqueueOutcome::New,
        false => EnqueueOutcome::Exists,
    };
    jobs.iter().map(|job| Enqueued { id: job.id, outcome: outcome(job) }).collect()
}
