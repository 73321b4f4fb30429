//! Changes of all jobs that match a filter, in the background.

use serde_json::{Value, json};

use crate::{Site, promises, until};

promises! {
    all_that_match_are_changed_and_no_others,
    a_group_of_dead_jobs_is_retried_by_its_fingerprint,
    a_slow_operation_keeps_its_rate_and_can_be_cancelled,
    a_slip_in_a_filter_is_refused,
    nobody_starts_or_takes_one_by_another_way,
}

async fn ended(site: &Site, id: &Value) -> Value {
    let path = format!("/v1/operations/{}", id.as_str().unwrap());
    let over = ["completed", "cancelled", "dead"];
    until(async || {
        let seen = site.get(&path).await.json();
        over.contains(&seen["state"].as_str().unwrap()).then_some(seen)
    })
    .await
}

async fn all_that_match_are_changed_and_no_others(site: &Site) {
    let mail: Vec<_> =
        (0..450).map(|n| json!({ "type": "task", "queue": "mail", "payload": n })).collect();
    site.post("/v1/jobs/batch", json!({ "jobs": mail })).await;
    let other = site.job(json!({ "type": "task", "queue": "pdf" })).await;
    let preview = json!({ "filter": { "queue": "mail" } });
    let preview = site.post("/v1/operations/preview", preview).await.json();
    assert_eq!(preview, json!({ "at_least": 450, "exact": true }));
    let operation = json!({ "verb": "cancel", "filter": { "queue": "mail", "state": "pending" } });
    let started = site.post("/v1/operations", operation).await;
    assert_eq!(started.code, 202, "{started:?}");
    // What comes in after it began was not meant.
    let later = site.job(json!({ "type": "task", "queue": "mail" })).await;
    let seen = ended(site, &started.json()["id"]).await;
    assert_eq!((&seen["state"], &seen["changed"]), (&json!("completed"), &json!(450)), "{seen}");
    assert_eq!((&seen["refused"], &seen["percent"]), (&json!(0), &json!(100)));
    for id in [other, later] {
        assert_eq!(site.show(&id).await["state"], "pending");
    }
    let again = json!({ "verb": "delete", "filter": { "queue": "mail", "state": "cancelled" } });
    let started = site.post("/v1/operations", again).await.json();
    assert_eq!(ended(site, &started["id"]).await["changed"], 450);
    let job = site.job(json!({ "type": "task" })).await;
    site.get(&format!("/v1/operations/{job}")).await.problem(404, "not_found");
}

async fn a_group_of_dead_jobs_is_retried_by_its_fingerprint(site: &Site) {
    let worker = site.worker(&["default"]).await;
    let full = site.dead(&worker, "SmtpError", "mailbox 1 is full").await;
    let gone = site.dead(&worker, "SmtpError", "host is gone").await;
    let groups = site.get("/v1/dead/groups").await.json();
    let groups = groups["groups"].as_array().unwrap();
    let group = groups.iter().find(|one| one["sample"] == json!(full)).unwrap();
    let filter = json!({ "fingerprint": group["fingerprint"] });
    let started = site.post("/v1/operations", json!({ "verb": "retry", "filter": filter })).await;
    let seen = ended(site, &started.json()["id"]).await;
    assert_eq!((&seen["changed"], &seen["refused"]), (&json!(1), &json!(0)), "{seen}");
    assert_eq!(site.show(&full).await["state"], "pending");
    assert_eq!(site.show(&gone).await["state"], "dead");
}

async fn a_slow_operation_keeps_its_rate_and_can_be_cancelled(site: &Site) {
    let jobs = vec![json!({ "type": "task" }); 600];
    site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
    let slow = json!({ "verb": "cancel", "filter": { "type": "task" }, "per_second": 5 });
    let started = site.post("/v1/operations", slow).await.json();
    let id = started["id"].as_str().unwrap();
    let some = until(async || {
        let seen = site.get(&format!("/v1/operations/{id}")).await.json();
        (seen["changed"].as_u64() > Some(0)).then_some(seen)
    });
    let some = some.await;
    assert!(some["changed"].as_u64() < Some(100), "five a second, not all at once: {some}");
    site.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await;
    let seen = ended(site, &json!(id)).await;
    assert_eq!(seen["state"], "cancelled");
    let left = site.client.queues().await.unwrap();
    assert!(left.iter().map(|one| one.counts.pending).sum::<u64>() > 400);
}

async fn a_slip_in_a_filter_is_refused(site: &Site) {
    let id = site.job(json!({ "type": "task" })).await;
    for body in [
        json!({ "verb": "delete", "filter": { "quue": "mail" } }),
        json!({ "verb": "delete", "filter": { "queue": "a b" } }),
        json!({ "verb": "delete", "filter": { "state": "gone" } }),
        json!({ "verb": "delete" }),
        json!({ "verb": "burn", "filter": {} }),
        json!({ "verb": "delete", "filter": {}, "per_second": 0 }),
        json!({ "verb": "retry", "filter": { "fingerprint": "x", "state": "failed" } }),
    ] {
        let refused = site.post("/v1/operations", body.clone()).await;
        assert_eq!(refused.code, 422, "{body}: {refused:?}");
    }
    assert_eq!(site.show(&id).await["state"], "pending");
}

async fn nobody_starts_or_takes_one_by_another_way(site: &Site) {
    let bulk = json!({ "type": "dutiful.bulk", "payload": { "verb": "delete", "filter": {} } });
    site.post("/v1/jobs", bulk.clone()).await.problem(403, "forbidden");
    site.post("/v1/jobs/batch", json!({ "jobs": [bulk] })).await.problem(403, "forbidden");
    let worker = json!({ "name": "w", "queues": { "dutiful": 1 }, "types": ["dutiful.bulk"] });
    site.post("/v1/workers", worker).await.problem(403, "forbidden");
    let worker = site.worker(&["dutiful"]).await;
    let claim = json!({ "types": ["dutiful.bulk"] });
    site.post(&format!("{worker}/claim"), claim).await.problem(403, "forbidden");
    for list in [json!([]), json!([null, null]), json!([[]])] {
        site.post(&format!("{worker}/claim"), list).await.problem(422, "invalid");
    }
}
