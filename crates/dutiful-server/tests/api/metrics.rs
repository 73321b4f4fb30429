//! The metrics of a server: what all processes on the store did, exactly.

use serde_json::json;

use crate::{Site, promises};

promises! {
    what_every_process_did_is_counted,
    a_fleet_that_did_nothing_has_zeros,
    failures_of_all_workers_are_counted_by_class,
    the_health_of_the_store_is_seen,
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
            ("jobs_failed_total{queue=\"default\",type=\"task\",error_class=\"\"}", 0.0),
            ("jobs_failed_total{queue=\"default\",type=\"task\",error_class=\"SmtpError\"}", 1.0),
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
        "jobs_failed_total{queue=\"default\",type=\"\",error_class=\"\"} 0\n",
        "queue_depth{queue=\"default\"} 0\n",
        "dead_letter_queue_size{queue=\"default\"} 0\n",
        "jobs_stalled_total{queue=\"default\"} 0\n",
    ] {
        assert!(page.contains(row), "{row} is missing in\n{page}");
    }
}

/// Returns the rows of a family, in their order.
fn rows<'p>(page: &'p str, family: &str) -> Vec<&'p str> {
    page.lines().filter_map(|line| line.strip_prefix(family)).collect()
}

async fn failures_of_all_workers_are_counted_by_class(site: &Site) {
    let other = Site::on_store_of(site).await;
    let (mine, theirs) = (site.worker(&["default"]).await, other.worker(&["default"]).await);
    site.dead(&mine, "SmtpError", "mailbox full").await;
    other.dead(&theirs, "SmtpError", "mailbox full").await;
    other.dead(&theirs, "exit 3", "").await;
    let nasty = "x\"} 7\n# EOF\n\u{0}🦀";
    site.dead(&mine, nasty, "").await;
    let pair = "queue=\"default\",type=\"task\"";
    let expected = [
        format!("{{{pair},error_class=\"\"}} 0"),
        format!("{{{pair},error_class=\"SmtpError\"}} 2"),
        format!("{{{pair},error_class=\"exit 3\"}} 1"),
        format!("{{{pair},error_class=\"x\\\"}} 7\\n# EOF\\n\u{fffd}🦀\"}} 1"),
    ];
    for site in [site, &other] {
        let page = site.get("/metrics").await.body;
        assert_eq!(rows(&page, "jobs_failed_total"), expected, "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
    let totals = site.get("/v1/totals").await.json()["totals"][0].clone();
    assert_eq!(totals["failed"], 4, "{totals}");
    let classes = json!({ "SmtpError": 2, "exit 3": 1, "x\"} 7\n# EOF\n\u{fffd}🦀": 1 });
    assert_eq!(totals["error_classes"], classes);
    other.close().await;
}

async fn the_health_of_the_store_is_seen(site: &Site) {
    let worker = site.worker(&["default"]).await;
    site.job(json!({ "type": "task" })).await;
    site.claim(&worker).await;
    let page = site.get("/metrics").await.body;
    let has = |family: &str| rows(&page, &format!("{family} ")).len() == 1;
    assert!(has("dutiful_store_claim_seconds_count"), "{page}");
    assert!(has("dutiful_store_wal_bytes"), "{page}");
    let server = site.url.starts_with("postgres");
    assert_eq!(has("dutiful_store_dead_rows"), server, "{page}");
    assert_eq!(has("dutiful_store_snapshot_age_seconds"), server, "{page}");
    // A claim that waits makes the server listen for rings.
    let claim = format!("{worker}/claim");
    let waits = site.post(&claim, json!({ "max": 1, "wait_ms": 20_000 }));
    let lag = async {
        loop {
            let page = site.get("/metrics").await.body;
            if let [lag] = rows(&page, "dutiful_store_doorbell_lag_seconds ")[..] {
                return lag.parse::<f64>().unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        lag = lag => assert!((0.0..20.0).contains(&lag), "{lag}"),
        answer = waits => panic!("nothing was heard of the doorbell: {answer:?}"),
    }
}
