//! What a worker of another language could get wrong, or a person do twice, without harm.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{Site, promises};

promises! {
    a_worker_is_given_one_crashed_job_at_a_time,
    a_lease_is_renewed_for_as_long_as_it_was_claimed_for,
    an_at_most_once_job_is_ended_by_its_fence_too,
    a_time_that_cannot_be_true_counts_as_no_more_than_passed,
    an_edit_sent_again_is_the_same_copy,
    lines_logged_at_once_are_all_kept,
    no_queue_is_the_first_each_time,
}

async fn claim(site: &Site, worker: &str, ask: Value) -> Vec<Value> {
    let claimed = site.post(&format!("{worker}/claim"), ask).await;
    assert_eq!(claimed.code, 200, "{claimed:?}");
    claimed.json()["jobs"].as_array().unwrap().clone()
}

async fn a_worker_is_given_one_crashed_job_at_a_time(site: &Site) {
    let jobs = vec![json!({ "type": "task" }); 3];
    site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
    let worker = site.worker(&["default"]).await;
    let short = json!({ "max": 3, "lease_ms": 1000 });
    assert_eq!(claim(site, &worker, short).await.len(), 3);
    // All three are taken back, and each has crashed a worker now.
    let first = claim(site, &worker, json!({ "wait_ms": 20_000 })).await;
    assert_eq!((first.len(), &first[0]["crashes"]), (1, &json!(1)));
    let ask = || claim(site, &worker, json!({ "max": 3 }));
    let more = join_all((0..5).map(|_| ask())).await;
    assert!(more.iter().all(Vec::is_empty), "its neighbours would be blamed: {more:?}");
    let other = site.worker(&["default"]).await;
    let theirs = claim(site, &other, json!({ "max": 3, "wait_ms": 20_000 })).await;
    assert_eq!(theirs.len(), 1, "another worker takes one, too");
    let end = json!({ "fence": first[0]["fence"], "outcome": "completed" });
    assert_eq!(site.finish(&worker, end).await["status"], "done");
    assert_eq!(claim(site, &worker, json!({ "max": 3, "wait_ms": 20_000 })).await.len(), 1);
}

async fn a_lease_is_renewed_for_as_long_as_it_was_claimed_for(site: &Site) {
    let id = site.job(json!({ "type": "task" })).await;
    let worker = site.worker(&["default"]).await;
    let held = claim(site, &worker, json!({ "lease_ms": 1000 })).await;
    let lease = format!("/v1/leases/{}/extend", held[0]["fence"].as_str().unwrap());
    let began = Instant::now();
    assert_eq!(site.post(&lease, json!({})).await.code, 200);
    let again = site.claim(&worker).await;
    assert_eq!((&again["id"], &again["attempt"]), (&json!(id), &json!(2)));
    assert!(began.elapsed() < Duration::from_secs(15), "it was renewed for half a minute");
}

async fn an_at_most_once_job_is_ended_by_its_fence_too(site: &Site) {
    let id = site.job(json!({ "type": "task", "delivery": "at_most_once" })).await;
    let worker = site.worker(&["default"]).await;
    let job = site.claim(&worker).await;
    let fence = job["fence"].as_str().unwrap();
    let lease = |what: &str| format!("/v1/leases/{fence}/{what}");
    assert_eq!(site.post(&lease("extend"), json!({})).await.json(), json!({ "cancel": false }));
    let beat = site.post(&format!("{worker}/extend"), json!({ "fences": [fence] })).await.json();
    assert_eq!(beat["leases"][0]["held"], true);
    let ended = site.post(&lease("complete"), json!({ "result": 7 })).await;
    assert_eq!(ended.code, 204, "{ended:?}");
    let shown = site.show(&id).await;
    assert_eq!(shown["result"], 7);
    assert_eq!(shown["attempts"][0]["outcome"], "completed");
    site.post(&lease("complete"), json!({ "result": 8 })).await.problem(409, "lease_lost");
}

async fn a_time_that_cannot_be_true_counts_as_no_more_than_passed(site: &Site) {
    let worker = site.worker(&["default"]).await;
    for _ in 0..2 {
        site.job(json!({ "type": "task" })).await;
        let fence = site.claim(&worker).await["fence"].clone();
        let end = json!({ "fence": fence, "outcome": "completed", "ran_ms": i64::MAX });
        assert_eq!(site.finish(&worker, end).await["status"], "done");
    }
    let totals = site.client.totals().await.unwrap();
    assert!(totals[0].ran.sum < Duration::from_secs(60), "{totals:?}");
    assert_eq!(totals[0].completed, 2);
}

async fn an_edit_sent_again_is_the_same_copy(site: &Site) {
    let worker = site.worker(&["default"]).await;
    let id = site.dead(&worker, "Bad", "no address").await;
    let path = format!("/v1/jobs/{id}/edit");
    let edit = |to: &str| site.post(&path, json!({ "payload": { "to": to } }));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(edit("ann").await.json()["id"].clone());
    }
    assert!(ids[0].is_string() && ids.iter().all(|one| *one == ids[0]), "{ids:?}");
    assert_eq!(site.client.stats().await.unwrap().totals.pending, 1);
    assert_ne!(edit("bob").await.json()["id"], ids[0], "another payload is another wish");
}

async fn lines_logged_at_once_are_all_kept(site: &Site) {
    let id = site.job(json!({ "type": "task" })).await;
    let worker = site.worker(&["default"]).await;
    let fence = site.claim(&worker).await["fence"].clone();
    let path = format!("/v1/leases/{}/log", fence.as_str().unwrap());
    let log = |n: usize| site.post(&path, json!({ "lines": [n.to_string()] }));
    let told: Vec<_> = join_all((0..20).map(log)).await.iter().map(|one| one.code).collect();
    assert_eq!(told, [204; 20]);
    let shown = site.show(&id).await;
    assert_eq!(shown["attempts"][0]["log"].as_array().unwrap().len(), 20);
}

async fn no_queue_is_the_first_each_time(site: &Site) {
    let job = |n: usize| json!({ "type": "task", "queue": if n < 60 { "a" } else { "b" } });
    let jobs: Vec<_> = (0..120).map(job).collect();
    site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
    let worker = site.worker(&["a", "b"]).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let one = site.claim(&worker).await;
        seen.insert(one["queue"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 2, "fifty draws of two queues");
}
