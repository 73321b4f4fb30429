//! `/metrics`: every family from the start, the right numbers after jobs, and nothing private.

use std::sync::Arc;
use std::time::Duration;

use dutiful::{Context, HandlerError, Job, Result, Retry, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{Site, until};

/// In a payload and in an error's message, and never on the page.
const CANARY: &str = "canary-7f3a";

#[derive(Serialize, Deserialize)]
struct Quick {
    secret: String,
}

impl Job for Quick {
    const TYPE: &'static str = "quick";
}

#[derive(Serialize, Deserialize)]
struct Shaky {
    class: String,
}

impl Job for Shaky {
    const TYPE: &'static str = "shaky";
    const QUEUE: &'static str = "mail";
    const MAX_ATTEMPTS: u32 = 1;
    const RETRY: Retry = Retry::exponential(Duration::ZERO);
}

async fn quick(_: Quick, _: Context<()>) -> Result<()> {
    Ok(())
}

async fn shaky(job: Shaky, _: Context<()>) -> Result<()> {
    Err(HandlerError::msg(CANARY).with_class(job.class))
}

async fn site() -> Site {
    Site::serving(&[("default", 3), ("mail", 2)], &[("default", "quick"), ("mail", "shaky")]).await
}

fn worker(site: &Site) -> Worker<()> {
    let worker = Worker::new(&site.client, ()).job(quick).job(shaky);
    worker.queue("default", 3).queue("mail", 2).observer(site.monitor.clone())
}

#[tokio::test]
async fn has_every_family_before_the_first_job() {
    let site = site().await;
    let page = site.get("/metrics").await;
    assert_eq!(page.code, 200);
    assert!(page.head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(page.body.ends_with("\n# EOF\n"), "{}", page.body);
    for pair in ["queue=\"default\",type=\"\"", "queue=\"mail\",type=\"shaky\""] {
        for name in [
            "enqueued",
            "claimed",
            "completed",
            "snoozed",
            "released",
            "cancelled",
            "lease_lost",
            "rescued",
            "overdue",
        ] {
            assert_eq!(page.row(&format!("dutiful_jobs_{name}_total{{{pair}}}")), 0.0);
        }
        for name in ["run", "wait"] {
            assert_eq!(page.row(&format!("dutiful_job_{name}_seconds_count{{{pair}}}")), 0.0);
        }
    }
    let first = "queue=\"default\",type=\"\"";
    assert_eq!(page.row(&format!("dutiful_jobs_failed_total{{{first},error_class=\"\"}}")), 0.0);
    for reason in ["exhausted", "discarded", "quarantined"] {
        assert_eq!(
            page.row(&format!("dutiful_jobs_dead_total{{{first},reason=\"{reason}\"}}")),
            0.0
        );
    }
    for verb in ["claim", "finish", "heartbeat", "held", "upkeep"] {
        assert_eq!(page.row(&format!("dutiful_store_trouble_total{{verb=\"{verb}\"}}")), 0.0);
    }
    for state in ["pending", "scheduled", "active", "failed", "dead"] {
        let row = format!("dutiful_queue_jobs{{queue=\"default\",state=\"{state}\"}}");
        assert_eq!(page.row(&row), 0.0);
    }
    for (row, value) in [
        ("dutiful_queue_oldest_pending_seconds{queue=\"default\"}", 0.0),
        ("dutiful_queue_paused{queue=\"mail\"}", 0.0),
        ("dutiful_queue_stalled_total{queue=\"mail\"}", 0.0),
        ("dutiful_worker_self_fences_total", 0.0),
        ("dutiful_worker_slots_in_use{queue=\"mail\"}", 0.0),
        ("dutiful_worker_slots{queue=\"mail\"}", 2.0),
        ("dutiful_worker_slots_limit", 5.0),
        ("dutiful_store_warnings", 0.0),
        ("dutiful_store_up", 1.0),
        ("dutiful_store_claim_seconds_count", 0.0),
    ] {
        assert_eq!(page.row(row), value, "{row}");
    }
}

#[tokio::test]
async fn has_the_right_numbers_after_jobs_and_nothing_private() {
    let site = site().await;
    for _ in 0..3 {
        site.client.enqueue(Quick { secret: CANARY.into() }).await.unwrap();
    }
    site.client.enqueue(Quick { secret: CANARY.into() }).unique("one").await.unwrap();
    site.client.enqueue(Quick { secret: CANARY.into() }).unique("one").await.unwrap();
    let class = "a \"b\"\\\nc";
    site.client.enqueue(Shaky { class: class.into() }).await.unwrap();
    let again = site.client.enqueue(Shaky { class: "again".into() }).max_attempts(2);
    again.await.unwrap();
    worker(&site).until_empty(true).run().await.unwrap();
    let page = site.get("/metrics").await;
    let (quick, shaky) = ("queue=\"default\",type=\"quick\"", "queue=\"mail\",type=\"shaky\"");
    for (row, value) in [
        (format!("dutiful_jobs_enqueued_total{{{quick}}}"), 4.0),
        (format!("dutiful_jobs_claimed_total{{{quick}}}"), 4.0),
        (format!("dutiful_jobs_completed_total{{{quick}}}"), 4.0),
        (format!("dutiful_job_run_seconds_count{{{quick}}}"), 4.0),
        (format!("dutiful_job_wait_seconds_count{{{quick}}}"), 4.0),
        (format!("dutiful_jobs_completed_total{{{shaky}}}"), 0.0),
        (format!("dutiful_jobs_claimed_total{{{shaky}}}"), 3.0),
        (format!("dutiful_job_run_seconds_count{{{shaky}}}"), 3.0),
        (format!("dutiful_jobs_failed_total{{{shaky},error_class=\"again\"}}"), 2.0),
        (format!("dutiful_jobs_failed_total{{{shaky},error_class=\"a \\\"b\\\"\\\\\\nc\"}}"), 1.0),
        (format!("dutiful_jobs_dead_total{{{shaky},reason=\"exhausted\"}}"), 2.0),
        ("dutiful_queue_jobs{queue=\"mail\",state=\"dead\"}".into(), 2.0),
        ("dutiful_worker_slots_in_use{queue=\"default\"}".into(), 0.0),
        ("dutiful_worker_slots_in_use{queue=\"mail\"}".into(), 0.0),
    ] {
        assert_eq!(page.row(&row), value, "{row}");
    }
    let claims = page.row("dutiful_store_claim_seconds_count");
    assert!(claims >= 1.0 && page.row("dutiful_store_claim_seconds_sum") > 0.0, "{claims}");
    assert_eq!(page.row("dutiful_store_claim_seconds_bucket{le=\"+Inf\"}"), claims);
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = site.get(path).await;
        assert!(!answer.body.contains(CANARY), "{path} has what is private: {}", answer.body);
    }
}

#[tokio::test]
async fn shows_the_slots_in_use_and_the_depth_while_jobs_run() {
    let site = site().await;
    let go = Arc::new(Notify::new());
    let wait = async |_: Quick, cx: Context<Notify>| -> Result<()> {
        cx.app.notified().await;
        Ok(())
    };
    let worker = Worker::new(&site.client, go.clone()).job(wait);
    let worker = worker.queue("default", 3).until_empty(true).observer(site.monitor.clone());
    for _ in 0..5 {
        site.client.enqueue(Quick { secret: String::new() }).await.unwrap();
    }
    site.client.pause("mail").await.unwrap();
    let running = tokio::spawn(worker.run());
    let in_use = "dutiful_worker_slots_in_use{queue=\"default\"}";
    let depth = |state: &str| format!("dutiful_queue_jobs{{queue=\"default\",state=\"{state}\"}}");
    until(&site, "/metrics", |page| {
        page.row(in_use) == 3.0
            && page.row(&depth("active")) == 3.0
            && page.row(&depth("pending")) == 2.0
            && page.row("dutiful_queue_oldest_pending_seconds{queue=\"default\"}") > 0.0
            && page.row("dutiful_queue_paused{queue=\"mail\"}") == 1.0
    })
    .await;
    while !running.is_finished() {
        go.notify_waiters();
        tokio::task::yield_now().await;
    }
    running.await.unwrap().unwrap();
    assert_eq!(site.get("/metrics").await.row(in_use), 0.0);
}

#[tokio::test]
async fn keeps_the_counters_when_the_store_cannot_be_asked() {
    let site = site().await;
    site.client.enqueue(Quick { secret: String::new() }).await.unwrap();
    site.client.close().await.unwrap();
    let page = site.get("/metrics").await;
    assert_eq!(page.code, 200);
    assert_eq!(page.row("dutiful_store_up"), 0.0);
    assert_eq!(page.row("dutiful_jobs_enqueued_total{queue=\"default\",type=\"quick\"}"), 1.0);
    assert!(!page.body.contains("dutiful_queue_jobs"), "what is unknown is not shown");
}
