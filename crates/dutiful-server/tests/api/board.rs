//! The board of alerts on real stores: who looks, what is remembered, who knows, and how thresholds
//! are changed.

use dutiful::store::KeptRange;
use dutiful::{Client, Name};
use dutiful_server::alerts::{AlertOptions, acknowledge, read};
use serde_json::{Value, json};

use crate::alerts::options;
use crate::{Site, until};

/// Returns who has the turn to look.
async fn holder(client: &Client) -> Option<String> {
    let shelf = Name::new("shelf", "turns").unwrap();
    let range = KeptRange { shelf, from: "alerts".into(), to: None, newest_first: false, limit: 1 };
    let item = client.store().kept(range).await.unwrap().pop()?;
    Some(String::from_utf8(item.value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_looks_and_both_show_the_same() {
    let one = Site::watched(json!({})).await;
    until(async || holder(&one.client).await).await;
    let first = holder(&one.client).await.unwrap();
    let other = one.watched_too(json!({})).await;
    one.enqueue(2, "mail").await;
    let here = one.sees("no_workers:mail", "firing").await;
    let there = other.sees("no_workers:mail", "firing").await;
    assert_eq!((&here["since"], &here["id"]), (&there["since"], &there["id"]));
    assert_eq!(holder(&one.client).await, Some(first.clone()), "the second leaves it to the first");
    // The turn goes to the other one when its holder ends.
    let client = Client::connect(&one.url).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let Site { over, answering, working, .. } = one;
    drop(over);
    answering.await.unwrap();
    working.abort();
    until(async || holder(&client).await.filter(|now| *now != first)).await;
    other.worker(&["mail"]).await;
    other.sees("no_workers:mail", "resolved").await;
    drop(dir);
    other.close().await;
    client.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    let start = async || {
        let own = tempfile::tempdir().unwrap();
        Site::set(&url, own, options(&json!({})), |client| client).await
    };
    let site = start().await;
    let worker = site.worker(&["default"]).await;
    site.dead(&worker, "Bad", "no address").await;
    site.enqueue(1, "mail").await;
    let before = site.sees("no_workers:mail", "firing").await;
    site.sees("dead:default", "firing").await;
    let path = "/v1/alerts/dead:default/acknowledge";
    assert_eq!(site.ask("POST", path, "", "").await.code, 200);
    let looked = site.get("/v1/alerts").await.json()["looked_at"].clone();
    site.close().await;
    let site = start().await;
    until(async || {
        let now = site.get("/v1/alerts").await.json()["looked_at"].clone();
        (now != looked).then_some(())
    })
    .await;
    let after = site.alert("no_workers:mail").await.unwrap();
    assert_eq!((&after["since"], &after["state"]), (&before["since"], &json!("firing")));
    let dead = site.alert("dead:default").await.unwrap();
    assert_eq!(dead["state"], "resolved", "what was acknowledged stays so: {dead}");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_are_changed_by_queue_while_it_runs() {
    let file = json!({ "rules": { "dead": { "threshold": 1 } } });
    let site = Site::watched(file).await;
    let worker = site.worker(&["default"]).await;
    site.dead(&worker, "Bad", "no address").await;
    let rules = site.get("/v1/alerts/rules").await.json();
    let dead = |rules: &Value, queue: Value| {
        let all = rules["rules"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["rule"] == "dead" && one["queue"] == queue)
    };
    assert_eq!(dead(&rules, json!(null)).unwrap()["threshold"], 1.0, "the file says so");
    assert_eq!((&rules["kept"]["queues"], &rules["version"]), (&json!({}), &json!(null)));
    let change = json!({ "queues": { "default": { "dead": {
        "threshold": 0, "severity": "critical"
    } } } });
    let changed = site.put_rules(&change).await.json();
    assert_eq!(dead(&changed, json!("default")).unwrap()["threshold"], 0.0);
    let alert = site.sees("dead:default", "firing").await;
    assert_eq!(alert["severity"], "critical");
    let metrics = site.get("/metrics").await.body;
    for row in [
        "dutiful_alerts_firing{rule=\"dead\",severity=\"critical\"} 1\n",
        "dutiful_alerts_firing{rule=\"depth\",severity=\"warning\"} 0\n",
    ] {
        assert!(metrics.contains(row), "{row} is missing in\n{metrics}");
    }
    let off = json!({
        "queues": { "default": { "dead": { "enabled": false } } }, "version": changed["version"],
    });
    assert_eq!(site.put_rules(&off).await.code, 200);
    site.sees("dead:default", "resolved").await;
    site.put_rules(&off).await.problem(409, "conflict");
    for wrong in [
        json!({ "rules": { "error_rate": { "threshold": 500 } } }),
        json!({ "rules": { "lateness": {} } }),
        json!({ "queues": { "a b": { "dead": {} } } }),
        json!({ "version": "x" }),
    ] {
        site.put_rules(&wrong).await.problem(422, "invalid");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_them_too() {
    let site = Site::postgres().await;
    let url = site.url.clone();
    site.close().await;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::set(&url, dir, options(&json!({})), |client| client).await;
    let worker = site.worker(&["default"]).await;
    site.dead(&worker, "Bad", "no address").await;
    site.enqueue(2, "mail").await;
    site.sees("dead:default", "firing").await;
    site.sees("no_workers:mail", "firing").await;
    let known = site.ask("POST", "/v1/alerts/dead:default/acknowledge", "", "").await;
    assert_eq!(known.code, 200, "{known:?}");
    site.sees("dead:default", "resolved").await;
    site.worker(&["mail"]).await;
    site.sees("no_workers:mail", "resolved").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_tells_what_it_can_where_no_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    let client = Client::connect(&url).await.unwrap();
    let mut options = AlertOptions::default();
    client.enqueue_raw("task", "{}").queue("mail").await.unwrap();
    let seen = read(&client, &options).await.unwrap();
    assert!(seen.at_once, "no server wrote anything");
    let ids = |seen: &dutiful_server::alerts::Seen| -> Vec<String> {
        seen.alerts.alerts.iter().map(|one| one.id.clone()).collect()
    };
    assert!(ids(&seen).contains(&"no_workers:mail".to_owned()), "{seen:?}");
    assert_eq!(seen.alerts.worst(), Some(dutiful_server::alerts::Severity::Critical));
    let known = acknowledge(&client, &options, "no_workers:mail", "ann").await.unwrap();
    assert_eq!(known.acknowledged.unwrap().by, "ann");
    let seen = read(&client, &options).await.unwrap();
    let known = seen.alerts.alerts.iter().find(|one| one.id == "no_workers:mail").unwrap();
    assert_eq!(known.acknowledged.as_ref().map(|one| one.by.as_str()), Some("ann"));
    let off = json!({ "queues": { "mail": { "no_workers": { "enabled": false } } } });
    options.rules = serde_json::from_value(off).unwrap();
    let seen = read(&client, &options).await.unwrap();
    assert_ne!(seen.alerts.worst(), Some(dutiful_server::alerts::Severity::Critical), "{seen:?}");
    client.close().await.unwrap();
}
