//! Everything that changes many jobs at once, all at the same moment on the same jobs: nobody waits
//! in a circle, nobody hears of another's lock, and every job stands in one place afterwards.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::store::{
    ClaimRequest, DeadReason, End, Failure, Lane, RescueRequest, Retention, Store,
};
use dutiful::{Client, Clock, Delivery, JobId, Name, Record, StoreError, WorkerId};
use dutiful_fixture::{Options, Postgres};

type Kept = Result<(), Box<dyn std::error::Error>>;

/// What nobody may find afterwards.
const HALF_STATES: &str = include_str!("postgres_half.sql");
/// Jobs that all of them are after, and keys that those share.
const JOBS: usize = 64;
const KEYS: usize = 24;
/// Most jobs in one call.
const BATCH: usize = 16;
/// How long they go on.
const HUNT: Duration = Duration::from_secs(6);
/// Short, so that there is always something to rescue.
const LEASE: Duration = Duration::from_millis(40);
const LEADER: WorkerId = WorkerId(900);

/// What a connection does all the time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Produces,
    Changes,
    Works,
    Leads,
}

/// One of those who are after the same jobs.
struct Hunter {
    part: Part,
    store: Arc<dyn Store>,
    random: fastrand::Rng,
    ids: Arc<Vec<JobId>>,
    clock: Clock,
    worker: WorkerId,
    calls: usize,
}

fn name(text: &str) -> Name {
    Name::new("name", text).expect("a name in a test is valid")
}

impl Hunter {
    async fn hunt(mut self) -> Result<(Part, usize), StoreError> {
        let began = Instant::now();
        while began.elapsed() < HUNT {
            let answer = match self.part {
                Part::Produces => self.produce().await,
                Part::Changes => self.change().await,
                Part::Works => self.work().await,
                Part::Leads => self.lead().await,
            };
            answer?;
            self.calls += 1;
        }
        Ok((self.part, self.calls))
    }

    /// Picks some jobs in any order.
    fn some(&mut self) -> Vec<usize> {
        let n = self.random.usize(1..=BATCH);
        let mut all: Vec<usize> = (0..JOBS).collect();
        self.random.shuffle(&mut all);
        all.truncate(n);
        all
    }

    fn some_ids(&mut self) -> Vec<JobId> {
        self.some().into_iter().map(|at| self.ids[at]).collect()
    }

    /// A third has no key, and which key a job wants stays the same.
    async fn produce(&mut self) -> Result<(), StoreError> {
        let keyed = self.random.bool();
        let wanted = self.some().into_iter().filter(|at| keyed || at.is_multiple_of(3));
        let jobs: Vec<Record> = wanted.map(|at| self.record(at)).collect();
        self.store.enqueue(jobs).await.map(drop)
    }

    fn record(&mut self, at: usize) -> Record {
        Record {
            id: self.ids[at],
            job_type: name("task"),
            payload: b"{}".to_vec(),
            queue: name(["default", "mail"][at % 2]),
            priority: 10,
            scheduled_for: None,
            delay: Duration::from_millis(self.random.u64(0..2) * 20),
            max_attempts: 3,
            timeout: Duration::from_secs(60),
            correlation_id: None,
            trace_parent: None,
            group: None,
            unique_key: (!at.is_multiple_of(3)).then(|| format!("key {}", at * 7 % KEYS)),
            tags: Vec::new(),
            delivery: Delivery::AtLeastOnce,
        }
    }

    async fn change(&mut self) -> Result<(), StoreError> {
        let ids = self.some_ids();
        let at = self.clock.now().plus(Duration::from_millis(self.random.u64(0..40)));
        match self.random.u8(0..10) {
            0 | 1 => self.store.cancel(ids).await.map(drop),
            2..=4 => self.store.retry(ids).await.map(drop),
            5 => self.store.discard(ids).await.map(drop),
            6 | 7 => self.store.reschedule(ids, at).await.map(drop),
            8 => self.store.delete(ids).await.map(drop),
            _ => self.store.clear(name("mail"), BATCH).await.map(drop),
        }
    }

    /// Claims, and ends most of what it got.
    async fn work(&mut self) -> Result<(), StoreError> {
        let lane = |queue: &str| Lane { queue: name(queue), limit: BATCH, at_most_once: BATCH };
        let ask = ClaimRequest {
            worker: self.worker,
            lanes: vec![lane("mail"), lane("default")],
            types: Arc::new(HashSet::from([name("task")])),
            lease: LEASE,
            limit: BATCH,
            bytes: usize::MAX,
            crashed: BATCH,
        };
        let mut claimed = self.store.claim(ask).await?;
        self.random.shuffle(&mut claimed);
        let ended = claimed.iter().skip(usize::from(self.random.bool()));
        let ends = ended.map(|job| {
            let oops = Failure { class: "Oops".into(), message: "it broke".into() };
            job.unstarted(match self.random.u8(0..6) {
                0 => End::Completed(None),
                1 => End::Cancelled,
                2 => End::Failed(oops, Duration::from_millis(10)),
                3 => End::Snoozed(Duration::from_millis(10)),
                4 => End::Released,
                _ => End::Dead(oops, DeadReason::Exhausted),
            })
        });
        let ends = ends.collect();
        self.store.finish(self.worker, ends).await.map(drop)
    }

    async fn lead(&mut self) -> Result<(), StoreError> {
        let term = self.store.lead(LEADER, Duration::from_secs(10)).await?.term;
        self.store.promote(term, 1000).await?;
        let patience = Duration::ZERO;
        self.store.rescue(term, RescueRequest { crashes_max: 3, limit: 1000, patience }).await?;
        let keep = Duration::from_millis(500);
        self.store.prune(term, Retention { completed: keep, dead: keep }).await?;
        self.store.fold(term).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_bulk_operations_at_once_on_the_same_jobs_never_wait_in_a_circle() -> Kept {
    let server = Postgres::start(&Options::default())?;
    let url = server.fresh_database()?;
    let owner = Client::builder().migrate(true).connect(&url).await?;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let ids: Arc<Vec<JobId>> = Arc::new((0..JOBS).map(|_| JobId::new()).collect());
    let mut hunters = Vec::new();
    for n in 0..32 {
        let part = match n {
            0..10 => Part::Produces,
            10..23 => Part::Changes,
            23..30 => Part::Works,
            _ => Part::Leads,
        };
        let hunter = Hunter {
            part,
            store: Client::connect(&url).await?.store().clone(),
            random: fastrand::Rng::with_seed(seed.wrapping_add(n)),
            ids: ids.clone(),
            clock: Clock::machine(),
            worker: WorkerId(n as i64 + 1),
            calls: 0,
        };
        hunters.push(tokio::spawn(hunter.hunt()));
    }
    let mut calls = [0; 4];
    let mut heard = Vec::new();
    for hunter in hunters {
        match hunter.await? {
            Ok((part, n)) => calls[part as usize] += n,
            Err(error) => heard.push(error.to_string()),
        }
    }
    let deadlocks = server.log().matches("deadlock detected").count();
    println!("calls of producers, changers, workers, leaders: {calls:?}; deadlocks {deadlocks}");
    assert!(heard.is_empty(), "{heard:?}");
    assert!(calls.iter().all(|n| *n > 0), "each had its say");
    let (raw, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let half = raw.query(HALF_STATES, &[&None::<&str>]).await?;
    let half: Vec<String> = half.iter().map(|row| row.get(0)).collect();
    assert!(half.is_empty(), "{half:?}");
    assert_eq!(deadlocks, 0, "{}", server.log());
    owner.close().await?;
    Ok(())
}
