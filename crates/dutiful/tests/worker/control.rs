//! What a worker can be told while it runs: to be quiet, to go on, other slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dutiful::{Client, Context, Error, State, Worker, WorkerHandle};
use tokio::sync::Semaphore;

use crate::watch::{Kept, Task, Watch, show, soon};

promises![
    a_quiet_worker_ends_what_it_runs_and_claims_nothing_until_it_resumes,
    a_quiet_worker_stops_when_it_is_told_to,
    more_slots_are_used_at_once_and_fewer_end_nothing,
    slots_that_cannot_be_are_refused,
];

/// A worker whose handlers wait for permits, and how many of them run.
struct Gate {
    permits: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    fn worker(&self, client: &Client, slots: usize) -> Worker<()> {
        let (permits, most) = (self.permits.clone(), self.most.clone());
        let running = Arc::new(AtomicUsize::new(0));
        let handler = move |_: Task, _: Context<()>| {
            let (permits, most, running) = (permits.clone(), most.clone(), running.clone());
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                permits.acquire().await?.forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        };
        Worker::new(client, ()).job(handler).queue("default", slots)
    }

    fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), most: Arc::default() }
    }
}

async fn enqueue(client: &Client, n: i64) -> Kept {
    client.enqueue_all((0..n).map(|n| Task { n })).await?;
    Ok(())
}

async fn ended(handle: WorkerHandle, running: Running) -> dutiful::Report {
    handle.stop();
    soon("the end", running).await.expect("no panic").expect("the worker ends well")
}

type Running = tokio::task::JoinHandle<Result<dutiful::Report, Error>>;

async fn a_quiet_worker_ends_what_it_runs_and_claims_nothing_until_it_resumes(
    client: Client,
) -> Kept {
    let (gate, watch) = (Gate::new(), Watch::new());
    enqueue(&client, 1).await?;
    let worker = gate.worker(&client, 5).observer(watch.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    watch.hears("started", 1).await;
    handle.quiet();
    assert!(handle.is_quiet());
    until_registered_quiet(&client, true).await;
    enqueue(&client, 3).await?;
    gate.permits.add_permits(100);
    watch.hears("completed", 1).await;
    // Three polls of 250 ms: whoever claims would have claimed.
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(watch.count("claimed"), 1, "it is quiet");
    assert_eq!(client.stats().await?.totals.pending, 3);
    handle.resume();
    watch.hears("completed", 4).await;
    assert_eq!(ended(handle, running).await.completed, 4);
    Ok(())
}

/// Others are told that a worker is quiet; waits until its card says so.
async fn until_registered_quiet(client: &Client, quiet: bool) {
    let told = async {
        loop {
            let workers = client.workers().await.expect("the workers are read");
            if workers.iter().any(|one| one.quiet == quiet) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the worker's card", told).await;
}

async fn a_quiet_worker_stops_when_it_is_told_to(client: Client) -> Kept {
    let gate = Gate::new();
    let worker = gate.worker(&client, 5).until_empty(true);
    let handle = worker.handle();
    handle.quiet();
    enqueue(&client, 1).await?;
    let running = tokio::spawn(worker.run());
    until_registered_quiet(&client, true).await;
    assert!(!handle.is_stopping());
    assert_eq!(ended(handle.clone(), running).await.completed, 0);
    assert!(handle.is_stopping());
    assert_eq!(client.stats().await?.totals.pending, 1);
    Ok(())
}

async fn more_slots_are_used_at_once_and_fewer_end_nothing(client: Client) -> Kept {
    let (gate, watch) = (Gate::new(), Watch::new());
    enqueue(&client, 40).await?;
    let worker = gate.worker(&client, 2).observer(watch.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    watch.hears("started", 2).await;
    handle.set_slots("default", 6)?;
    watch.hears("started", 6).await;
    assert_eq!(gate.most.load(Ordering::SeqCst), 6);
    handle.set_slots("default", 1)?;
    gate.permits.add_permits(20);
    watch.hears("completed", 20).await;
    // The six that ran were not stopped; from then on one at a time begins.
    assert_eq!(watch.count("released"), 0);
    watch.hears("started", 21).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(watch.count("started"), 21, "one slot is left, and it waits");
    handle.set_slots("default", 0)?;
    gate.permits.add_permits(100);
    watch.hears("completed", 21).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(client.stats().await?.totals.completed, 21, "zero slots claim nothing");
    handle.set_slots("default", 3)?;
    watch.hears("completed", 40).await;
    ended(handle, running).await;
    Ok(())
}

async fn slots_that_cannot_be_are_refused(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 1 }).await?.id;
    let handle = Gate::new().worker(&client, 1).handle();
    assert!(matches!(handle.set_slots("a b", 1), Err(Error::InvalidJob(_))));
    let error = handle.set_slots("default", 10_001).expect_err("too many");
    assert!(error.to_string().contains("at most 10000 slots"), "{error}");
    handle.set_slots("nobody-serves-it", 3)?;
    assert_eq!(show(&client, id).await.state, State::Pending);
    Ok(())
}
