//! Alerts on real stores: what makes each rule fire and what ends it. Servers here look fifty times
//! a second, over a window of five seconds.

use std::sync::Arc;
use std::time::Duration;

use dutiful::store::{Keep, KeepWhen};
use dutiful::testing::Faults;
use dutiful::{Client, Name};
use dutiful_server::alerts::{AlertOptions, Rule, RuleChange, RuleChanges};
use dutiful_server::{NotifySettings, NotifyTargets, Options, RunCommand};
use serde_json::{Value, json};

use crate::{Site, until};

/// Servers that look often, with these rules; conditions need not hold for a while.
pub(crate) fn options(rules: &Value) -> Options {
    let mut options = Options::default();
    options.alerts = often(rules);
    options
}

fn often(rules: &Value) -> AlertOptions {
    let mut alerts = AlertOptions::default();
    alerts.every = Duration::from_millis(20);
    // Longer than a busy machine may keep the server, or the test, from looking.
    alerts.window = Duration::from_secs(5);
    alerts.resolve_after = Duration::from_millis(60);
    let at_once = |rule: Rule| (rule, RuleChange { for_s: Some(0.0), ..RuleChange::default() });
    let mut changes: RuleChanges = serde_json::from_value(rules.clone()).unwrap();
    for (rule, change) in Rule::ALL.map(at_once) {
        changes.rules.entry(rule).or_insert(change).for_s = Some(0.0);
    }
    alerts.rules = changes;
    alerts
}

impl Site {
    pub(crate) async fn watched(rules: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
        Self::set(&url, dir, options(&rules), |client| client).await
    }

    /// One whose store fails as it is told to.
    async fn faulty() -> (Self, Faults) {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
        let mut faults = None;
        let faulty = |client: Client| {
            let (store, told) = Faults::around(client.store().clone());
            faults = Some(told);
            Client::builder().with_store(store)
        };
        let site = Self::set(&url, dir, options(&json!({})), faulty).await;
        (site, faults.unwrap())
    }

    pub(crate) async fn watched_too(&self, rules: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::set(&self.url, dir, options(&rules), |client| client).await
    }

    pub(crate) async fn alert(&self, id: &str) -> Option<Value> {
        let answer = self.get("/v1/alerts").await;
        assert_eq!(answer.code, 200, "{answer:?}");
        let all = answer.json()["alerts"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["id"] == id)
    }

    /// Waits until an alert stands so, and returns it.
    pub(crate) async fn sees(&self, id: &str, state: &str) -> Value {
        until(async || self.alert(id).await.filter(|one| one["state"] == state)).await
    }

    pub(crate) async fn enqueue(&self, count: usize, queue: &str) {
        let jobs = vec![json!({ "type": "task", "queue": queue, "max_attempts": 5 }); count];
        let answer = self.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
        assert_eq!(answer.code, 200, "{answer:?}");
    }

    /// Claims so many jobs and returns their fences.
    async fn take(&self, worker: &str, max: usize) -> Vec<Value> {
        let mut fences = Vec::new();
        while fences.len() < max {
            let ask = json!({ "max": max - fences.len(), "wait_ms": 20_000 });
            let jobs = self.post(&format!("{worker}/claim"), ask).await.json();
            let jobs = jobs["jobs"].as_array().unwrap();
            assert!(!jobs.is_empty(), "no job came in time");
            fences.extend(jobs.iter().map(|job| job["fence"].clone()));
        }
        fences
    }

    async fn end(&self, worker: &str, fences: Vec<Value>, outcome: &str, ran_ms: u64) {
        let error = json!({ "class": "Down", "message": "no answer" });
        let end = |fence| match outcome {
            "failed" => json!({ "fence": fence, "outcome": outcome, "error": error.clone() }),
            _ => json!({ "fence": fence, "outcome": outcome, "ran_ms": ran_ms }),
        };
        let ends: Vec<_> = fences.into_iter().map(end).collect();
        let answer = self.post(&format!("{worker}/finish"), json!({ "ends": ends })).await;
        assert_eq!(answer.code, 200, "{answer:?}");
    }

    pub(crate) async fn put_rules(&self, rules: &Value) -> crate::Answer {
        let json = "Content-Type: application/json\r\n";
        self.ask("PUT", "/v1/alerts/rules", json, &rules.to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_grows_fires_until_it_shrinks() {
    let site = Site::watched(json!({ "rules": { "depth": { "threshold": 5 } } })).await;
    let worker = site.worker(&["default"]).await;
    site.enqueue(9, "default").await;
    let alert = site.sees("depth:default", "firing").await;
    assert_eq!((&alert["queue"], &alert["threshold"]), (&json!("default"), &json!(5.0)));
    assert!(alert["summary"].as_str().unwrap().contains("9 jobs are due"), "{alert}");
    let fences = site.take(&worker, 9).await;
    site.end(&worker, fences, "completed", 1).await;
    site.sees("depth:default", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_fire_until_attempts_succeed_again() {
    let site = Site::watched(json!({})).await;
    let worker = site.worker(&["default"]).await;
    site.enqueue(40, "default").await;
    let fences = site.take(&worker, 40).await;
    site.end(&worker, fences, "failed", 1).await;
    let alert = site.sees("error_rate:default", "firing").await;
    assert_eq!((&alert["value"], &alert["unit"]), (&json!(100.0), &json!("percent")));
    site.sees("error_rate:default", "resolved").await;
    site.close().await;
}

/// Starts a server on a store with a history: 6000 jobs a minute, of up to 250 ms.
async fn with_history(rules: Value) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    let client = Client::connect(&url).await.unwrap();
    let now = dutiful::Clock::machine().now().us() / 60_000_000;
    for minute in now - 60..now - 10 {
        let numbers = json!({ "completed": 6000, "ran": [0, 0, 0, 0, 0, 0, 1200] });
        let at = minute * 60;
        let point = json!({ "at": at, "step_s": 60, "queues": { "default": numbers } });
        let keep = Keep {
            shelf: Name::new("shelf", "history").unwrap(),
            key: format!("m:{at:015}"),
            value: Some(point.to_string().into_bytes()),
            when: KeepWhen::Always,
            ttl: None,
        };
        client.store().keep(keep).await.unwrap();
    }
    client.close().await.unwrap();
    Site::set(&url, dir, options(&rules), |client| client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_slower_than_usual_fires_until_nothing_waits() {
    let site = with_history(json!({})).await;
    let worker = site.worker(&["default"]).await;
    site.enqueue(2, "default").await;
    let alert = site.sees("rate:default", "firing").await;
    let summary = alert["summary"].as_str().unwrap();
    assert!(summary.contains("0 % of its usual 6,000"), "{alert}");
    let fences = site.take(&worker, 2).await;
    site.end(&worker, fences, "completed", 1).await;
    site.sees("rate:default", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_run_longer_than_usual_fire_until_they_do_not() {
    let site = with_history(json!({})).await;
    let worker = site.worker(&["default"]).await;
    site.enqueue(40, "default").await;
    let fences = site.take(&worker, 40).await;
    // They really take that long: an attempt is not believed to have run longer than it was out.
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.end(&worker, fences, "completed", 2000).await;
    let alert = site.sees("duration:default", "firing").await;
    assert_eq!(alert["unit"], "times");
    assert!(alert["value"].as_f64().unwrap() > 4.0, "{alert}");
    site.sees("duration:default", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_jobs_fire_until_somebody_knows_and_again_when_more_die() {
    let site = Site::watched(json!({})).await;
    let worker = site.worker(&["default"]).await;
    site.dead(&worker, "Bad", "no address").await;
    let first = site.sees("dead:default", "firing").await;
    assert_eq!(first["acknowledged"], json!(null));
    let path = "/v1/alerts/dead:default/acknowledge";
    let known = site.ask("POST", path, "", "").await;
    assert_eq!((known.code, &known.json()["state"]), (200, &json!("resolved")), "{known:?}");
    let known = site.sees("dead:default", "resolved").await;
    assert!(known["acknowledged"]["by"].is_string(), "{known}");
    site.ask("POST", path, "", "").await.problem(409, "wrong_state");
    let mut dead = vec![site.dead(&worker, "Bad", "no address").await];
    let again = site.sees("dead:default", "firing").await;
    assert_eq!((&again["value"], &again["acknowledged"]), (&json!(2.0), &json!(null)));
    assert!(again["summary"].as_str().unwrap().contains("1 died since"), "{again}");
    let all = site.get("/v1/jobs?state=dead").await.json();
    dead.extend(
        all["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
    );
    site.post("/v1/jobs/change", json!({ "verb": "discard", "ids": dead })).await;
    site.sees("dead:default", "resolved").await;
    let nowhere = "/v1/alerts/dead:nowhere/acknowledge";
    site.ask("POST", nowhere, "", "").await.problem(404, "not_found");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_told_once_to_those_who_want_to_know() {
    let target = NotifySettings {
        name: "pager".into(),
        command: Some(vec!["page".into()]),
        rules: vec!["dead".into()],
        ..NotifySettings::default()
    };
    let never: RunCommand = Arc::new(|_, _| Box::pin(std::future::pending()));
    let targets = NotifyTargets::new("here", &[target], &|_| None, &never).unwrap();
    let mut told = options(&json!({}));
    told.notify = targets;
    let (url, dir) = crate::file();
    let site = Site::set(&url, dir, told.clone(), |client| client).await;
    let other = Site::set(&url, tempfile::tempdir().unwrap(), told, |client| client).await;
    let worker = site.worker(&["default"]).await;
    let events = async |count: usize| {
        let all = until(async || {
            let page = site.get("/v1/jobs?type=dutiful.notify").await.json();
            let jobs = page["jobs"].as_array().unwrap().clone();
            (jobs.len() >= count).then_some(jobs)
        });
        let mut events = Vec::new();
        for job in all.await.iter().rev() {
            let payload = site.show(job["id"].as_str().unwrap()).await["payload"].clone();
            events.push((payload["event"].clone(), payload["alert"]["id"].clone()));
        }
        events
    };
    site.dead(&worker, "Bad", "no address").await;
    site.sees("dead:default", "firing").await;
    assert_eq!(events(1).await, [(json!("firing"), json!("dead:default"))]);
    site.ask("POST", "/v1/alerts/dead:default/acknowledge", "", "").await;
    assert_eq!(events(2).await.len(), 2);
    site.dead(&worker, "Bad", "no address").await;
    site.sees("dead:default", "firing").await;
    let all = events(3).await;
    assert_eq!(all.iter().filter(|(event, _)| event == "firing").count(), 2, "{all:?}");
    other.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_too_long_fires_until_it_is_taken() {
    let site = Site::watched(json!({ "rules": { "latency": { "threshold": 0.2 } } })).await;
    site.enqueue(1, "default").await;
    let alert = site.sees("latency:default", "firing").await;
    assert_eq!((&alert["severity"], &alert["unit"]), (&json!("critical"), &json!("seconds")));
    assert!(alert["value"].as_f64().unwrap() > 0.2, "{alert}");
    let worker = site.worker(&["default"]).await;
    let fences = site.take(&worker, 1).await;
    site.end(&worker, fences, "completed", 1).await;
    site.sees("latency:default", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_are_all_in_use_fire_until_some_are_free() {
    let site = Site::watched(json!({})).await;
    let worker = site.worker(&["default"]).await;
    site.enqueue(10, "default").await;
    let fences = site.take(&worker, 10).await;
    let alert = site.sees("utilization:default", "firing").await;
    assert_eq!(alert["value"], json!(100.0));
    site.end(&worker, fences, "completed", 1).await;
    site.sees("utilization:default", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_fires_until_its_jobs_are_rescued() {
    let site = Site::watched(json!({})).await;
    let worker = site.worker(&["default"]).await;
    site.enqueue(1, "default").await;
    let ask = json!({ "max": 1, "wait_ms": 20_000, "lease_ms": 1000 });
    let jobs = site.post(&format!("{worker}/claim"), ask).await.json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    let alert = site.sees("stalled:default", "firing").await;
    assert_eq!(alert["value"], json!(1.0));
    site.sees("stalled:default", "resolved").await;
    let job = &site.get("/v1/jobs").await.json()["jobs"][0];
    assert_eq!(job["crashes"], 1, "{job}");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_nobody_serves_fire_until_a_worker_comes() {
    let site = Site::watched(json!({})).await;
    site.enqueue(2, "mail").await;
    let alert = site.sees("no_workers:mail", "firing").await;
    assert!(alert["summary"].as_str().unwrap().contains("2 jobs wait in queue mail"), "{alert}");
    site.worker(&["mail"]).await;
    site.sees("no_workers:mail", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_jobs_that_nobody_moves_on_fire_until_somebody_does() {
    let (site, faults) = Site::faulty().await;
    let soon = json!({ "rules": { "overdue": { "threshold": 0.05, "for_s": 0 } } });
    assert_eq!(site.put_rules(&soon).await.code, 200);
    faults.cut("promote");
    site.job(json!({ "type": "task", "queue": "mail", "delay_ms": 100 })).await;
    let alert = site.sees("overdue:mail", "firing").await;
    assert_eq!((&alert["severity"], &alert["queue"]), (&json!("critical"), &json!("mail")));
    let queue = site.get("/v1/queues/mail").await.json();
    assert!(queue["overdue_s"].as_f64().unwrap() > 0.05 && queue["scheduled"] == 1, "{queue}");
    faults.mend("promote");
    site.sees("overdue:mail", "resolved").await;
    assert_eq!(site.get("/v1/queues/mail").await.json()["pending"], 1);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_by_the_server_itself() {
    let (site, faults) = Site::faulty().await;
    until(async || site.get("/v1/alerts").await.json()["looked_at"].as_str().map(drop)).await;
    assert!(site.alert("store").await.is_none());
    for verb in ["keep", "stats"] {
        faults.cut(verb);
    }
    let alert = site.sees("store", "firing").await;
    assert_eq!((&alert["severity"], &alert["queue"]), (&json!("critical"), &json!(null)));
    for verb in ["keep", "stats"] {
        faults.mend(verb);
    }
    site.sees("store", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_rules_look_at_is_no_fault_of_the_store() {
    let site = Site::watched(json!({})).await;
    let worker = site.worker(&["default"]).await;
    site.dead(&worker, "Bad", "no address").await;
    site.ask("POST", "/v1/queues/default/pause", "", "").await;
    site.enqueue(1, "default").await;
    site.sees("dead:default", "firing").await;
    let stats = site.get("/v1/stats").await.json();
    assert_eq!(stats["warnings"].as_array().unwrap().len(), 2, "{stats}");
    let store = site.alert("store").await.filter(|one| one["state"] == "firing");
    assert!(
        store.is_none_or(|one| one["summary"].as_str().unwrap().contains("no worker leads")),
        "only that nobody leads yet can be one for a moment"
    );
    site.close().await;
}
