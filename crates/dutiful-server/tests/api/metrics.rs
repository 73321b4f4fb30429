//! The metrics of a server: what all processes on the store did, exactly.

use serde_json::json;

use crate::{Site, promises};

promises! {
    what_every_process_did_is_counted,
    a_fleet_that_did_nothing_has_zeros,
}

async fn what_every_process_did_is_counted(site: &Site) {
    let worker = site.worker(&["default"]).await;
    for _ in 0..3 {
        site.job(json!({ "type": "task" })).await;
        let fence = site.claim(&worker).await["fence"].clone();
        let end = json!({ "fence": fence, "outcome": "completed", "ran_ms": 0 });
        site.finish(&worker, end).await;
    }
    site.dead(&worker, "SmtpError", "mailbox full").await;
    site.job(json!({ "type": "other", "queue": "mail" })).await;
    let fleet = async || {
        let page = site.get("/metrics").await.body;
        let row = |name: &str| {
            let row = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            row.unwrap_or_else(|| panic!("{name} is missing in\n{page}")).parse::<f64>().unwrap()
        };
        for (name, value) in [
            ("jobs_enqueued_total{queue=\"default\",type=\"task\"}", 4.0),
            ("jobs_enqueued_total{queue=\"mail\",type=\"other\"}", 1.0),
            ("jobs_completed_total{queue=\"default\",type=\"task\"}", 3.0),
            ("jobs_failed_total{queue=\"default\",type=\"task\"}", 1.0),
            ("job_duration_seconds_count{queue=\"default\",type=\"task\"}", 4.0),
            ("job_latency_seconds_count{queue=\"default\"}", 4.0),
            ("jobs_stalled_total{queue=\"default\"}", 0.0),
            ("queue_depth{queue=\"mail\"}", 1.0),
            ("dead_letter_queue_size{queue=\"default\"}", 1.0),
            ("worker_utilization{worker=\"test\",queue=\"default\"}", 0.0),
        ] {
            assert_eq!(row(name), value, "{name}");
        }
        let bucket = |le: &str| {
            row(&format!(
                "job_duration_seconds_bucket{{le=\"{le}\",queue=\"default\",type=\"task\"}}"
            ))
        };
        assert!(bucket("0.001") >= 3.0, "three said that they took no time");
        assert_eq!(bucket("+Inf"), 4.0);
        assert!(row("job_latency_seconds_sum{queue=\"default\"}") >= 0.0);
    };
    fleet().await;
    // Nothing of it is this process's memory: another one says the same.
    let other = Site::on_store_of(site).await;
    let page = other.get("/metrics").await.body;
    assert!(page.contains("jobs_completed_total{queue=\"default\",type=\"task\"} 3\n"), "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    other.close().await;
    fleet().await;
}

async fn a_fleet_that_did_nothing_has_zeros(site: &Site) {
    let page = site.get("/metrics").await.body;
    for row in [
        "jobs_enqueued_total{queue=\"default\",type=\"\"} 0\n",
        "jobs_failed_total{queue=\"default\",type=\"\"} 0\n",
        "queue_depth{queue=\"default\"} 0\n",
        "dead_letter_queue_size{queue=\"default\"} 0\n",
        "jobs_stalled_total{queue=\"default\"} 0\n",
    ] {
        assert!(page.contains(row), "{row} is missing in\n{page}");
    }
}
