//! Commits that do not wait for the disk, and the wait that follows them: who sleeps is woken in
//! between, and nobody is told of a job before the disk has it.

use std::sync::atomic::Ordering;

use futures_util::future::join;
use tokio_postgres::types::ToSql;

use super::Db;
use super::enqueue::{Columns, ids};
use super::errors::Trouble;
use super::wire::{ANSWER_MAX, Line};
use crate::id::JobId;

const SOONER: (&str, &str) = ("enqueue", "sooner");
const FLUSH: (&str, &str) = ("enqueue", "flush");

impl Db {
    /// Stores jobs while somebody sleeps who may run them. The usual order is: commit, which waits
    /// for the disk; ring; and the claim's commit waits for the disk again. Here the jobs are
    /// committed and the bell is rung without waiting, and then the log goes to the disk, while
    /// the sleeper wakes and claims. The caller is answered after that, so what it was told of is
    /// durable; and a claim's commit takes with it all that stands before it in the log, so no job
    /// runs that a crash could still take away. Both are sent at once, and the server works them
    /// off in their order.
    pub(super) async fn insert_sooner(
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

    /// Waits until all that was committed before is on the disk. Where the server may not be asked
    /// for that, every commit has waited.
    pub(super) async fn flush(&self, line: Line) -> Result<(), Trouble> {
        if self.flushes() {
            self.query(line, FLUSH.0, FLUSH.1, &[&self.bell.process()]).await?;
        }
        Ok(())
    }

    /// Says whether the server may be asked to flush its log.
    pub(super) fn flushes(&self) -> bool {
        self.flushes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dutiful_fixture::{Options, Postgres};

    use crate::clock::Clock;
    use crate::error::StoreError;
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
    async fn a_connection_that_may_only_read_is_left_though_somebody_sleeps() {
        let lab = Lab::new().await;
        // As a connection is whose primary has become a standby.
        lab.ask("ALTER ROLE dutiful SET default_transaction_read_only = on");
        let store = PostgresStore::open(&lab.url, Clock::default(), &[]).await.expect("it opens");
        store.db.bell.note_asleep(true);
        let refused = store.enqueue(vec![job(None)]).await.expect_err("nothing may be written");
        assert!(matches!(refused, StoreError::ReadOnly(_)), "{refused}");
        lab.ask("SET default_transaction_read_only = off; ALTER ROLE dutiful RESET ALL");
        let stored = store.enqueue(vec![job(None)]).await.expect("a new connection may write");
        assert_eq!(stored[0].outcome, EnqueueOutcome::New);
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
