//! Stores jobs: one statement for a batch, whether it is one job or a thousand, and another one
//! where an id turned out to be there already.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use futures_util::future::join;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::wire::{ANSWER_MAX, Line};
use crate::clock::{Timestamp, micros};
use crate::id::JobId;
use crate::job::{Delivery, Record};
use crate::store::common::stored::join_tags;
use crate::store::{EnqueueOutcome, Enqueued};

/// A batch as large as this goes by COPY: below, its five statements cost more than they spare.
pub(super) const COPY_MIN: usize = 1000;

const SOONER: (&str, &str) = ("enqueue", "sooner");
const FLUSH: (&str, &str) = ("enqueue", "flush");

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
    fn params<'p>(&'p self, now: &'p Option<Timestamp>) -> Vec<&'p (dyn ToSql + Sync)> {
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
        let mut stored = if jobs.iter().any(|job| job.unique_key.is_some()) {
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
        if new.len() < columns.ids.len() && self.flushes() {
            self.query(line, FLUSH.0, FLUSH.1, &[&self.bell.process()]).await?;
        }
        Ok(new)
    }

    /// Stores jobs while somebody sleeps who may run them. The usual order is: commit, which waits
    /// for the disk; ring; and the claim's commit waits for the disk again. Here the jobs are
    /// committed and the bell is rung without waiting, and then the log goes to the disk, while
    /// the sleeper wakes and claims. The caller is answered after that, so what it was told of is
    /// durable; and a claim's commit takes with it all that stands before it in the log, so no job
    /// runs that a crash could still take away. Both are sent at once, and the server works them
    /// off in their order.
    async fn insert_sooner(
        &self,
        line: Line,
        columns: &Columns<'_>,
    ) -> Result<Vec<JobId>, Trouble> {
        let session = self.wire.session(line).await?;
        for key in [SOONER, FLUSH] {
            session.prepare(key, &self.statements.get(key.0, key.1)).await?;
        }
        let (now, process, channel) = (self.now(), self.bell.process(), self.wire.schema());
        let rings = self.bell.is_anybody_asleep_elsewhere();
        let mut params = columns.params(&now);
        params.extend([&rings as &(dyn ToSql + Sync), &process, &channel]);
        let stored = async {
            let rows = self.ask(&session, SOONER, &params, ANSWER_MAX).await?;
            self.bell.ring_here();
            ids(&rows)
        };
        let asks: [&(dyn ToSql + Sync); 1] = [&process];
        let flushed = self.ask(&session, FLUSH, &asks, ANSWER_MAX);
        // They are polled, and so sent, in this order.
        let (new, flushed) = join(stored, flushed).await;
        let new = new?;
        // They are stored, but who knows whether for good: it is asked for again.
        let flushed = flushed.map_err(|trouble| Trouble::Unknown(trouble.into()))?;
        let elsewhere = flushed.first().is_some_and(|row| row.get(1));
        self.bell.note_asleep(elsewhere);
        if elsewhere && !rings {
            self.ring();
        }
        Ok(new)
    }

    /// Says whether the server may be asked to flush its log.
    fn flushes(&self) -> bool {
        self.flushes.load(Ordering::Relaxed)
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
fn ids(rows: &[Row]) -> Result<Vec<JobId>, Trouble> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dutiful_fixture::{Options, Postgres};

    use crate::clock::Clock;
    use crate::job::{Record, Settings, TypeDefaults};
    use crate::store::postgres::PostgresStore;
    use crate::store::{EnqueueOutcome, Store as _};

    /// A server whose log reaches the disk by commits that wait for it, and not otherwise: the
    /// process that writes it in the background is stopped.
    struct Lab {
        server: Postgres,
        writer: String,
        url: String,
        store: PostgresStore,
    }

    impl Lab {
        async fn new() -> Self {
            let server = Postgres::start(&Options::default()).expect("a server for tests");
            let url = server.fresh_database().expect("an empty database");
            let store = PostgresStore::open(&url, Clock::default(), &[]).await.expect("it opens");
            store.migrate(None).await.expect("the schema is made");
            let writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
            let writer = server.psql(&url, writer).expect("its number").trim().to_owned();
            signal("-STOP", &writer);
            Self { server, writer, url, store }
        }

        fn ask(&self, sql: &str) -> String {
            self.server.psql(&self.url, sql).expect(sql).trim().to_owned()
        }

        /// Says whether all that is in the log up to a place is on the disk.
        fn is_on_disk(&self, place: &str) -> bool {
            self.ask(&format!("SELECT pg_current_wal_flush_lsn() >= '{place}'")) == "t"
        }

        /// Stores a job from elsewhere by a commit that does not wait; returns its place in the
        /// log.
        fn store_lazily(&self, job: &Record) -> String {
            let key = job.unique_key.as_deref().unwrap_or_default();
            let place = self.ask(&format!(
                "SET synchronous_commit = off;
                 SELECT dutiful.enqueue('task', '{{}}', id => '{}',
                     unique_key => nullif('{key}', ''));
                 SELECT pg_current_wal_insert_lsn()",
                job.id
            ));
            let place = place.lines().last().expect("a place").to_owned();
            assert!(!self.is_on_disk(&place), "the commit waited, and the test shows nothing");
            place
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            signal("-CONT", &self.writer);
        }
    }

    fn signal(which: &str, pid: &str) {
        let kill = format!("kill {which} {pid}");
        let sent = std::process::Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.expect("a shell is there").success());
    }

    fn job(key: Option<&str>) -> Record {
        let settings = Settings { unique_key: key.map(str::to_owned), ..Settings::default() };
        let defaults = TypeDefaults::unknown(crate::id::Name::new("type", "task").expect("a name"));
        Record::build(&defaults, b"{}".to_vec(), settings).expect("a job")
    }

    #[tokio::test]
    async fn a_sleeper_is_woken_sooner_and_the_caller_is_told_when_the_disk_has_it() {
        let lab = Lab::new().await;
        let (db, job) = (&lab.store.db, job(None));
        db.bell.note_asleep(true);
        let before = lab.ask("SELECT pg_current_wal_insert_lsn()");
        let heard = db.wait_for_ring(0).await;
        let stored = lab.store.enqueue(vec![job.clone()]).await.expect("it is stored");
        assert_eq!(stored[0].outcome, EnqueueOutcome::New);
        let after = lab.ask("SELECT pg_current_wal_flush_lsn()");
        let moved = lab.ask(&format!("SELECT '{after}'::pg_lsn - '{before}'::pg_lsn > 300"));
        assert_eq!(moved, "t", "it is in the log from {before} on, the disk has {after}");
        let rung = tokio::time::timeout(Duration::from_secs(5), db.wait_for_ring(heard)).await;
        assert!(rung.is_ok(), "who sleeps here is woken");
        assert!(!db.bell.is_anybody_asleep(), "it looked again whether anybody sleeps");
        let again = lab.store.enqueue(vec![job]).await.expect("an answer");
        assert_eq!(again[0].outcome, EnqueueOutcome::Exists);
    }

    #[tokio::test]
    async fn nobody_is_told_that_a_job_is_there_before_the_disk_has_it() {
        let lab = Lab::new().await;
        for key in [None, Some("k")] {
            let there = job(key);
            let place = lab.store_lazily(&there);
            let told = lab.store.enqueue(vec![there]).await.expect("an answer");
            assert_eq!(told[0].outcome, EnqueueOutcome::Exists);
            assert!(lab.is_on_disk(&place), "a crash could still take it away (key {key:?})");
        }
        let place = lab.store_lazily(&job(Some("other")));
        let told = lab.store.enqueue(vec![job(Some("other"))]).await.expect("an answer");
        assert_eq!(told[0].outcome, EnqueueOutcome::Duplicate);
        assert!(lab.is_on_disk(&place), "a crash could still take the holder of the key away");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_that_comes_twice_at_once_keeps_its_key() {
        let lab = Lab::new().await;
        let job = job(Some("k"));
        let slow = format!(
            "BEGIN; SELECT dutiful.enqueue('task', '{{}}', id => '{}', unique_key => 'k');
             SELECT pg_sleep(1); COMMIT",
            job.id
        );
        let told = std::thread::scope(|both| {
            both.spawn(|| lab.ask(&slow));
            std::thread::sleep(Duration::from_millis(400));
            let enqueue = lab.store.enqueue(vec![job.clone()]);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(enqueue))
        });
        assert_eq!(told.expect("an answer")[0].outcome, EnqueueOutcome::Exists);
        let kept = format!("SELECT count(*) FROM dutiful.unique_key WHERE id = '{}'", job.id);
        assert_eq!(lab.ask(&kept), "1", "a second job could take its key");
    }

    #[tokio::test]
    async fn where_the_log_is_forbidden_all_commits_wait() {
        let lab = Lab::new().await;
        assert!(lab.store.db.flushes());
        lab.ask(
            "CREATE ROLE plain LOGIN PASSWORD 'loopback-only'; GRANT ALL ON SCHEMA dutiful TO plain;
             GRANT ALL ON ALL TABLES IN SCHEMA dutiful TO plain;
             REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM public",
        );
        let url = lab.url.replace("://dutiful:", "://plain:");
        assert_ne!(url, lab.url);
        let store = PostgresStore::open(&url, Clock::default(), &[]).await.expect("it opens");
        assert!(!store.db.flushes());
        store.db.bell.note_asleep(true);
        for key in [None, Some("k")] {
            let job = job(key);
            for outcome in [EnqueueOutcome::New, EnqueueOutcome::Exists] {
                let told = store.enqueue(vec![job.clone()]).await.expect("an answer");
                assert_eq!((told[0].id, told[0].outcome), (job.id, outcome));
            }
        }
    }
}
