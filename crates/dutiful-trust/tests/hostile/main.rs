//! T5 and T6: thousands of orphans are rescued in seconds, and rows that somebody damaged keep
//! nobody else's jobs from being claimed, rescued, listed and counted.

mod file;
mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dutiful::store::{ClaimRequest, Lane};
use dutiful::{
    Client, Context, Event, Filter, Job, JobId, Name, Observer, State, StoreError, Worker, WorkerId,
};
use serde::{Deserialize, Serialize};

type Kept = Result<(), Box<dyn std::error::Error>>;

const LEASE: Duration = Duration::from_millis(900);
/// So many jobs lose their worker at once.
const ORPHANS: u64 = 10_000;
/// So many jobs run for long and must not be touched.
const LONG: usize = 10_000;
/// Anything that takes longer never happens.
const NEVER: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Task {}

impl Job for Task {
    const TYPE: &'static str = "task";
}

async fn work(_: Task, _: Context<()>) -> dutiful::Result<()> {
    Ok(())
}

#[derive(Default)]
struct Count {
    rescued: AtomicU64,
    trouble: Mutex<Vec<String>>,
}

impl Observer for Count {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Rescued { .. } => drop(self.rescued.fetch_add(1, Ordering::SeqCst)),
            // A busy machine may be late; that is no trouble with any row.
            Event::StoreTrouble { error: StoreError::Timeout(_), .. } => {}
            Event::StoreTrouble { verb, error } => {
                let mut trouble = self.trouble.lock().expect("nobody panics with it");
                trouble.push(format!("{verb}: {error}"));
            }
            _ => {}
        }
    }
}

/// Where the jobs are, and what is done there past the library.
struct Place {
    url: String,
    words: &'static Words,
    /// Runs SQL and returns what it answers.
    sql: Box<dyn Fn(&str) -> String + Send + Sync>,
}

/// The words of a store's SQL.
struct Words {
    /// Rows as no version of the library writes them, in every place, and jobs with a record whose
    /// content is nothing that a handler, or a reader, expects.
    damage: [&'static str; 2],
    /// How many rows no claim or rescue has dealt with: expired leases, and due rows that can be
    /// claimed.
    left: &'static str,
    /// How often a job was counted dead.
    deaths: &'static str,
    /// How many rows that made.
    dead: &'static str,
    /// How many leases there are.
    leases: &'static str,
}

impl Place {
    async fn client(&self) -> Result<Client, dutiful::Error> {
        Client::builder().migrate(true).connect(&self.url).await
    }

    fn number(&self, sql: &str) -> i64 {
        (self.sql)(sql).parse().expect("it is counted")
    }
}

macro_rules! on_each_store {
    ($($promise:ident),*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() -> super::Kept {
                let dir = tempfile::tempdir()?;
                super::$promise(super::file::place(dir.path())).await
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() -> super::Kept {
                super::$promise(super::server::place()?).await
            })*
        }
    };
}

on_each_store!(
    ten_thousand_orphans_are_rescued_within_ten_seconds,
    damaged_rows_stand_in_nobodys_way
);

/// Claims all that is due in a queue for a worker that is never heard of again.
async fn claim_and_vanish(client: &Client, queue: &str, jobs: usize, lease: Duration) -> Kept {
    let queue = Name::new("queue", queue)?;
    let ask = ClaimRequest {
        worker: WorkerId(77),
        lanes: vec![Lane { queue, limit: jobs, at_most_once: 0 }],
        types: Arc::new([Name::new("type", "task")?].into()),
        lease,
        limit: jobs,
        bytes: usize::MAX,
        crashed: 0,
    };
    assert_eq!(client.store().claim(ask).await?.len(), jobs);
    Ok(())
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < NEVER, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

async fn ten_thousand_orphans_are_rescued_within_ten_seconds(place: Place) -> Kept {
    let client = place.client().await?;
    client.enqueue_all((0..ORPHANS).map(|_| Task {})).await?;
    claim_and_vanish(&client, "default", ORPHANS as usize, LEASE).await?;
    tokio::time::sleep(LEASE).await;
    let count = Arc::new(Count::default());
    // It rescues, and works elsewhere.
    let worker = Worker::new(&client, ()).job(work).queue("elsewhere", 1);
    let worker = worker.lease(LEASE).observer(count.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let rescued = || count.rescued.load(Ordering::SeqCst);
    let took = until("the rescue of all", async || rescued() == ORPHANS).await;
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    handle.stop();
    running.await??;
    assert_eq!((rescued(), client.stats().await?.totals.pending), (ORPHANS, ORPHANS));
    Ok(())
}

/// Asks for everything that a person can look at.
async fn look_at_all(client: &Client) -> Kept {
    client.stats().await?;
    client.queues().await?;
    client.workers().await?;
    client.doctor(true).await?;
    let states = [State::Pending, State::Scheduled, State::Failed, State::Active, State::Stalled];
    let ended = [State::Completed, State::Cancelled, State::Dead];
    for state in states.into_iter().chain(ended).map(Some).chain([None]) {
        let mut filter = Filter { state, limit: Some(500), ..Filter::default() };
        loop {
            let page = client.jobs(filter.clone()).await?;
            for job in page.jobs.iter().take(5) {
                client.job(job.id).await?;
            }
            match page.next {
                Some(_) => filter.before = page.next,
                None => break,
            }
        }
    }
    Ok(())
}

async fn damaged_rows_stand_in_nobodys_way(place: Place) -> Kept {
    let client = place.client().await?;
    let Words { damage, left, deaths, dead, leases } = place.words;
    client.enqueue_many((0..LONG).map(|_| in_queue("long")).collect()).await?;
    claim_and_vanish(&client, "long", LONG, Duration::from_secs(3600)).await?;
    damage.iter().for_each(|sql| drop((place.sql)(sql)));
    let stuck = client.enqueue(Task {}).queue("stuck").await?.id;
    claim_and_vanish(&client, "stuck", 1, Duration::from_millis(300)).await?;
    let later = client.enqueue(Task {}).priority(1000).await?.id;
    look_at_all(&client).await?;

    let count = Arc::new(Count::default());
    let worker = Worker::new(&client, ()).job(work).queue("default", 2).queue("stuck", 2);
    let worker = worker.lease(LEASE).observer(count.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    for (what, id) in [("a job behind damaged rows", later), ("a stuck job", stuck)] {
        until(what, async || is_completed(&client, id).await).await;
    }
    until("the end of all damaged rows", async || place.number(left) == 0).await;
    let counted = place.number(deaths);
    // A sweep and a claim more, which must count nobody again.
    let last = client.enqueue(Task {}).await?.id;
    until("one more", async || is_completed(&client, last).await).await;
    tokio::time::sleep(LEASE / 2).await;
    handle.stop();
    running.await??;
    assert_eq!(place.number(deaths), counted, "each is counted once");
    assert_eq!(counted, place.number(dead), "and kept once");
    let trouble = count.trouble.lock().expect("nobody panics with it").clone();
    assert!(trouble.is_empty(), "the store failed: {trouble:?}");
    assert_eq!(place.number(leases), LONG as i64, "long jobs run");
    look_at_all(&client).await
}

async fn is_completed(client: &Client, id: JobId) -> bool {
    let job = client.job(id).await.expect("the look is answered").expect("it is on record");
    job.state == State::Completed
}

fn in_queue(queue: &str) -> dutiful::NewJob {
    let settings = dutiful::Settings { queue: Some(queue.to_owned()), ..Default::default() };
    dutiful::NewJob { job_type: "task".to_owned(), payload: b"{}".to_vec(), settings }
}
