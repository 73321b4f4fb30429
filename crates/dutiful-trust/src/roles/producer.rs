//! A producer: enqueues in every way there is, writes down what it meant and what was acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dutiful::{Client, Enqueue, Error, JobId, NewJob, Settings};
use rusqlite::{Connection, TransactionBehavior};

use super::database::{Database, is_away, may_pass};
use super::{Errand, MAX_ATTEMPTS, QUEUE, Shape};
use crate::final_state::{file_of, is_postgres};
use crate::history::{has, of_kind};
use crate::ledger::{self, Kind, Ledger};

/// Enqueues under way at once, so that commits are shared.
const TASKS: u64 = 4;
/// A task looks at the backlog after so many enqueues.
const LOOKS: u64 = 4;
/// How long a user's own transaction waits for the lock.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// The wait before a call that failed in passing is made again.
const AGAIN: Duration = Duration::from_millis(50);

/// What all tasks of a producer share.
struct Desk {
    client: Client,
    ledger: Ledger,
    shape: Shape,
    /// The application's own way to the database, where that is a server.
    database: Option<Database>,
}

/// Enqueues until SIGTERM. What the killed `predecessor` had under way is sent again first, with
/// the same ids.
///
/// # Errors
/// What the store refuses for good.
pub async fn produce(shape: Shape, predecessor: Option<u32>) -> anyhow::Result<()> {
    super::die_with_the_driver()?;
    let client = Client::connect(&shape.store).await?;
    let store = &shape.store;
    let database = is_postgres(store).then(|| Database::of(store)).transpose()?;
    let mut stop = Box::pin(dutiful::shutdown_signal());
    // Polled once, it hears signals; the driver takes the ledger as the sign for that.
    tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        () = std::future::ready(()) => {}
    }
    let ledger = Ledger::open(&shape.dir, "producer")?;
    let desk = Arc::new(Desk { client, ledger, shape, database });
    if let Some(pid) = predecessor {
        for id in unanswered(&desk.shape.dir, pid)? {
            send_again(&desk, id).await?;
        }
    }
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..TASKS {
        tasks.spawn(enqueue_on_and_on(desk.clone(), desk.shape.seed.wrapping_add(n)));
    }
    tokio::select! {
        () = stop => {}
        Some(ended) = tasks.join_next() => ended.context("a task of the producer panicked")??,
    }
    // Calls under way are dropped: they may be stored or not, and were not acknowledged.
    tasks.shutdown().await;
    desk.client.close().await?;
    Ok(())
}

/// Returns the ids that a killed producer meant to enqueue and never heard about.
fn unanswered(dir: &Path, pid: u32) -> anyhow::Result<Vec<JobId>> {
    let (entries, _) = ledger::read_file(&dir.join(format!("producer-{pid}.ledger"))).or_else(
        |error| match error.kind() {
            // It was killed before it opened its ledger.
            std::io::ErrorKind::NotFound => Ok((Vec::new(), false)),
            _ => Err(error),
        },
    )?;
    let history = crate::history::History::of(entries);
    let open = history.jobs.into_iter().filter(|(_, entries)| {
        let answered = has(entries, Kind::Acked) || has(entries, Kind::RolledBack);
        !answered && of_kind(entries, Kind::Intent).next().is_some()
    });
    Ok(open.map(|(id, _)| JobId::from_bytes(id)).collect())
}

async fn enqueue_on_and_on(desk: Arc<Desk>, seed: u64) -> anyhow::Result<()> {
    let mut rng = fastrand::Rng::with_seed(seed);
    for round in 0u64.. {
        if round % LOOKS == 0 {
            wait_for_room(&desk).await;
        }
        match rng.u8(0..100) {
            0..60 => send_one(&desk, JobId::new(), delay(&mut rng)).await?,
            60..85 => send_batch(&desk, rng.usize(2..=desk.shape.mix.batch_max())).await?,
            85..95 => send_within(&desk, true).await?,
            _ => send_within(&desk, false).await?,
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..8))).await;
    }
    Ok(())
}

fn delay(rng: &mut fastrand::Rng) -> Duration {
    let later = rng.u8(0..100) < 5;
    if later { Duration::from_millis(rng.u64(1..1000)) } else { Duration::ZERO }
}

async fn wait_for_room(desk: &Desk) {
    loop {
        match desk.client.stats().await {
            Ok(stats) if is_full(desk, &stats) => tokio::time::sleep(AGAIN).await,
            _ => return,
        }
    }
}

/// Claimed jobs count too: a worker may have claimed ahead what it cannot run soon.
fn is_full(desk: &Desk, stats: &dutiful::Stats) -> bool {
    stats.totals.pending + stats.totals.active > desk.shape.mix.backlog_max()
}

fn intend(desk: &Desk, id: JobId) -> (&'static str, Errand) {
    let (job_type, errand) = Errand::of(id, &desk.shape);
    desk.ledger.note(Kind::Intent, *id.as_bytes(), errand.end(), errand.failures());
    (job_type, errand)
}

fn acknowledged(desk: &Desk, id: JobId) {
    desk.ledger.note(Kind::Acked, *id.as_bytes(), 0, 0);
}

fn builder<'a>(client: &'a Client, id: JobId, job_type: &str, errand: Errand) -> Enqueue<'a> {
    let enqueue = client.enqueue_raw(job_type, errand.payload());
    enqueue.id(id).queue(QUEUE).max_attempts(MAX_ATTEMPTS)
}

async fn send_one(desk: &Desk, id: JobId, delay: Duration) -> anyhow::Result<()> {
    let (job_type, errand) = intend(desk, id);
    loop {
        let enqueue = builder(&desk.client, id, job_type, errand);
        let sent = if delay.is_zero() { enqueue.await } else { enqueue.delay(delay).await };
        match sent {
            Ok(_) => break,
            Err(error) => pass_or_fail(error).await?,
        }
    }
    acknowledged(desk, id);
    Ok(())
}

async fn send_again(desk: &Desk, id: JobId) -> anyhow::Result<()> {
    send_one(desk, id, Duration::ZERO).await
}

async fn send_batch(desk: &Desk, jobs: usize) -> anyhow::Result<()> {
    let ids: Vec<_> = (0..jobs).map(|_| JobId::new()).collect();
    let new_job = |id: &JobId| {
        let (job_type, errand) = intend(desk, *id);
        let settings = Settings {
            id: Some(*id),
            queue: Some(QUEUE.to_owned()),
            max_attempts: Some(MAX_ATTEMPTS),
            ..Settings::default()
        };
        NewJob { job_type: job_type.to_owned(), payload: errand.payload(), settings }
    };
    let batch: Vec<_> = ids.iter().map(new_job).collect();
    while let Err(error) = desk.client.enqueue_many(batch.clone()).await {
        pass_or_fail(error).await?;
    }
    ids.into_iter().for_each(|id| acknowledged(desk, id));
    Ok(())
}

/// Enqueues in a transaction of the producer's own, which commits or is rolled back.
async fn send_within(desk: &Arc<Desk>, commits: bool) -> anyhow::Result<()> {
    if let Some(database) = &desk.database {
        return send_on_server(desk, database, commits).await;
    }
    let desk = desk.clone();
    tokio::task::spawn_blocking(move || send_in_file(&desk, commits)).await?
}

fn send_in_file(desk: &Desk, commits: bool) -> anyhow::Result<()> {
    let mut conn = Connection::open(file_of(&desk.shape.store)?)?;
    conn.busy_timeout(LOCK_WAIT)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id = JobId::new();
    let (job_type, errand) = intend(desk, id);
    builder(&desk.client, id, job_type, errand).within(&tx).now()?;
    if commits {
        tx.commit()?;
        acknowledged(desk, id);
    } else {
        tx.rollback()?;
        desk.ledger.note(Kind::RolledBack, *id.as_bytes(), 0, 0);
    }
    Ok(())
}

async fn send_on_server(desk: &Desk, database: &Database, commits: bool) -> anyhow::Result<()> {
    let id = JobId::new();
    let sent = try_on_server(desk, database, id, commits).await;
    match (sent, commits) {
        (Ok(()), true) => acknowledged(desk, id),
        // Its server gone, it is rolled back as surely.
        (Ok(()) | Err(OwnError::Away), false) => {
            desk.ledger.note(Kind::RolledBack, *id.as_bytes(), 0, 0);
        }
        // It may have been committed, or not: the same once more, by its id, makes sure.
        (Err(OwnError::Away), true) => {
            tokio::time::sleep(AGAIN).await;
            send_again(desk, id).await?;
        }
        (Err(OwnError::Other(error)), _) => {
            return Err(error).context("the store refused a good job in a transaction");
        }
    }
    Ok(())
}

async fn try_on_server(
    desk: &Desk,
    database: &Database,
    id: JobId,
    commits: bool,
) -> Result<(), OwnError> {
    let (job_type, errand) = intend(desk, id);
    let mut conn = database.take().await?;
    let mut tx = conn.transaction().await?;
    builder(&desk.client, id, job_type, errand).within(&mut tx).await?;
    if commits {
        tx.commit().await?
    } else {
        tx.rollback().await?
    };
    database.keep(conn);
    Ok(())
}

/// Why a transaction of the producer's own did not come to its end.
enum OwnError {
    /// The server, or the way to it, went away.
    Away,
    Other(anyhow::Error),
}

impl From<tokio_postgres::Error> for OwnError {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_away(&error) { Self::Away } else { Self::Other(error.into()) }
    }
}

impl From<Error> for OwnError {
    fn from(error: Error) -> Self {
        if may_pass(&error) { Self::Away } else { Self::Other(error.into()) }
    }
}

/// Waits when the same call may succeed later; it has the same ids, so a repeat is harmless.
async fn pass_or_fail(error: Error) -> anyhow::Result<()> {
    let passing = match &error {
        Error::Store(error) => error.is_passing(),
        Error::Partly { .. } => true,
        _ => false,
    };
    if !passing {
        return Err(error).context("the store refused a good job");
    }
    tokio::time::sleep(AGAIN).await;
    Ok(())
}
