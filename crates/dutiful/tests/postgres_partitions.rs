//! The days of a Postgres store: made ahead, dropped whole, and nothing that is kept goes along.
#![cfg(feature = "postgres")]

use std::sync::Arc;
use std::time::Duration;

use dutiful::store::{
    ClaimRequest, Claimed, DeadReason, End, Failure, Held, Lane, Retention, Store,
};
use dutiful::{Client, Clock, Delivery, JobId, Name, Record, State, Timestamp, WorkerId};
use tokio_postgres::NoTls;

const DAY: Duration = Duration::from_secs(24 * 3600);
const WORKER: WorkerId = WorkerId(1);
/// 2025-03-04T10:00:00Z: no migration makes its partitions.
const THEN: Timestamp = Timestamp::from_us(1_741_082_400_000_000);

/// Returns where the server for tests is.
fn server() -> String {
    std::env::var("DUTIFUL_TEST_POSTGRES").unwrap_or_else(|_| {
        let server = dutiful_fixture::Postgres::shared(dutiful_fixture::Version::System);
        server.expect("a private server starts").url("postgres")
    })
}

async fn connect() -> tokio_postgres::Client {
    let (raw, connection) = tokio_postgres::connect(&server(), NoTls).await.expect("connected");
    tokio::spawn(connection);
    raw
}

struct Lab {
    schema: String,
    client: Client,
    store: Arc<dyn Store>,
    clock: Clock,
    raw: tokio_postgres::Client,
}

impl Lab {
    async fn new() -> Self {
        let schema = format!("t{}", JobId::new().to_string().replace('-', ""));
        let (clock, url) = (Clock::manual(THEN), format!("{}?schema={schema}", server()));
        let client = Client::builder().clock(clock.clone()).migrate(true).connect(&url).await;
        let client = client.expect("the store opens");
        Self { schema, store: client.store().clone(), client, clock, raw: connect().await }
    }

    /// Asks the database itself; `dutiful.` stands for the schema.
    async fn ask<T>(&self, sql: &str) -> T
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let sql = sql.replace("dutiful.", &format!("{}.", self.schema));
        self.raw.query_one(&sql, &[]).await.expect(&sql).get(0)
    }

    async fn names(&self, pattern: &str) -> Vec<String> {
        self.ask(&format!(
            "SELECT coalesce(array_agg(tablename::text ORDER BY tablename), '{{}}') FROM pg_tables
             WHERE schemaname = '{}' AND tablename ~ '{pattern}'",
            self.schema
        ))
        .await
    }

    async fn make_days(&self) {
        let at = self.clock.now();
        let sql = format!("SELECT dutiful.make_days_('{at}'::timestamptz) IS NULL");
        self.ask::<bool>(&sql).await;
    }

    /// Lets the leader drop a day, by the clock of this lab.
    async fn drop_day(&self) -> i64 {
        let term = self.store.lead(WORKER, Duration::from_secs(10)).await.expect("we lead").term;
        let (kept, at) = (Retention::default().completed.as_micros(), self.clock.now());
        self.ask(&format!("SELECT dutiful.days_({term}, {kept}, '{at}'::timestamptz)")).await
    }

    async fn put(&self, ids: &[JobId]) {
        let jobs = ids.iter().map(|id| record(*id)).collect();
        self.store.enqueue(jobs).await.expect("they are stored");
    }

    async fn claim(&self) -> Claimed {
        let name = |text| Name::new("name", text).expect("a name");
        let lanes = vec![Lane { queue: name("default"), limit: 1, at_most_once: 1 }];
        let ask = ClaimRequest {
            worker: WORKER,
            lanes,
            types: Arc::new([name("task")].into()),
            lease: Duration::from_secs(30),
            limit: 1,
            bytes: usize::MAX,
            crashed: 1,
        };
        self.store.claim(ask).await.expect("an answer").remove(0)
    }

    async fn end(&self, end: End) -> JobId {
        let claimed = self.claim().await;
        let held = self.store.finish(WORKER, vec![claimed.unstarted(end)]).await;
        assert_eq!(held.expect("an answer"), [Held::Yes]);
        claimed.fence.id
    }

    async fn state(&self, id: JobId) -> Option<State> {
        self.client.job(id).await.expect("an answer").map(|job| job.state)
    }

    async fn totals(&self) -> (u64, u64, u64) {
        let totals = self.store.stats().await.expect("an answer").totals;
        (totals.completed, totals.cancelled, totals.dead)
    }

    async fn close(self) {
        self.client.close().await.expect("it closes");
        let drop = format!("DROP SCHEMA {} CASCADE", self.schema);
        self.raw.batch_execute(&drop).await.expect("it goes");
    }
}

/// Returns ids of the lab's first hour.
fn ids(n: u8) -> Vec<JobId> {
    let of = |n| {
        let mut bytes = *JobId::floor(THEN.us()).as_bytes();
        (bytes[6], bytes[8], bytes[15]) = (0x70, 0x80, n);
        JobId::from_bytes(bytes)
    };
    (1..=n).map(of).collect()
}

fn record(id: JobId) -> Record {
    let name = |text| Name::new("name", text).expect("a name");
    Record {
        id,
        job_type: name("task"),
        payload: b"{}".to_vec(),
        queue: name("default"),
        priority: 10,
        scheduled_for: None,
        delay: Duration::ZERO,
        max_attempts: 3,
        timeout: Duration::from_secs(60),
        correlation_id: None,
        trace_parent: None,
        group: None,
        unique_key: None,
        tags: Vec::new(),
        delivery: Delivery::AtLeastOnce,
    }
}

fn oops() -> Failure {
    Failure { class: "Oops".into(), message: "it broke".into() }
}

#[tokio::test]
async fn a_migration_makes_the_next_days_and_jobs_land_in_their_own() {
    let lab = Lab::new().await;
    assert_eq!(lab.names("^job_2").await.len(), 4);
    assert_eq!(lab.names("^done_2").await.len(), 4);
    let id = JobId::new();
    lab.put(&[id]).await;
    lab.end(End::Completed(None)).await;
    for table in ["job", "done"] {
        let sql = format!("SELECT tableoid::regclass::text FROM dutiful.{table}");
        let place: String = lab.ask(&sql).await;
        assert!(place.contains(&format!("{table}_2")), "{place}");
    }
    assert_eq!(lab.state(id).await, Some(State::Completed));
    lab.close().await;
}

#[tokio::test]
async fn a_day_that_is_over_goes_and_what_is_kept_longer_stays() {
    let lab = Lab::new().await;
    lab.make_days().await;
    lab.put(&ids(7)).await;
    let mut gone = Vec::new();
    for end in [End::Completed(None), End::Completed(Some(b"1".to_vec())), End::Cancelled] {
        gone.push(lab.end(end).await);
    }
    let dead = lab.end(End::Dead(oops(), DeadReason::Discarded)).await;
    let failed = lab.end(End::Failed(oops(), DAY * 30)).await;
    lab.clock.advance(DAY * 7);
    assert_eq!(lab.drop_day().await, 0, "its last hours are kept still");
    let late = lab.end(End::Completed(None)).await;
    let active = lab.claim().await.fence.id;
    lab.clock.advance(DAY);
    assert_eq!(lab.totals().await, (3, 1, 1));
    assert_eq!(lab.drop_day().await, 3);
    assert!(lab.names("_20250304$").await.is_empty());
    for id in gone {
        assert_eq!(lab.state(id).await, None);
    }
    assert_eq!(lab.state(dead).await, Some(State::Dead));
    assert_eq!(lab.state(failed).await, Some(State::Failed));
    assert_eq!(lab.state(late).await, Some(State::Completed));
    assert_eq!(lab.state(active).await, Some(State::Stalled));
    assert_eq!(lab.totals().await, (1, 0, 1), "the numbers follow");
    let kept: i64 = lab.ask("SELECT count(*) FROM dutiful.job_other").await;
    let logged: i64 = lab.ask("SELECT count(*) FROM dutiful.attempt").await;
    assert_eq!((kept, logged), (4, 1), "what survives moves to DEFAULT with its log");
    lab.clock.advance(DAY * 7);
    let term = lab.store.lead(WORKER, DAY).await.expect("we lead").term;
    while lab.store.prune(term, Retention::default()).await.expect("an answer") > 0 {}
    assert_eq!(lab.state(late).await, None, "it is pruned there");
    assert_eq!(lab.totals().await, (0, 0, 1));
    lab.close().await;
}

#[tokio::test]
async fn a_table_that_somebody_reads_for_long_holds_up_nobody() {
    let lab = Lab::new().await;
    lab.make_days().await;
    lab.put(&ids(2)).await;
    let done = lab.end(End::Completed(None)).await;
    lab.clock.advance(DAY * 9);
    let mut reader = connect().await;
    let reading = reader.transaction().await.expect("a transaction");
    let look = format!("SELECT count(*) FROM {0}.job, {0}.done", lab.schema);
    reading.query_one(&look, &[]).await.expect("it reads");
    assert_eq!(lab.drop_day().await, 0, "given up while the reader reads on");
    assert_eq!(lab.names("_20250304$").await.len(), 2);
    assert_eq!((lab.totals().await, lab.state(done).await), ((1, 0, 0), Some(State::Completed)));
    lab.end(End::Completed(None)).await;
    reading.commit().await.expect("it ends");
    assert_eq!(lab.drop_day().await, 1);
    assert!(lab.names("_20250304$").await.is_empty());
    assert_eq!(lab.totals().await, (1, 0, 0));
    lab.close().await;
}

#[tokio::test]
async fn a_role_that_may_not_change_tables_prunes_row_by_row() {
    let lab = Lab::new().await;
    lab.make_days().await;
    lab.put(&ids(1)).await;
    let done = lab.end(End::Completed(None)).await;
    lab.clock.advance(DAY * 9);
    let (role, schema) = (format!("r{}", lab.schema), &lab.schema);
    let grants = format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}; SET ROLE {role}"
    );
    lab.raw.batch_execute(&grants).await.expect("a role of less rights");
    assert_eq!(lab.drop_day().await, 0, "refused in silence, for no prune may fail by it");
    assert_eq!(lab.names("_20250304$").await.len(), 2);
    let term = lab.store.lead(WORKER, DAY).await.expect("we lead").term;
    let (us, at) = (DAY.as_micros() * 7, lab.clock.now());
    let rows = format!("SELECT dutiful.prune_({term}, {us}, {us}, 10, '{at}'::timestamptz)");
    assert_eq!(lab.ask::<i64>(&rows).await, 1);
    assert_eq!((lab.state(done).await, lab.totals().await), (None, (0, 0, 0)));
    let back = format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}");
    lab.raw.batch_execute(&back).await.expect("the role goes");
    lab.close().await;
}

#[tokio::test]
async fn a_day_whose_jobs_stand_in_default_gets_no_partition() {
    let lab = Lab::new().await;
    lab.put(&ids(1)).await;
    lab.make_days().await;
    assert_eq!(lab.names("^job_202503").await, ["job_20250305", "job_20250306", "job_20250307"]);
    assert_eq!(lab.names("^done_202503").await.len(), 4);
    let done = lab.end(End::Completed(None)).await;
    lab.clock.advance(DAY * 8);
    assert_eq!(lab.drop_day().await, 0, "a day of which half stands elsewhere waits");
    assert_eq!(lab.state(done).await, Some(State::Completed));
    let term = lab.store.lead(WORKER, DAY).await.expect("we lead").term;
    while lab.store.prune(term, Retention::default()).await.expect("an answer") > 0 {}
    assert_eq!((lab.state(done).await, lab.totals().await), (None, (0, 0, 0)));
    assert!(lab.names("_20250304$").await.is_empty());
    lab.close().await;
}

#[tokio::test]
async fn ids_of_no_time_stand_in_default_and_are_pruned_too() {
    let lab = Lab::new().await;
    lab.make_days().await;
    let foreign = [JobId::from_bytes([0; 16]), JobId::from_bytes([0xFE; 16])];
    lab.put(&foreign).await;
    for _ in foreign {
        lab.end(End::Completed(None)).await;
    }
    let there: i64 = lab.ask("SELECT count(*) FROM dutiful.done_other").await;
    assert_eq!(there, 2);
    lab.clock.advance(DAY * 8);
    let term = lab.store.lead(WORKER, DAY).await.expect("we lead").term;
    assert_eq!(lab.store.prune(term, Retention::default()).await.expect("an answer"), 2);
    for id in foreign {
        assert_eq!(lab.state(id).await, None);
    }
    lab.close().await;
}
