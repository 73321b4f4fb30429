//! `/healthz` and `/readyz`: what each phase of a worker answers, and how a stuck one is found.

use std::time::Duration;

use dutiful::{Context, Event, Fence, Job, JobId, Name, Observer as _, Result, Run, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

use crate::{Site, served, until};

#[derive(Serialize, Deserialize)]
struct Known;

impl Job for Known {
    const TYPE: &'static str = "known";
}

async fn known(_: Known, _: Context<()>) -> Result<()> {
    Ok(())
}

/// A worker with this monitor that finds every due job to lie for too long.
async fn impatient() -> Site {
    Site::with(served(&[("default", 1)], &[("default", "known")]), Duration::ZERO).await
}

#[tokio::test]
async fn is_ready_from_the_start_of_the_work_until_the_stop_is_asked() {
    let site = Site::serving(&[("default", 1)], &[("default", "known")]).await;
    let starting = site.get("/readyz").await;
    assert_eq!((starting.code, starting.says().as_str()), (503, "the worker is starting"));
    assert_eq!(site.get("/healthz").await.code, 200);
    let worker = Worker::new(&site.client, ()).job(known).observer(site.monitor.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let monitor = site.monitor.clone();
    let handle = worker.handle();
    monitor.watch(handle.clone());
    let running = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        worker.run_until(monitor.working_until(stopped)).await
    });
    let ready = until(&site, "/readyz", |answer| answer.code == 200).await;
    assert_eq!(ready.says(), "the worker is working, and the store answers");
    assert_eq!(site.get("/healthz").await.says(), "the worker lives, and its loops move");
    handle.quiet();
    let quiet = site.get("/readyz").await;
    assert_eq!(quiet.code, 503);
    assert!(quiet.says().starts_with("the worker is quiet"), "{quiet:?}");
    assert_eq!(site.get("/healthz").await.says(), "the worker is quiet");
    handle.resume();
    assert_eq!(site.get("/readyz").await.code, 200);
    drop(stop);
    running.await.unwrap().unwrap();
    let stopping = site.get("/readyz").await;
    assert_eq!((stopping.code, stopping.says().as_str()), (503, "the worker is stopping"));
    let lives = site.get("/healthz").await;
    assert_eq!((lives.code, lives.says().as_str()), (200, "the worker is stopping in order"));
}

#[tokio::test]
async fn is_not_ready_and_lives_on_while_the_store_cannot_be_asked() {
    let site = impatient().await;
    let monitor = site.monitor.clone();
    tokio::spawn(async move { monitor.working_until(std::future::pending()).await });
    until(&site, "/readyz", |answer| answer.code == 200).await;
    site.client.close().await.unwrap();
    // A look may serve again for half a second.
    let unready = until(&site, "/readyz", |answer| answer.code == 503).await;
    assert_eq!(unready.says(), "the store failed to use the store: it is closed");
    let says = "the worker lives, but the store failed";
    let lives = until(&site, "/healthz", |answer| answer.says().starts_with(says)).await;
    assert_eq!(lives.code, 200, "ending the process would mend nothing");
}

#[tokio::test]
async fn finds_a_worker_stuck_that_leaves_a_due_job_alone() {
    let site = impatient().await;
    let monitor = site.monitor.clone();
    tokio::spawn(async move { monitor.working_until(std::future::pending()).await });
    let job = site.client.enqueue(Known).await.unwrap().id;
    let stuck = until(&site, "/healthz", |answer| answer.code == 503).await;
    assert!(stuck.says().contains(&format!("known job {job} has been due in queue default")));
    let worker = Worker::new(&site.client, ()).job(known).observer(site.monitor.clone());
    worker.until_empty(true).run().await.unwrap();
    for _ in 0..3 {
        assert_eq!(site.get("/healthz").await.code, 200, "it claims");
    }
}

#[tokio::test]
async fn takes_a_claim_for_a_sign_of_life() {
    let site = impatient().await;
    let monitor = site.monitor.clone();
    tokio::spawn(async move { monitor.working_until(std::future::pending()).await });
    site.client.enqueue(Known).await.unwrap();
    until(&site, "/healthz", |answer| answer.code == 503).await;
    let (queue, job_type) = (Name::new("queue", "default").unwrap(), "known");
    let job_type = Name::new("type", job_type).unwrap();
    let fence = Fence { id: JobId::new(), attempt: 1, nonce: 1 };
    site.monitor.event(&Event::Claimed { run: Run { fence, queue: &queue, job_type: &job_type } });
    assert_eq!(site.get("/healthz").await.code, 200, "it claimed something since");
}

#[tokio::test]
async fn holds_nothing_against_a_worker_whose_slots_are_full() {
    let site = impatient().await;
    let go = std::sync::Arc::new(Notify::new());
    let wait = async |_: Known, cx: Context<Notify>| -> Result<()> {
        cx.app.notified().await;
        Ok(())
    };
    let worker = Worker::new(&site.client, go.clone()).job(wait).observer(site.monitor.clone());
    let worker = worker.queue("default", 1).until_empty(true);
    site.client.enqueue_all([Known, Known]).await.unwrap();
    let monitor = site.monitor.clone();
    let running = tokio::spawn(async move {
        worker.run_until(monitor.working_until(std::future::pending())).await
    });
    let waits = "dutiful_queue_jobs{queue=\"default\",state=\"pending\"}";
    let runs = "dutiful_worker_slots_in_use{queue=\"default\"}";
    until(&site, "/metrics", |page| page.row(runs) == 1.0 && page.row(waits) == 1.0).await;
    for _ in 0..3 {
        assert_eq!(site.get("/healthz").await.code, 200, "it has no room");
    }
    while !running.is_finished() {
        go.notify_waiters();
        tokio::task::yield_now().await;
    }
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn holds_nothing_against_a_worker_that_may_not_claim() {
    let site = impatient().await;
    let monitor = site.monitor.clone();
    tokio::spawn(async move { monitor.working_until(std::future::pending()).await });
    site.client.enqueue_raw("unknown", "1").await.unwrap();
    site.client.enqueue_raw("known", "null").queue("other").await.unwrap();
    site.client.enqueue(Known).delay(Duration::from_secs(3600)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(site.get("/healthz").await.code, 200, "none of these is for it");
    }
    site.client.pause("default").await.unwrap();
    site.client.enqueue(Known).await.unwrap();
    let seen = "dutiful_queue_jobs{queue=\"default\",state=\"pending\"}";
    until(&site, "/metrics", |page| page.row(seen) == 2.0).await;
    for _ in 0..3 {
        assert_eq!(site.get("/healthz").await.code, 200, "the queue is paused");
    }
}
