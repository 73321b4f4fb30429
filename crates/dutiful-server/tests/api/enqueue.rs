//! Jobs that come in over HTTP.

use serde_json::{Value, json};

use crate::{Site, promises};

promises! {
    a_job_keeps_its_payload_byte_for_byte_and_its_settings,
    a_job_sent_again_with_its_id_is_the_same_job,
    an_idempotency_key_stands_for_one_job,
    a_batch_is_stored_whole_or_not_at_all,
    what_is_wrong_is_said_and_nothing_is_stored,
    the_trace_of_the_request_goes_on_in_the_job,
}

async fn a_job_keeps_its_payload_byte_for_byte_and_its_settings(site: &Site) {
    let payload = r#"{"n": 1.00000000000000000001, "big":123456789012345678901234567890, "s":"é"}"#;
    let job = format!(
        r#"{{"type":"task","payload":{payload},"queue":"mail","priority":3,"max_attempts":7,
            "timeout_ms":1500,"delay_ms":3600000,"correlation_id":"request-7","group":"ünï",
            "unique_key":"k","tags":["a","b"],"delivery":"at_most_once"}}"#
    );
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let stored = site.ask("POST", "/v1/jobs", json, &job).await;
    assert_eq!(stored.code, 201, "{stored:?}");
    let shown = site.get(&format!("/v1/jobs/{}", stored.json()["id"].as_str().unwrap())).await;
    assert!(shown.body.contains(&format!("\"payload\":{payload}")), "{}", shown.body);
    let shown = shown.json();
    for (name, value) in [
        ("type", json!("task")),
        ("state", json!("scheduled")),
        ("queue", json!("mail")),
        ("priority", json!(3)),
        ("max_attempts", json!(7)),
        ("timeout_ms", json!(1500)),
        ("correlation_id", json!("request-7")),
        ("group", json!("ünï")),
        ("unique_key", json!("k")),
        ("tags", json!(["a", "b"])),
        ("delivery", json!("at_most_once")),
        ("attempt", json!(0)),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    let other = site.post("/v1/jobs", json!({ "type": "task", "unique_key": "k" })).await;
    assert_eq!((other.code, &other.json()["outcome"]), (200, &json!("duplicate")));
    assert_eq!(other.json()["id"], shown["id"]);
}

async fn a_job_sent_again_with_its_id_is_the_same_job(site: &Site) {
    let id = dutiful::JobId::new().to_string();
    let job = json!({ "type": "task", "id": id, "payload": [1] });
    let (first, second) = (site.post("/v1/jobs", job.clone()).await, site.post("/v1/jobs", job));
    let second = second.await;
    assert_eq!((first.code, &first.json()["outcome"]), (201, &json!("new")));
    assert_eq!((second.code, &second.json()["outcome"]), (200, &json!("exists")));
    assert_eq!(site.get("/v1/stats").await.json()["totals"]["pending"], 1);
}

async fn an_idempotency_key_stands_for_one_job(site: &Site) {
    let send = async |key: &str, body: &str| {
        let head = format!("Content-Type: application/json\r\nIdempotency-Key: {key}\r\n");
        site.ask("POST", "/v1/jobs", &head, body).await
    };
    let body = r#"{"type":"task"}"#;
    let (first, second) = (send("order-7", body).await, send("order-7", body).await);
    assert_eq!((first.code, second.code), (201, 200));
    let (first, second) = (first.json(), second.json());
    assert_eq!((&second["id"], &second["outcome"]), (&first["id"], &json!("exists")));
    let at_once = (0..10).map(|_| send("order-8", body));
    let answers = futures_util::future::join_all(at_once).await;
    assert_eq!(answers.iter().filter(|one| one.code == 201).count(), 1, "{answers:?}");
    assert_eq!(site.client.stats().await.unwrap().totals.pending, 2);
    send("", body).await.problem(422, "invalid");
    send(&"k".repeat(256), body).await.problem(422, "invalid");
    let with_id = format!(r#"{{"type":"task","id":"{}"}}"#, dutiful::JobId::new());
    send("order-9", &with_id).await.problem(422, "invalid");
}

async fn a_batch_is_stored_whole_or_not_at_all(site: &Site) {
    let mut jobs: Vec<Value> = (0..300).map(|n| json!({ "type": "task", "payload": n })).collect();
    let stored = site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
    assert_eq!((stored.code, stored.json()["jobs"].as_array().unwrap().len()), (200, 300));
    jobs[299] = json!({ "type": "task", "payload": 1, "priority": 5000 });
    let refused = site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
    assert!(refused.problem(422, "invalid").contains("priority 5000"), "{refused:?}");
    jobs[299] = json!({ "type": "task", "timeout_ms": -1 });
    let refused = site.post("/v1/jobs/batch", json!({ "jobs": jobs })).await;
    assert!(refused.problem(422, "invalid").contains("number 299"), "{refused:?}");
    let many = vec![json!({ "type": "task" }); 1001];
    let refused = site.post("/v1/jobs/batch", json!({ "jobs": many })).await;
    assert!(refused.problem(413, "too_large").contains("1000"), "{refused:?}");
    let listed = site.client.queues().await.unwrap();
    assert_eq!(listed.iter().map(|one| one.counts.pending).sum::<u64>(), 300);
}

async fn what_is_wrong_is_said_and_nothing_is_stored(site: &Site) {
    for (body, status, code, says) in [
        ("", 422, "invalid", "missing field `type`"),
        ("nonsense", 400, "bad_request", "not JSON"),
        (r#"{"type":"task""#, 400, "bad_request", "not JSON"),
        (r#"[]"#, 422, "invalid", "the body"),
        (r#"{"type":"a b"}"#, 422, "invalid", "type name"),
        (r#"{"type":"task","queue":"a/b"}"#, 422, "invalid", "queue name"),
        (r#"{"type":"task","prority":1}"#, 422, "invalid", "unknown field `prority`"),
        (r#"{"type":"task","priority":-1}"#, 422, "invalid", "0 to 1000"),
        (r#"{"type":"task","id":"x"}"#, 422, "invalid", "not a job id"),
        (r#"{"type":"task","scheduled_for":"soon"}"#, 422, "invalid", "not a time"),
        (r#"{"type":"task","delay_ms":-1}"#, 422, "invalid", "cannot be negative"),
        (r#"{"type":"task","payload":"\u0000"}"#, 422, "invalid", "NUL"),
        (r#"{"type":"task","payload":1e999}"#, 422, "invalid", "JSON"),
        (r#"{"type":"task","tags":[""]}"#, 422, "invalid", "tag"),
    ] {
        let answer = site.ask("POST", "/v1/jobs", "Content-Type: application/json\r\n", body).await;
        let detail = answer.problem(status, code);
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let deep = format!(r#"{{"type":"task","payload":{deep}}}"#);
    let deep = site.ask("POST", "/v1/jobs", "Content-Type: application/json\r\n", &deep).await;
    assert!(deep.problem(422, "invalid").contains("nested"), "{deep:?}");
    let large = json!({ "type": "task", "payload": "x".repeat(300 * 1024) });
    let large = site.post("/v1/jobs", large).await;
    assert!(large.problem(413, "too_large").contains("262144"), "{large:?}");
    let huge = json!({ "type": "task", "payload": "x".repeat(2 * 1024 * 1024) });
    site.post("/v1/jobs", huge).await.problem(413, "too_large");
    assert_eq!(site.get("/v1/stats").await.json()["totals"]["pending"], 0);
}

async fn the_trace_of_the_request_goes_on_in_the_job(site: &Site) {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let send = async |head: &str, body: &str| {
        let head = format!("Content-Type: application/json\r\n{head}");
        let answer = site.ask("POST", "/v1/jobs", &head, body).await;
        assert_eq!(answer.code, 201, "{answer:?}");
        site.show(answer.json()["id"].as_str().unwrap()).await["trace_parent"].clone()
    };
    let header = format!("traceparent: {trace}\r\n");
    assert_eq!(send(&header, r#"{"type":"task"}"#).await, trace);
    let own = trace.replace("b7ad", "c8be");
    let body = format!(r#"{{"type":"task","trace_parent":"{own}"}}"#);
    assert_eq!(send(&header, &body).await, own);
    assert_eq!(send("traceparent: nonsense\r\n", r#"{"type":"task"}"#).await, Value::Null);
}
