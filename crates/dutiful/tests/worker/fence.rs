//! A worker whose heartbeat alone no longer reaches the store: it stops by itself, in time.

use std::sync::Arc;
use std::time::Duration;

use dutiful::testing::Faults;
use dutiful::{Client, Context, Job, JobId, Result, State, Worker};
use serde::{Deserialize, Serialize};

use crate::watch::*;

/// Long enough that a busy machine hears of a cancellation in the third that is left.
const LEASE: Duration = Duration::from_secs(3);

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
    let shop = Shop::open().await;
    let (store, faults) = Faults::around(shop.elsewhere().await.store().clone());
    let client = Client::builder().with_store(store);
    let ids = [client.enqueue(Task { n: 1 }).await?.id, client.enqueue(Deaf {}).await?.id];
    let scene = Arc::new(Scene { dropped: Diary::new(), again: Diary::new() });
    let (theirs, ours) = (Watch::new(), Watch::new());

    let lost = worker(&client, &scene, &theirs);
    let handle = lost.handle();
    let lost = tokio::spawn(lost.run());
    theirs.hears("started", 2).await;
    faults.cut("heartbeat");
    // So that it is another worker that gets the jobs.
    faults.cut("claim");
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

#[tokio::test]
async fn words_that_the_store_does_not_take_hold_up_no_heartbeat() -> Kept {
    let (store, faults) = Faults::around(memory().await.store().clone());
    let client = Client::builder().with_store(store);
    faults.hang("note");
    let id = client.enqueue(Task { n: 1 }).await?.id;
    let theirs = faults.clone();
    let talks = move |_: Task, cx: Context<()>| {
        let faults = theirs.clone();
        async move {
            for n in 0..100 {
                cx.log(format!("line {n}"));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            faults.mend("note");
            Ok(())
        }
    };
    // A busy machine may cost it a lease or two, but not one after the other for ever.
    let worker = Worker::new(&client, ()).job(talks).lease(Duration::from_millis(590));
    let worker = worker.crashes_max(0);
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let ended = soon("the completion", async { client.result(id).await }).await?;
    assert_eq!(ended.state, State::Completed);
    assert_eq!(show(&client, id).await.attempts.last().map(|last| last.log.len()), Some(100));
    handle.stop();
    running.await??;
    Ok(())
}
