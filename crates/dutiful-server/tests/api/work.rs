//! Workers of other languages: claims, leases, and ends under their fences.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Site, promises, until};

promises! {
    a_job_is_claimed_worked_and_shown_with_all_that_was_said,
    a_claim_that_waits_is_woken_by_a_job,
    a_claim_is_answered_at_once_when_the_server_stops,
    a_caller_that_hangs_up_keeps_no_job,
    a_failure_is_retried_and_in_the_end_the_job_is_dead,
    a_stale_fence_is_refused_and_changes_nothing,
    a_cancel_is_heard_with_the_next_beat,
    jobs_are_snoozed_released_and_discarded_uncharged,
    an_end_needs_no_memory_of_the_server,
    what_a_worker_may_not_ask_is_refused,
}

async fn a_job_is_claimed_worked_and_shown_with_all_that_was_said(site: &Site) {
    let id = site.job(json!({ "type": "task", "payload": { "n": 7 }, "queue": "mail" })).await;
    let worker = site.worker(&["mail"]).await;
    let job = site.claim(&worker).await;
    assert_eq!((&job["id"], &job["payload"]), (&json!(id), &json!({ "n": 7 })));
    assert_eq!((&job["attempt"], &job["idempotency_key"]), (&json!(1), &json!(id)));
    assert_eq!(site.show(&id).await["state"], "active");
    let lease = format!("/v1/leases/{}", job["fence"].as_str().unwrap());
    let progress = json!({ "percent": 40, "note": "halfway\nthere" });
    assert_eq!(site.post(&format!("{lease}/progress"), progress).await.code, 204);
    for lines in [json!(["one", "two"]), json!(["three"])] {
        let log = site.post(&format!("{lease}/log"), json!({ "lines": lines })).await;
        assert_eq!(log.code, 204, "{log:?}");
    }
    let extended = site.post(&format!("{lease}/extend"), json!({})).await;
    assert_eq!(extended.json(), json!({ "cancel": false }));
    let result = json!({ "result": { "pages": 3 } });
    assert_eq!(site.post(&format!("{lease}/complete"), result).await.code, 204);
    let shown = site.show(&id).await;
    assert_eq!((&shown["state"], &shown["result"]), (&json!("completed"), &json!({ "pages": 3 })));
    assert_eq!(shown["progress"]["note"], "halfway there");
    let attempt = &shown["attempts"][0];
    assert_eq!(
        (&attempt["outcome"], &attempt["worker_name"]),
        (&json!("completed"), &json!("test"))
    );
    let lines: Vec<_> = attempt["log"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
    assert_eq!(lines, ["one", "two", "three"]);
    let ended = site.get(&format!("/v1/jobs/{id}/result")).await;
    assert_eq!((ended.code, &ended.json()["result"]), (200, &json!({ "pages": 3 })));
    let workers = site.get("/v1/workers").await.json();
    let listed = workers["workers"].as_array().unwrap();
    assert!(listed.iter().any(|one| worker.ends_with(one["id"].as_str().unwrap())), "{listed:?}");
    assert_eq!(site.ask("DELETE", &worker, "", "").await.code, 204);
}

async fn a_claim_that_waits_is_woken_by_a_job(site: &Site) {
    let worker = site.worker(&["default"]).await;
    let began = Instant::now();
    let waiting = async { (site.claim(&worker).await, began.elapsed()) };
    let enqueued = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        site.job(json!({ "type": "task" })).await
    };
    let ((job, waited), id) = tokio::join!(waiting, enqueued);
    assert_eq!(job["id"], id);
    assert!(waited >= Duration::from_millis(300) && waited < Duration::from_secs(10), "{waited:?}");
    let none = site.post(&format!("{worker}/claim"), json!({})).await;
    assert_eq!(none.json(), json!({ "jobs": [] }), "without a wait it answers at once");
}

async fn a_claim_is_answered_at_once_when_the_server_stops(_: &Site) {
    let mut site = Site::file().await;
    let worker = site.worker(&["default"]).await;
    let over = std::mem::replace(&mut site.over, tokio::sync::oneshot::channel().0);
    let path = format!("{worker}/claim");
    let waiting = site.post(&path, json!({ "wait_ms": 30_000 }));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(over);
    };
    let (answer, ()) = tokio::join!(waiting, stop);
    assert_eq!((answer.code, answer.json()), (200, json!({ "jobs": [] })));
    site.close().await;
}

async fn a_caller_that_hangs_up_keeps_no_job(site: &Site) {
    use tokio::io::AsyncWriteExt as _;
    let worker = site.worker(&["default"]).await;
    let body = r#"{"wait_ms":30000}"#;
    let request = format!(
        "POST {worker}/claim HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..20 {
        let mut stream = tokio::net::TcpStream::connect(site.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..10))).await;
        drop(stream);
    }
    // Those who hung up are gone a moment later; what one of them took meanwhile came back.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let id = site.job(json!({ "type": "task" })).await;
    let job = site.claim(&worker).await;
    assert_eq!((&job["id"], &job["crashes"]), (&json!(id), &json!(0)));
}

async fn a_failure_is_retried_and_in_the_end_the_job_is_dead(site: &Site) {
    let id = site.job(json!({ "type": "task", "max_attempts": 2 })).await;
    let worker = site.worker(&["default"]).await;
    let error = json!({ "class": "SmtpError", "message": "mailbox full\nat line 7" });
    let fail = |fence: &Value, wait: Option<u64>| {
        let (outcome, error) = ("failed", &error);
        json!({ "fence": fence, "outcome": outcome, "error": error, "retry_after_ms": wait })
    };
    let first = site.claim(&worker).await;
    let ended = site.finish(&worker, fail(&first["fence"], Some(0))).await;
    assert_eq!((&ended["status"], &ended["state"]), (&json!("done"), &json!("failed")));
    let second = site.claim(&worker).await;
    assert_eq!((&second["attempt"], &second["failures"]), (&json!(2), &json!(1)));
    let ended = site.finish(&worker, fail(&second["fence"], None)).await;
    assert_eq!(ended["state"], "dead");
    let shown = site.show(&id).await;
    assert_eq!((&shown["state"], &shown["dead_reason"]), (&json!("dead"), &json!("exhausted")));
    assert_eq!(shown["last_error"], error);
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2);
}

async fn a_stale_fence_is_refused_and_changes_nothing(site: &Site) {
    let id = site.job(json!({ "type": "task" })).await;
    let worker = site.worker(&["default"]).await;
    let ask = json!({ "max": 1, "lease_ms": 1000 });
    let claimed = site.post(&format!("{worker}/claim"), ask).await.json();
    let stale = claimed["jobs"][0]["fence"].as_str().unwrap().to_owned();
    // It is not renewed: the leader takes it back, and another attempt begins.
    let job = site.claim(&worker).await;
    assert_eq!((&job["id"], &job["attempt"], &job["crashes"]), (&json!(id), &json!(2), &json!(1)));
    let before = site.show(&id).await;
    for (path, body) in [
        ("complete", json!({ "result": 1 })),
        ("fail", json!({ "error": { "class": "c", "message": "m" } })),
        ("fail", json!({ "error": { "class": "c", "message": "m" }, "discard": true })),
        ("snooze", json!({ "delay_ms": 5 })),
        ("release", json!({})),
        ("extend", json!({})),
        ("progress", json!({ "percent": 1 })),
        ("log", json!({ "lines": ["late"] })),
    ] {
        let late = site.post(&format!("/v1/leases/{stale}/{path}"), body).await;
        late.problem(409, "lease_lost");
    }
    for outcome in ["completed", "failed", "discarded", "released", "cancelled"] {
        let ended = site.finish(&worker, json!({ "fence": stale, "outcome": outcome })).await;
        assert_eq!(ended, json!({ "fence": stale, "status": "lease_lost" }), "{outcome}");
    }
    // One that was never given out: the right attempt, another number.
    let fence = job["fence"].as_str().unwrap();
    let forged = format!("{}{:016x}", &fence[..fence.len() - 16], 1);
    site.post(&format!("/v1/leases/{forged}/complete"), json!({})).await.problem(409, "lease_lost");
    let held = site.post(&format!("{worker}/extend"), json!({ "fences": [stale, fence] })).await;
    let held: Vec<_> = (0..2).map(|n| held.json()["leases"][n]["held"].clone()).collect();
    assert_eq!(held, [json!(false), json!(true)]);
    assert_eq!(site.show(&id).await, before);
    assert_eq!(
        site.finish(&worker, json!({ "fence": fence, "outcome": "completed" })).await["status"],
        "done"
    );
}

async fn a_cancel_is_heard_with_the_next_beat(site: &Site) {
    let id = site.job(json!({ "type": "task" })).await;
    let worker = site.worker(&["default"]).await;
    let fence = site.claim(&worker).await["fence"].clone();
    let cancel = site.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await;
    assert_eq!((cancel.code, cancel.json()), (200, json!({ "change": "requested" })));
    let beat = site.post(&format!("{worker}/extend"), json!({ "fences": [fence] })).await.json();
    assert_eq!(beat["leases"][0], json!({ "fence": fence, "held": true, "cancel": true }));
    let ended = site.finish(&worker, json!({ "fence": fence, "outcome": "cancelled" })).await;
    assert_eq!(ended["state"], "cancelled");
    assert_eq!(site.show(&id).await["state"], "cancelled");
}

async fn jobs_are_snoozed_released_and_discarded_uncharged(site: &Site) {
    let id = site.job(json!({ "type": "task", "max_attempts": 1 })).await;
    let worker = site.worker(&["default"]).await;
    for end in [
        json!({ "outcome": "released" }),
        json!({ "outcome": "snoozed", "snooze_ms": 1 }),
        json!({ "outcome": "discarded", "error": { "class": "Gone", "message": "no such user" } }),
    ] {
        let job = site.claim(&worker).await;
        assert_eq!((&job["id"], &job["failures"]), (&json!(id), &json!(0)));
        let mut end = end;
        end["fence"] = job["fence"].clone();
        assert_eq!(site.finish(&worker, end).await["status"], "done");
    }
    let shown = site.show(&id).await;
    assert_eq!((&shown["state"], &shown["dead_reason"]), (&json!("dead"), &json!("discarded")));
    assert_eq!(shown["last_error"]["class"], "Gone");
}

async fn an_end_needs_no_memory_of_the_server(site: &Site) {
    let id = site.job(json!({ "type": "task", "max_attempts": 3 })).await;
    let worker = site.worker(&["default"]).await;
    let fence = site.claim(&worker).await["fence"].clone();
    // Another server on the same store, which has never heard of the worker or the attempt.
    let monitor = std::sync::Arc::new(dutiful_server::Monitor::new(Default::default()));
    let listening = dutiful_server::Listening::on("127.0.0.1:0").await.unwrap();
    let (over, until_over) = tokio::sync::oneshot::channel::<()>();
    let (address, client, options) = (listening.address(), site.client.clone(), Default::default());
    let answering = tokio::spawn(listening.serve_all(monitor, client, options, async move {
        let _ = until_over.await;
    }));
    let (here, there) = (site.address, address);
    let body = json!({ "ends": [{ "fence": fence, "outcome": "failed", "retry_after_ms": 0 }] });
    let other = crate::ask(there, &format!("{worker}/finish"), &body).await;
    assert_eq!(other.json()["ends"][0]["state"], "failed", "{other:?}");
    let again = crate::ask(here, &format!("{worker}/finish"), &body).await;
    assert_eq!(again.json()["ends"][0]["status"], "lease_lost", "what one ended the other knows");
    let claimed = until(async || {
        let asked = crate::ask(there, &format!("{worker}/claim"), &json!({})).await.json();
        asked["jobs"].as_array().unwrap().first().cloned()
    });
    let job = claimed.await;
    assert_eq!((&job["id"], &job["failures"]), (&json!(id), &json!(1)));
    drop(over);
    answering.await.unwrap();
}

async fn what_a_worker_may_not_ask_is_refused(site: &Site) {
    let register = async |body: Value| site.post("/v1/workers", body).await;
    for (body, says) in [
        (json!({ "name": "", "queues": { "a": 1 }, "types": ["t"] }), "name has"),
        (json!({ "name": "w", "queues": {}, "types": ["t"] }), "at least one"),
        (json!({ "name": "w", "queues": { "a": 1 }, "types": [] }), "at least one"),
        (json!({ "name": "w", "queues": { "a b": 1 }, "types": ["t"] }), "queue name"),
        (json!({ "name": "w", "queues": { "a": 1 }, "types": ["t t"] }), "type name"),
        (
            json!({ "name": "w", "queues": { "a": 1 }, "types": { "t": { "priority": 1001 } } }),
            "priority is 0 to 1000",
        ),
    ] {
        let refused = register(body.clone()).await.problem(422, "invalid");
        assert!(refused.contains(says), "{body}: {refused}");
    }
    let unknown = site.post("/v1/workers/12345/claim", json!({})).await;
    assert!(unknown.problem(404, "not_found").contains("POST /v1/workers"));
    for path in ["/v1/workers/0/claim", "/v1/workers/x/claim", "/v1/workers/-5/extend"] {
        site.post(path, json!({})).await.problem(404, "not_found");
    }
    let worker = site.worker(&["default"]).await;
    for body in [
        json!({ "lease_ms": 10 }),
        json!({ "lease_ms": 86_400_000 }),
        json!({ "wait_ms": 600_000 }),
        json!({ "max": 0 }),
        json!({ "max": 1001 }),
        json!({ "max": 1001, "queues": { "default": 2000, "b": 2000 } }),
        json!({ "queues": { "a b": 1 } }),
        json!({ "unknown": 1 }),
    ] {
        let refused = site.post(&format!("{worker}/claim"), body.clone()).await;
        assert_eq!(refused.code, 422, "{body}: {refused:?}");
    }
    site.post("/v1/leases/nonsense/complete", json!({})).await.problem(404, "not_found");
    let id = site.job(json!({ "type": "task" })).await;
    let job = site.claim(&worker).await;
    let fence = &job["fence"];
    let large = "x".repeat(70_000);
    for (end, status) in [
        (json!({ "fence": fence, "outcome": "completed", "result": large }), 413),
        (json!({ "fence": fence, "outcome": "snoozed" }), 422),
        (json!({ "fence": fence, "outcome": "failed", "retry_after_ms": -1 }), 422),
        (json!({ "fence": fence, "outcome": "done" }), 422),
        (json!({ "fence": "x", "outcome": "completed" }), 422),
    ] {
        let refused = site.post(&format!("{worker}/finish"), json!({ "ends": [end] })).await;
        assert_eq!(refused.code, status, "{end}: {refused:?}");
    }
    assert_eq!(site.show(&id).await["state"], "active", "nothing of that changed the job");
}
