//! Lists, changes, queues, dead letters and numbers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Answer, Site, promises, until};

promises! {
    pages_hold_every_job_once_and_filters_find_theirs,
    a_result_is_waited_for,
    jobs_are_changed_one_by_one_and_together,
    a_dead_job_runs_again_with_another_payload,
    queues_are_paused_resumed_and_cleared,
    dead_jobs_are_grouped_by_cause,
    numbers_and_facts_are_told,
    changes_are_told_as_they_happen,
}

fn ids(page: &Value) -> Vec<String> {
    let jobs = page["jobs"].as_array().unwrap();
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

async fn pages_hold_every_job_once_and_filters_find_theirs(site: &Site) {
    let job = |n: usize| {
        let queue = if n < 3 { "mail" } else { "pdf" };
        json!({ "type": "task", "queue": queue, "tags": [format!("t {n}")] })
    };
    let jobs: Vec<_> = (0..7).map(job).collect();
    let stored = site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await.json();
    let mut all = ids(&stored);
    let (mut seen, mut path) = (Vec::new(), "/v1/jobs?limit=3".to_owned());
    loop {
        let page = site.get(&path).await.json();
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/jobs?limit=3&before={next}");
    }
    all.reverse();
    assert_eq!(seen, all, "newest first, each once");
    for (query, found) in [
        ("queue=mail", 3),
        ("queue=pdf&type=task&state=pending", 4),
        ("tag=t%202", 1),
        ("tag=t+2", 1),
        ("live=true", 7),
        ("state=dead", 0),
        ("since=2020-01-01T00:00:00Z", 7),
        ("until=2020-01-01T00:00:00Z", 0),
    ] {
        let page = site.get(&format!("/v1/jobs?{query}")).await.json();
        assert_eq!(ids(&page).len(), found, "{query}");
    }
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "state=gone",
        "queue=a%20b",
        "before=x",
        "since=now",
        "prority=1",
        "fingerprint=0&state=pending",
    ] {
        site.get(&format!("/v1/jobs?{query}")).await.problem(422, "invalid");
    }
}

async fn a_result_is_waited_for(site: &Site) {
    let id = site.job(json!({ "type": "task" })).await;
    let path = format!("/v1/jobs/{id}/result");
    let early = site.get(&path).await;
    assert_eq!((early.code, &early.json()["state"]), (202, &json!("pending")));
    let worker = site.worker(&["default"]).await;
    let fence = site.claim(&worker).await["fence"].clone();
    let waiting_path = format!("{path}?wait_ms=20000");
    let waiting = site.get(&waiting_path);
    let end = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        site.finish(&worker, json!({ "fence": fence, "outcome": "completed", "result": [1] })).await
    };
    let (answer, _) = tokio::join!(waiting, end);
    assert_eq!((answer.code, &answer.json()["result"]), (200, &json!([1])));
    site.get(&format!("{path}?wait_ms=60001")).await.problem(422, "invalid");
    let unknown = format!("/v1/jobs/{}/result", dutiful::JobId::new());
    site.get(&unknown).await.problem(404, "not_found");
}

async fn jobs_are_changed_one_by_one_and_together(site: &Site) {
    let id = site.job(json!({ "type": "task", "delay_ms": 3_600_000 })).await;
    let at = |path: &str| format!("/v1/jobs/{id}/{path}");
    let time = json!({ "at": "2040-01-02T03:04:05Z" });
    assert_eq!(site.post(&at("reschedule"), time).await.json()["change"], "done");
    assert_eq!(site.show(&id).await["scheduled_for"], "2040-01-02T03:04:05.000000Z");
    assert_eq!(site.post(&at("reschedule"), json!({ "delay_ms": 7_200_000 })).await.code, 200);
    for both in [json!({}), json!({ "at": "2040-01-02T03:04:05Z", "delay_ms": 1 })] {
        site.post(&at("reschedule"), both).await.problem(422, "invalid");
    }
    assert!(
        site.post(&at("retry"), json!({})).await.problem(409, "wrong_state").contains("scheduled")
    );
    site.post(&at("discard"), json!({})).await.problem(409, "wrong_state");
    assert_eq!(site.ask("POST", &at("cancel"), "", "").await.code, 200, "no body is needed");
    site.post(&at("cancel"), json!({})).await.problem(409, "wrong_state");
    assert_eq!(site.post(&at("retry"), json!({})).await.code, 200);
    let gone = dutiful::JobId::new().to_string();
    let many = json!({ "verb": "cancel", "ids": [id, gone] });
    let changes = site.post("/v1/jobs/change", many).await.json();
    assert_eq!(
        changes["changes"],
        json!([{ "id": id, "change": "done" }, { "id": gone, "change": "not_found" }])
    );
    assert_eq!(site.ask("DELETE", &format!("/v1/jobs/{id}"), "", "").await.code, 200);
    site.get(&format!("/v1/jobs/{id}")).await.problem(404, "not_found");
    site.get("/v1/jobs/x").await.problem(422, "invalid");
}

async fn a_dead_job_runs_again_with_another_payload(site: &Site) {
    let worker = site.worker(&["default"]).await;
    let id = site.dead(&worker, "Bad", "no address").await;
    let edited =
        site.post(&format!("/v1/jobs/{id}/edit"), json!({ "payload": { "to": "ann" } })).await;
    assert_eq!(edited.code, 201, "{edited:?}");
    let new = edited.json()["id"].as_str().unwrap().to_owned();
    let job = site.claim(&worker).await;
    assert_eq!((&job["id"], &job["payload"]), (&json!(new), &json!({ "to": "ann" })));
    assert_eq!((&job["correlation_id"], &job["max_attempts"]), (&json!(id), &json!(1)));
    assert_eq!(site.show(&id).await["state"], "cancelled");
    let active = site.post(&format!("/v1/jobs/{new}/edit"), json!({ "payload": 1 })).await;
    active.problem(409, "wrong_state");
}

async fn queues_are_paused_resumed_and_cleared(site: &Site) {
    site.job(json!({ "type": "task", "queue": "mail" })).await;
    let worker = site.worker(&["mail"]).await;
    let paused = site.ask("POST", "/v1/queues/mail/pause", "", "").await;
    assert_eq!(paused.json(), json!({ "changed": true }));
    assert_eq!(site.get("/v1/queues/mail").await.json()["paused"], true);
    let none = site.post(&format!("{worker}/claim"), json!({})).await.json();
    assert_eq!(none, json!({ "jobs": [] }));
    let backlog = site.get("/v1/backlog?queue=mail").await.json();
    assert_eq!((&backlog["depth"], &backlog["queues"]), (&json!(1), &json!({})));
    assert_eq!(site.ask("POST", "/v1/queues/mail/resume", "", "").await.json()["changed"], true);
    assert_eq!(site.ask("POST", "/v1/queues/mail/resume", "", "").await.json()["changed"], false);
    assert_eq!(site.ask("POST", "/v1/queues/mail/clear", "", "").await.json()["deleted"], 1);
    site.get("/v1/queues/never").await.problem(404, "not_found");
    site.ask("POST", "/v1/queues/a%20b/pause", "", "").await.problem(422, "invalid");
}

async fn dead_jobs_are_grouped_by_cause(site: &Site) {
    let worker = site.worker(&["default"]).await;
    for n in 0..3 {
        site.dead(&worker, "SmtpError", &format!("mailbox {n} is full")).await;
    }
    let other = site.dead(&worker, "SmtpError", "host is unknown").await;
    let groups = site.get("/v1/dead/groups").await.json();
    assert_eq!(groups["complete"], true);
    let groups = groups["groups"].as_array().unwrap();
    let seen: Vec<_> = groups.iter().map(|one| (&one["count"], &one["message"])).collect();
    let expected =
        [(&json!(3), &json!("mailbox # is full")), (&json!(1), &json!("host is unknown"))];
    assert_eq!(seen, expected);
    assert_eq!((&groups[1]["sample"], &groups[1]["queues"]), (&json!(other), &json!(["default"])));
    let fingerprint = groups[0]["fingerprint"].as_str().unwrap();
    let page = site.get(&format!("/v1/jobs?fingerprint={fingerprint}&limit=2")).await.json();
    assert_eq!(ids(&page).len(), 2);
    let next = page["next"].as_str().unwrap();
    let path = format!("/v1/jobs?fingerprint={fingerprint}&before={next}");
    assert_eq!(ids(&site.get(&path).await.json()).len(), 1);
    assert_eq!(site.get("/v1/dead/groups?queue=none").await.json()["groups"], json!([]));
}

async fn numbers_and_facts_are_told(site: &Site) {
    site.job(json!({ "type": "nobody_runs_it", "queue": "mail" })).await;
    let stats = until(async || {
        let stats = site.get("/v1/stats").await.json();
        (stats["totals"]["pending"] == 1).then_some(stats)
    });
    let stats = stats.await;
    let warned = stats["warnings"].to_string();
    assert!(warned.contains("nobody_runs_it"), "{warned}");
    let backlog = site.get("/v1/backlog").await.json();
    assert_eq!((&backlog["depth"], &backlog["queues"]["mail"]["depth"]), (&json!(1), &json!(1)));
    let totals = site.get("/v1/totals").await.json();
    let one = &totals["totals"][0];
    assert_eq!((&one["type"], &one["enqueued"]), (&json!("nobody_runs_it"), &json!(1)));
    let lengths =
        [&totals["bounds_ms"], &one["ran"]["buckets"]].map(|all| all.as_array().unwrap().len());
    assert_eq!(lengths, [dutiful::SPREAD_MS.len(), dutiful::SPREAD_MS.len() + 1]);
    let info = site.get("/v1/info").await.json();
    assert_eq!((&info["name"], &info["open"]), (&json!("dutiful"), &json!(true)));
    assert!(["sqlite", "postgres"].contains(&info["store"]["store"].as_str().unwrap()));
    let findings = site.get("/v1/doctor").await.json();
    assert!(findings["findings"].as_array().unwrap().len() > 5, "{findings}");
    for path in ["/healthz", "/readyz"] {
        let ready = until(async || Some(site.get(path).await).filter(|one| one.code == 200));
        ready.await;
    }
    let metrics = site.get("/metrics").await.body;
    assert!(
        metrics.contains("dutiful_queue_jobs{queue=\"mail\",state=\"pending\"} 1"),
        "{metrics}"
    );
}

async fn changes_are_told_as_they_happen(site: &Site) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(site.address).await.unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut heard = String::new();
    let mut enqueued = false;
    let told = async {
        let mut piece = [0; 4096];
        while !heard.contains("\"pending\":1") {
            let n = stream.read(&mut piece).await.unwrap();
            assert!(n > 0, "it ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&piece[..n]));
            if heard.contains("event: stats") && !std::mem::replace(&mut enqueued, true) {
                site.job(json!({ "type": "task" })).await;
            }
        }
    };
    tokio::time::timeout(crate::PATIENCE, told).await.unwrap();
    assert!(heard.to_lowercase().contains("content-type: text/event-stream"), "{heard}");
}

#[test]
fn an_answer_that_is_no_problem_is_not_taken_for_one() {
    let answer = Answer { code: 404, head: String::new(), raw: String::new(), body: "{}".into() };
    assert!(std::panic::catch_unwind(|| answer.problem(404, "not_found")).is_err());
}
