//! A worker whose heartbeat alone no longer reaches the store: it stops by itself, in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dutiful::store::{self, Reply, Store};
use dutiful::{
    Client, Context, Fence, Filter, Job, JobId, Name, Record, Result, State, StoreError, Timestamp,
    TypeDefaults, Worker, WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::watch::*;

/// Long enough that a busy machine hears of a cancellation in the third that is left.
const LEASE: Duration = Duration::from_secs(3);

/// A store that answers everything but, once cut, heartbeats; and whose claims find nothing then,
/// as if others were always quicker, so that it is another worker that gets the jobs.
struct Cut {
    store: Arc<dyn Store>,
    cut: Arc<AtomicBool>,
}

macro_rules! pass_on {
    ($(fn $verb:ident($($given:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $verb(&self, $($given: $kind),*) -> $answer { self.store.$verb($($given),*) })*
    };
}

type Rings<'a> = std::pin::Pin<Box<dyn Future<Output = u64> + Send + 'a>>;

impl Store for Cut {
    fn heartbeat(&self, ask: store::HeartbeatRequest) -> Reply<'_, Vec<store::Beat>> {
        if self.cut.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("the line is cut".into())) });
        }
        self.store.heartbeat(ask)
    }

    fn claim(&self, ask: store::ClaimRequest) -> Reply<'_, Vec<store::Claimed>> {
        if self.cut.load(Ordering::SeqCst) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        self.store.claim(ask)
    }

    pass_on! {
        fn facts() -> store::Facts;
        fn enqueue(jobs: Vec<Record>) -> Reply<'_, Vec<store::Enqueued>>;
        fn finish(worker: WorkerId, ends: Vec<store::Finish>) -> Reply<'_, Vec<store::Held>>;
        fn cancel_requests(worker: WorkerId) -> Reply<'_, Vec<JobId>>;
        fn held(fences: Vec<Fence>) -> Reply<'_, Vec<store::Held>>;
        fn cancel(ids: Vec<JobId>) -> Reply<'_, Vec<store::Change>>;
        fn retry(ids: Vec<JobId>) -> Reply<'_, Vec<store::Change>>;
        fn discard(ids: Vec<JobId>) -> Reply<'_, Vec<store::Change>>;
        fn reschedule(ids: Vec<JobId>, at: Timestamp) -> Reply<'_, Vec<store::Change>>;
        fn delete(ids: Vec<JobId>) -> Reply<'_, Vec<store::Change>>;
        fn pause(queue: Name, paused: bool) -> Reply<'_, bool>;
        fn show(id: JobId) -> Reply<'_, Option<dutiful::JobInfo>>;
        fn list(filter: Filter) -> Reply<'_, dutiful::Page>;
        fn queues() -> Reply<'_, Vec<dutiful::QueueInfo>>;
        fn stats() -> Reply<'_, dutiful::Stats>;
        fn register(worker: store::WorkerCard) -> Reply<'_, ()>;
        fn leave(worker: WorkerId) -> Reply<'_, ()>;
        fn types(types: Vec<Name>) -> Reply<'_, Vec<TypeDefaults>>;
        fn lead(worker: WorkerId, ttl: Duration) -> Reply<'_, store::Leadership>;
        fn abdicate(worker: WorkerId, term: i64) -> Reply<'_, ()>;
        fn promote(term: i64, limit: usize) -> Reply<'_, store::Promoted>;
        fn rescue(term: i64, ask: store::RescueRequest) -> Reply<'_, Vec<store::Rescued>>;
        fn prune(term: i64, keep: store::Retention) -> Reply<'_, usize>;
        fn fold(term: i64) -> Reply<'_, usize>;
        fn once(ask: store::OnceRequest) -> Reply<'_, store::Once>;
        fn once_store(key: String, fence: Fence, it: Option<Vec<u8>>) -> Reply<'_, store::Held>;
        fn doorbell(heard: u64) -> Rings<'_>;
        fn migrate(version: Option<i64>) -> Reply<'_, store::Migrated>;
        fn close() -> Reply<'_, ()>;
        fn as_any() -> &dyn std::any::Any;
    }
}

#[derive(Serialize, Deserialize)]
struct Deaf {}

impl Job for Deaf {
    const TYPE: &'static str = "deaf";
}

/// What the handlers of both workers share.
struct Scene {
    /// When the first attempt of the listening handler was dropped, in µs of the machine's clock.
    dropped: Arc<Diary>,
    /// Second attempts.
    again: Arc<Diary>,
}

struct NoteTheDrop(Arc<Diary>);

impl Drop for NoteTheDrop {
    fn drop(&mut self) {
        self.0.note(dutiful::Clock::machine().now().us());
    }
}

async fn listen(_: Task, cx: Context<Scene>) -> Result<()> {
    if cx.attempt() == 1 {
        let _noted = NoteTheDrop(cx.app.dropped.clone());
        std::future::pending::<()>().await;
    }
    cx.app.again.note(1);
    Ok(())
}

/// Hears of nothing; its first attempt is done only after the second has begun elsewhere.
fn be_deaf(_: Deaf, cx: Context<Scene>) -> Result<()> {
    if cx.attempt() == 1 {
        let again = cx.app.again.clone();
        cx.wait(async { again.reaches(2).await });
    } else {
        cx.app.again.note(2);
    }
    Ok(())
}

fn worker(client: &Client, scene: &Arc<Scene>, watch: &Arc<Watch>) -> Worker<Scene> {
    let worker = Worker::new(client, scene.clone()).job(listen).job_blocking(be_deaf);
    worker.lease(LEASE).observer(watch.clone())
}

fn lease_end(shop: &Shop, id: JobId) -> i64 {
    let sql = "SELECT until FROM dutiful_lease WHERE id = ?1";
    let until = shop.raw().query_row(sql, [id.as_bytes()], |row| row.get(0));
    until.expect("its lease is there still")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_heartbeat_alone_is_cut_stops_before_its_leases_end() -> Kept {
    let (shop, cut) = (Shop::open().await, Arc::new(AtomicBool::new(false)));
    let inner = shop.elsewhere().await.store().clone();
    let client = Client::from_store(Arc::new(Cut { store: inner, cut: cut.clone() }));
    let ids = [client.enqueue(Task { n: 1 }).await?.id, client.enqueue(Deaf {}).await?.id];
    let scene = Arc::new(Scene { dropped: Diary::new(), again: Diary::new() });
    let (theirs, ours) = (Watch::new(), Watch::new());

    let lost = worker(&client, &scene, &theirs);
    let handle = lost.handle();
    let lost = tokio::spawn(lost.run());
    theirs.hears("started", 2).await;
    cut.store(true, Ordering::SeqCst);
    let other = tokio::spawn(worker(&shop.client, &scene, &ours).until_empty(true).run());

    theirs.hears("self-fenced 2", 1).await;
    // Nobody renews any more, so this is the end that others go by.
    let ends = ids.map(|id| lease_end(&shop, id));
    let dropped = scene.dropped.reaches(1).await[0];
    assert!(dropped < ends[0], "cancelled {} µs after the lease's end", dropped - ends[0]);

    let done = soon("the second attempts", other).await??;
    assert_eq!((done.completed, done.lost), (2, 0), "{:?}", ours.lines());
    theirs.hears("lost", 2).await;
    handle.stop();
    let lost = soon("the end of who was cut off", lost).await??;
    assert_eq!((lost.completed, lost.lost), (0, 2), "{:?}", theirs.lines());
    for id in ids {
        let seen = show(&shop.client, id).await;
        assert_eq!((seen.state, seen.attempt, seen.failures), (State::Completed, 2, 0));
    }
    Ok(())
}
