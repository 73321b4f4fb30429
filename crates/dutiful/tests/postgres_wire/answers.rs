//! The server did what was asked, and its answer never came.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use dutiful::{Context, Event, Job, Observer, Result, State, Worker};
use dutiful_proxy::{Fault, Proxy, Way, Which};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::*;

#[derive(Serialize, Deserialize)]
struct Errand;

impl Job for Errand {
    const TYPE: &'static str = "errand";
}

/// What the worker heard of its ends.
#[derive(Default)]
struct Heard {
    completed: AtomicU32,
    lost: AtomicU32,
    troubles: AtomicU32,
}

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        let count = match event {
            Event::Completed { .. } => &self.completed,
            Event::LeaseLost { .. } => &self.lost,
            Event::StoreTrouble { verb: "finish", .. } => &self.troubles,
            _ => return,
        };
        count.fetch_add(1, SeqCst);
    }
}

struct Gate {
    began: Semaphore,
    may_end: Semaphore,
}

async fn run(_: Errand, cx: Context<Gate>) -> Result<()> {
    cx.app.began.add_permits(1);
    cx.app.may_end.acquire().await?.forget();
    Ok(())
}

#[tokio::test]
async fn an_end_whose_answer_was_lost_counts_though_the_server_went_away_too() -> Kept {
    let url = database();
    let direct = client(&url).await;
    let past = raw(&url).await;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server().port()));
    let proxy = Proxy::start(target, 7)?;
    let through =
        url.replace(&format!(":{}/", target.port()), &format!(":{}/", proxy.addr().port()));
    let heard = Arc::new(Heard::default());
    let gate = Arc::new(Gate { began: Semaphore::new(0), may_end: Semaphore::new(1) });
    let worker = Worker::new(&client(&through).await, gate.clone())
        .job(run)
        .queue("default", 1)
        .observer(heard.clone());
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());

    // The first one opens the connections.
    direct.enqueue(Errand).await?;
    until(async || heard.completed.load(SeqCst) == 1).await;
    let id = direct.enqueue(Errand).await?.id;
    soon(gate.began.acquire_many(2)).await?.forget();
    proxy.on_open(Which::all(), Fault::Blackhole { ways: &[Way::ToClient], reads: true });
    gate.may_end.add_permits(1);
    let done = "SELECT count(*) FROM dutiful.done";
    until(async || past.query_one(done, &[]).await.expect("a count").get::<_, i64>(0) == 2).await;
    proxy.stop_listening();
    proxy.kill(Which::all());
    until(async || heard.troubles.load(SeqCst) > 0).await;
    proxy.heal();

    until(async || heard.completed.load(SeqCst) + heard.lost.load(SeqCst) == 2).await;
    assert_eq!(heard.lost.load(SeqCst), 0, "its end is on record");
    let job = direct.job(id).await?.expect("it is there");
    assert_eq!((job.state, job.attempt), (State::Completed, 1));
    handle.stop();
    soon(running).await??;
    Ok(())
}
