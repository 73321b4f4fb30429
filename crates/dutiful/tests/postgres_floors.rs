//! What is read on Postgres: claims begin past what is gone, and never past what may still come,
//! find a queue's jobs together, and look at few of a crowd that crashed a worker; ends and
//! heartbeats read no leases but those that they name.
#![cfg(feature = "postgres")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::store::{ClaimRequest, Claimed, End, HeartbeatRequest, Held, Lane, Note, Store};
use dutiful::{Client, Fence, JobId, Name, NewJob, Progress, Settings, WorkerId};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::NoTls;

const WORKER: WorkerId = WorkerId(1);
/// A backlog that floors move along with.
const MANY: usize = 10_000;
/// Jobs in one claim.
const BATCH: usize = 500;
/// How long anything may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);

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
    types: Arc<std::collections::HashSet<Name>>,
    /// A session past the store.
    raw: tokio_postgres::Client,
    /// A transaction that one test holds open would hold up the floors of all.
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    async fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let schema = format!("t{}", JobId::new().to_string().replace('-', ""));
        let url = format!("{}?schema={schema}", server());
        let client = Client::builder().migrate(true).connect(&url).await.expect("the store opens");
        let types = Arc::new([Name::new("type", "task").expect("a name")].into());
        let (store, raw) = (client.store().clone(), connect().await);
        Self { schema, client, store, types, raw, _alone: alone }
    }

    /// Runs statements past the store; `dutiful.` stands for the schema.
    async fn run(&self, sql: &str) {
        let sql = sql.replace("dutiful.", &format!("{}.", self.schema));
        self.raw.batch_execute(&sql).await.expect(&sql);
    }

    async fn number(&self, sql: &str) -> i64 {
        let sql = sql.replace("dutiful.", &format!("{}.", self.schema));
        self.raw.query_one(&sql, &[]).await.expect(&sql).get(0)
    }

    async fn put(&self, n: usize, priority: i16) {
        let sql = format!(
            "SELECT dutiful.enqueue_many(json_agg(json_build_object(
                 'type', 'task', 'payload', json_build_object(), 'priority', {priority})))
             FROM generate_series(1, {})",
            n.min(1000)
        );
        for _ in 0..n.div_ceil(1000) {
            self.run(&sql).await;
        }
    }

    fn ask(&self, limit: usize) -> ClaimRequest {
        let queue = Name::new("queue", "default").expect("a name");
        ClaimRequest {
            worker: WORKER,
            lanes: vec![Lane { queue, limit, at_most_once: 0 }],
            types: self.types.clone(),
            lease: Duration::from_secs(30),
            limit,
            bytes: usize::MAX,
            crashed: 1,
        }
    }

    async fn claim(&self, limit: usize) -> Vec<Claimed> {
        self.store.claim(self.ask(limit)).await.expect("an answer")
    }

    /// Claims and completes until nothing is left; returns how many.
    async fn drain(&self) -> usize {
        let mut n = 0;
        loop {
            let jobs = self.claim(BATCH).await;
            if jobs.is_empty() {
                return n;
            }
            n += jobs.len();
            let ends: Vec<_> = jobs.iter().map(|job| job.unstarted(End::Completed(None))).collect();
            let held = self.store.finish(WORKER, ends).await.expect("an answer");
            assert!(held.iter().all(|held| *held == Held::Yes));
        }
    }

    /// Drains a backlog behind which the floors move.
    async fn move_floors(&self) {
        self.put(MANY, 10).await;
        assert_eq!(self.drain().await, MANY);
    }

    async fn close(self) {
        self.client.close().await.expect("it closes");
        let drop = format!("DROP SCHEMA {} CASCADE", self.schema);
        self.raw.batch_execute(&drop).await.expect("it goes");
    }
}

#[tokio::test]
async fn a_job_that_commits_late_is_claimed_at_once() {
    let lab = Lab::new().await;
    let late = connect().await;
    let sql = format!("BEGIN; SELECT {}.enqueue('task', '{{}}', priority => 10)", lab.schema);
    late.batch_execute(&sql).await.expect("it is stored and not committed");
    lab.move_floors().await;
    assert_eq!(lab.claim(BATCH).await.len(), 0, "nobody sees what is not committed");
    late.batch_execute("COMMIT").await.expect("it commits");
    assert_eq!(lab.claim(BATCH).await.len(), 1, "the claim began after the late job");
    lab.close().await;
}

#[tokio::test]
async fn a_row_that_others_let_go_is_claimed_at_once() {
    let lab = Lab::new().await;
    lab.put(1, 10).await;
    let other = connect().await;
    let hold = format!("BEGIN; DELETE FROM {}.ready", lab.schema);
    other.batch_execute(&hold).await.expect("another claims it");
    lab.move_floors().await;
    assert_eq!(lab.claim(BATCH).await.len(), 0, "nobody takes what another claims");
    other.batch_execute("ROLLBACK").await.expect("it lets go");
    assert_eq!(lab.claim(BATCH).await.len(), 1, "the claim began after the row");
    lab.close().await;
}

#[tokio::test]
async fn jobs_of_any_priority_are_claimed_in_their_order() {
    let lab = Lab::new().await;
    lab.move_floors().await;
    let wanted = [0, 9, 10, 11, 500, 1000];
    for priority in wanted.iter().rev() {
        lab.put(1, *priority).await;
    }
    let sql = "SELECT id, priority FROM dutiful.job ORDER BY id DESC LIMIT 6";
    let rows = lab.raw.query(&sql.replace("dutiful.", &format!("{}.", lab.schema)), &[]).await;
    let rows = rows.expect("the records");
    let priorities: HashMap<String, i16> =
        rows.iter().map(|row| (row.get::<_, JobId>(0).to_string(), row.get(1))).collect();
    let claimed = lab.claim(BATCH).await;
    let seen: Vec<i16> = claimed.iter().map(|job| priorities[&job.fence.id.to_string()]).collect();
    assert_eq!(seen, wanted);
    lab.close().await;
}

#[tokio::test]
async fn a_row_beneath_the_floor_is_found_soon() {
    let lab = Lab::new().await;
    lab.move_floors().await;
    // As a clock that went back would leave it.
    lab.put(1, 10).await;
    lab.run("UPDATE dutiful.ready SET run_at = run_at - interval '1 hour'").await;
    let began = Instant::now();
    while lab.claim(1).await.is_empty() {
        assert!(began.elapsed() < HUNG, "nobody looks beneath the floor");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lab.close().await;
}

#[tokio::test]
async fn a_snapshot_held_open_does_not_make_claims_read_what_is_gone() {
    const ROWS: i64 = 40_000;
    let lab = Lab::new().await;
    let reader = connect().await;
    lab.put(ROWS as usize, 10).await;
    let hold = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM {}.jobs",
        lab.schema
    );
    reader.batch_execute(&hold).await.expect("a report that takes long");
    assert_eq!(lab.drain().await, ROWS as usize);
    // A session tells what it read with its first statement after a second.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(lab.claim(BATCH).await.len(), 0);
    let read = format!(
        "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes
         WHERE schemaname = '{}' AND indexrelname = 'ready_pkey'",
        lab.schema
    );
    let began = Instant::now();
    let mut entries = lab.number(&read).await;
    while entries < ROWS {
        assert!(began.elapsed() < HUNG, "the server counted {entries} entries");
        tokio::time::sleep(Duration::from_millis(100)).await;
        entries = lab.number(&read).await;
    }
    // To walk through all that is gone, 80 claims would read 1.6 million.
    assert!(entries < 20 * ROWS, "{} entries of the index for each job", entries / ROWS);
    reader.batch_execute("COMMIT").await.expect("the report ends");
    lab.close().await;
}

#[tokio::test]
async fn what_a_large_batch_brings_lies_queue_by_queue() {
    const QUEUES: i64 = 20;
    let lab = Lab::new().await;
    // Ids of their own, in the order of the call, so that it is not these that order them.
    let job = |n: i64| {
        let queue = Some(format!("q{}", n % QUEUES));
        let settings = Settings { queue, id: Some(JobId::new()), ..Settings::default() };
        NewJob { job_type: "task".into(), payload: b"{}".to_vec(), settings }
    };
    lab.client.enqueue_many((0..2000).map(job).collect()).await.expect("they are stored");
    let runs = "SELECT count(*) FROM (SELECT queue, lag(queue) OVER (ORDER BY ctid) AS before
                    FROM dutiful.ready) each WHERE queue IS DISTINCT FROM before";
    // Two chunks, each with all queues.
    assert!(lab.number(runs).await <= 2 * QUEUES, "the queues are mixed");
    lab.close().await;
}

#[tokio::test]
async fn ends_of_many_queues_are_counted_in_one_row() {
    let lab = Lab::new().await;
    let job = |n: usize| {
        let settings = Settings { queue: Some(format!("q{n}")), ..Settings::default() };
        NewJob { job_type: "task".into(), payload: b"{}".to_vec(), settings }
    };
    lab.client.enqueue_many((0..20).map(job).collect()).await.expect("they are stored");
    let name = |n: usize| Name::new("queue", &format!("q{n}")).expect("a name");
    let lane = |n| Lane { queue: name(n), limit: 1, at_most_once: 0 };
    let ask = ClaimRequest { lanes: (0..20).map(lane).collect(), limit: 20, ..lab.ask(1) };
    let jobs = lab.store.claim(ask).await.expect("an answer");
    let ends = jobs.iter().map(|job| job.unstarted(End::Completed(None))).collect();
    assert_eq!(lab.store.finish(WORKER, ends).await.expect("an answer"), [Held::Yes; 20]);
    assert_eq!(lab.number("SELECT count(*) FROM dutiful.tally WHERE event <> 0").await, 0);
    assert_eq!(lab.number("SELECT count(*) FROM dutiful.tally_batch").await, 1);
    let totals = lab.client.totals().await.expect("an answer");
    assert!(totals.len() == 20 && totals.iter().all(|one| one.completed == 1), "{totals:?}");
    lab.close().await;
}

#[tokio::test]
async fn batches_of_any_size_are_folded_as_fast_as_they_come() {
    let lab = Lab::new().await;
    let term = lab.store.lead(WORKER, HUNG).await.expect("an answer").term;
    let waiting = "SELECT count(*) FROM dutiful.tally_batch";
    for (rows, parts) in [(8000, 1), (2000, 200)] {
        let sql = format!(
            "INSERT INTO dutiful.tally_batch (queue, type, event, n, ran, waited, ran_us, waited_us)
             SELECT q, t, e, e::int[], '{{}}', '{{}}', '{{}}', '{{}}' FROM (SELECT
                 array_agg('q' || p) AS q, array_agg('task'::text) AS t, array_agg(1::smallint) AS e
                 FROM generate_series(1, {parts}) p) one, generate_series(1, {rows})"
        );
        lab.run(&sql).await;
        let mut left = lab.number(waiting).await;
        while left > 0 {
            let folded = lab.store.fold(term).await.expect("an answer");
            let now = lab.number(waiting).await;
            // Who folded so much folds again at once, and not too much at a time.
            assert!(now == 0 || folded >= 1000, "{folded} were folded, {now} are left");
            assert!(left - now <= 5000 && (left - now) * parts <= 101_000);
            left = now;
        }
    }
    let totals = lab.client.stats().await.expect("an answer").totals;
    assert_eq!(totals.completed, 8000 + 2000 * 200);
    lab.close().await;
}

/// The server's count of index entries that were read in tables with this beginning of their name;
/// it lags behind by a second.
async fn entries_read(lab: &Lab, tables: &str) -> i64 {
    let sql = format!(
        "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_all_indexes
         WHERE schemaname = '{}' AND relname LIKE '{tables}%'",
        lab.schema
    );
    let (mut before, mut same) = (-1, 0);
    while same < 3 {
        lab.run("SELECT pg_stat_clear_snapshot()").await;
        let now = lab.number(&sql).await;
        same = if now == before { same + 1 } else { 0 };
        before = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    before
}

#[tokio::test]
async fn a_crowd_of_crashed_jobs_is_not_read_for_each_that_is_taken() {
    const CLAIMS: i64 = 10;
    let lab = Lab::new().await;
    lab.put(2000, 10).await;
    lab.run("UPDATE dutiful.ready SET crashes = 1").await;
    lab.put(1, 10).await;
    let crashes = |jobs: Vec<Claimed>| jobs.iter().map(|job| job.crashes).collect::<Vec<_>>();
    assert_eq!(crashes(lab.claim(BATCH).await), [1, 0], "one of them, and what is behind them all");
    let mut before = 0;
    for n in 0..=CLAIMS {
        if n == 0 || n == CLAIMS {
            // By the next claim a second later the server has heard of all before it.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        assert_eq!(crashes(lab.claim(BATCH).await), [1]);
        if n == 0 {
            before = entries_read(&lab, "job").await;
        }
    }
    let read = entries_read(&lab, "job").await - before;
    let most = 50 * CLAIMS;
    assert!(0 < read && read <= most, "{read} records were read to take {CLAIMS}");
    lab.close().await;
}

#[tokio::test]
async fn a_crowd_of_crashed_jobs_that_others_hold_is_not_slept_over() {
    let lab = Lab::new().await;
    let others = connect().await;
    lab.put(300, 10).await;
    lab.run("UPDATE dutiful.ready SET crashes = 1").await;
    assert_eq!(lab.claim(BATCH).await.len(), 1, "it knows of the crowd now");
    let hold = format!(
        "BEGIN; SELECT FROM {}.ready ORDER BY priority, run_at, id LIMIT 100 FOR UPDATE",
        lab.schema
    );
    others.batch_execute(&hold).await.expect("another claim is under way");
    assert_eq!(lab.claim(BATCH).await.len(), 1, "one of those behind them");
    others.batch_execute("COMMIT").await.expect("it ends");
    lab.close().await;
}

/// What a claim has to take: lane by lane, in their order, whatever may be taken.
async fn due_by_the_rules(lab: &Lab, ask: &ClaimRequest) -> Vec<JobId> {
    let (mut limit, mut crashed, mut due) = (ask.limit, ask.crashed, Vec::new());
    for lane in &ask.lanes {
        let sql = "SELECT id::text, crashes > 0 FROM dutiful.ready WHERE queue = $1
                   ORDER BY priority, run_at, id";
        let sql = sql.replace("dutiful.", &format!("{}.", lab.schema));
        let mut room = lane.limit;
        for row in lab.raw.query(&sql, &[&lane.queue.as_str()]).await.expect("rows") {
            let has_crashed: bool = row.get(1);
            if room == 0 || limit == 0 || (has_crashed && crashed == 0) {
                continue;
            }
            room -= 1;
            limit -= 1;
            crashed -= usize::from(has_crashed);
            due.push(row.get::<_, &str>(0).parse().expect("an id"));
        }
    }
    due
}

#[tokio::test]
async fn a_crowd_of_crashed_jobs_is_taken_in_the_order_of_the_lanes() {
    const QUEUES: usize = 4;
    let lab = Lab::new().await;
    let mut rng = fastrand::Rng::with_seed(20_261_130);
    let names: Vec<_> = (0..QUEUES).map(|n| format!("q{n}")).collect();
    let job = |rng: &mut fastrand::Rng| {
        let queue = Some(names[rng.usize(..QUEUES)].clone());
        let settings = Settings { queue, priority: Some(rng.i64(1..4)), ..Settings::default() };
        NewJob { job_type: "task".into(), payload: b"{}".to_vec(), settings }
    };
    let jobs = (0..2000).map(|_| job(&mut rng)).collect();
    lab.client.enqueue_many(jobs).await.expect("they are stored");
    // Four of five crashed a worker; in one queue nearly all.
    lab.run(
        "UPDATE dutiful.ready SET crashes = 1
         WHERE hashtext(id::text) % 5 <> 0 OR queue = 'q1' AND hashtext(id::text) % 40 <> 0",
    )
    .await;
    for turn in 0..60 {
        let mut lanes: Vec<Lane> = Vec::new();
        let mut order: Vec<usize> = (0..QUEUES).collect();
        rng.shuffle(&mut order);
        for at in &order[..rng.usize(1..=QUEUES)] {
            let queue = Name::new("queue", &names[*at]).expect("a name");
            lanes.push(Lane { queue, limit: rng.usize(1..300), at_most_once: 0 });
        }
        let limit = if rng.u8(..4) == 0 { rng.usize(1..20) } else { rng.usize(100..600) };
        let fresh = (0..20).map(|_| job(&mut rng)).collect();
        lab.client.enqueue_many(fresh).await.expect("they are stored");
        let ask = ClaimRequest { lanes, limit, crashed: rng.usize(..4), ..lab.ask(1) };
        let due = due_by_the_rules(&lab, &ask).await;
        let rooms: Vec<_> = ask.lanes.iter().map(|lane| (&lane.queue, lane.limit)).collect();
        let told = format!("turn {turn}: {limit} of {rooms:?}, {} crashed", ask.crashed);
        let taken = lab.store.claim(ask.clone()).await.expect("an answer");
        assert_eq!(taken.iter().map(|job| job.fence.id).collect::<Vec<_>>(), due, "{told}");
    }
    lab.close().await;
}

#[tokio::test]
async fn ends_and_heartbeats_read_no_leases_but_their_own() {
    const FEW: usize = 10;
    let lab = Lab::new().await;
    for (turn, all) in [1, 1, 4 * BATCH].into_iter().enumerate() {
        lab.put(all, 10).await;
        let mut jobs = lab.claim(BATCH).await;
        while jobs.len() < all {
            jobs.extend(lab.claim(BATCH).await);
        }
        let few = &jobs[..FEW.min(jobs.len())];
        let before = entries_read(&lab, "lease").await;
        use_leases(&lab, few).await;
        let read = entries_read(&lab, "lease").await - before;
        let most = 20 * FEW as i64;
        assert!(read <= most, "{read} entries were read for {FEW} leases of {}", jobs.len());
        let rest = jobs[few.len()..].iter().map(|job| job.unstarted(End::Completed(None)));
        lab.store.finish(WORKER, rest.collect()).await.expect("an answer");
        assert_eq!(lab.drain().await, few.len() / 2, "those that were released");
        if turn == 0 {
            // The server takes the table for empty now. Where it decides in the second turn to walk
            // through it rather than to look for each lease, it does so in the third.
            lab.run("VACUUM (TRUNCATE false) dutiful.lease").await;
        }
    }
    lab.close().await;
}

/// Renews, notes, looks at and ends these leases, every other one by a release.
async fn use_leases(lab: &Lab, jobs: &[Claimed]) {
    let fences: Vec<Fence> = jobs.iter().map(|job| job.fence).collect();
    let lease = Duration::from_secs(30);
    let beat = HeartbeatRequest { worker: WORKER, lease, fences: fences.clone() };
    assert_eq!(lab.store.heartbeat(beat).await.expect("an answer").len(), jobs.len());
    let note = |job: &Claimed| Note {
        fence: job.fence,
        progress: Some(Progress { percent: 1, note: None, at: job.claimed_at }),
        checkpoint: None,
        log: vec![],
    };
    lab.store.note(jobs.iter().map(note).collect()).await.expect("an answer");
    lab.store.held(fences).await.expect("an answer");
    let end = |(at, job): (usize, &Claimed)| {
        job.unstarted(if at % 2 == 0 { End::Completed(None) } else { End::Released })
    };
    let ends = jobs.iter().enumerate().map(end).collect();
    lab.store.finish(WORKER, ends).await.expect("an answer");
}
