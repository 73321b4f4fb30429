//! Handlers that are registered over HTTP: what is taken, what is refused, and that no secret ever
//! comes out again.

use std::sync::Arc;

use dutiful::Name;
use dutiful::store::{Keep, KeepWhen};
use dutiful_server::Options;
use serde_json::{Value, json};

use crate::access::{JSON, bearer, token, until_code};
use crate::{Answer, Site, promises};

const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// What nobody but `admin` is shown of a URL.
const PATH: &str = "hidden-in-the-path";

impl Site {
    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path, JSON, &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, "", "").await
    }
}

fn url() -> String {
    format!("https://shop.example/{PATH}")
}

promises!(is_listed_shown_changed_and_struck, never_shows_a_secret, refuses_what_cannot_be);

async fn is_listed_shown_changed_and_struck(site: &Site) {
    assert_eq!(site.get("/v1/handlers").await.json(), json!({ "handlers": [] }));
    site.get("/v1/handlers/t").await.problem(404, "not_found");
    let whole = json!({ "url": url(), "secrets": [SECRET, OTHER], "queue": "mail", "priority": 0,
        "timeout_s": 60, "max_attempts": 7, "delivery": "at_most_once", "retry_base_s": 5,
        "discard_status": [422, 404, 404] });
    let made = site.put("/v1/handlers/t", whole).await;
    assert_eq!(made.code, 201, "{made:?}");
    let made = made.json();
    assert_eq!(
        made,
        json!({ "type": "t", "url": url(), "origin": "https://shop.example:443",
            "secret_count": 2, "queue": "mail", "priority": 0, "timeout_s": 60,
            "max_attempts": 7, "delivery": "at_most_once", "retry_base_s": 5,
            "discard_status": [404, 422], "version": made["version"], "trouble": null })
    );
    assert_eq!(site.get("/v1/handlers/t").await.json(), made);
    assert_eq!(site.get("/v1/handlers").await.json(), json!({ "handlers": [made] }));
    // Absent: those that are there are kept. What else is absent is as usual again.
    let changed = site.put("/v1/handlers/t", json!({ "url": url() })).await;
    assert_eq!(changed.code, 200, "{changed:?}");
    let changed = changed.json();
    assert_eq!((&changed["secret_count"], &changed["queue"]), (&json!(2), &json!("default")));
    assert_eq!((&changed["priority"], &changed["discard_status"]), (&json!(null), &json!([])));
    let none = json!({ "url": url(), "secrets": [], "version": changed["version"] });
    let none = site.put("/v1/handlers/t", none).await.json();
    assert_eq!(none["secret_count"], 0);
    let late = json!({ "url": url(), "version": changed["version"] });
    site.put("/v1/handlers/t", late.clone()).await.problem(409, "conflict");
    site.put("/v1/handlers/nobody", late).await.problem(409, "conflict");
    assert_eq!(site.get("/v1/handlers/t").await.json(), none, "nothing was changed by that");
    assert_eq!(site.delete("/v1/handlers/t").await.code, 204);
    site.delete("/v1/handlers/t").await.problem(404, "not_found");
    assert_eq!(site.get("/v1/handlers").await.json(), json!({ "handlers": [] }));
}

async fn never_shows_a_secret(site: &Site) {
    let wrong = "whsec_wrong";
    let mut answers = Vec::new();
    for secrets in [
        json!([SECRET]),
        json!([SECRET, wrong]),
        json!(SECRET),
        json!({ SECRET: 1 }),
        json!([[SECRET]]),
        json!([{ "key": SECRET }]),
        json!(null),
    ] {
        answers.push(site.put("/v1/handlers/t", json!({ "url": url(), "secrets": secrets })).await);
    }
    let codes: Vec<_> = answers.iter().map(|answer| answer.code).collect();
    assert_eq!(codes, [201, 422, 422, 422, 422, 422, 200]);
    for url in ["http://me:hidden-in-the-path@a.example/", "nowhere/hidden-in-the-path"] {
        let refused = site.put("/v1/handlers/t", json!({ "url": url })).await;
        assert!(!refused.body.contains(PATH), "{refused:?}");
        answers.push(refused);
    }
    answers.push(site.get("/v1/handlers").await);
    answers.push(site.delete("/v1/handlers/t").await);
    let audit = site.get("/v1/audit").await;
    let entries = audit.json()["entries"].as_array().unwrap().clone();
    let first = &entries[entries.len() - 1];
    assert_eq!((&first["action"], &first["subject"]), (&json!("handlers.set"), &json!("t")));
    let detail = json!({ "origin": "https://shop.example:443", "queue": "default", "secrets": 1 });
    assert_eq!(first["detail"], detail, "{first}");
    assert_eq!(entries[0]["action"], "handlers.delete", "{entries:?}");
    assert!(!audit.body.contains(PATH), "{audit:?}");
    answers.push(audit);
    for answer in answers {
        for hidden in [KEY, wrong] {
            assert!(!answer.body.contains(hidden), "{answer:?}");
        }
    }
}

async fn refuses_what_cannot_be(site: &Site) {
    let with = |name: &str, value: Value| {
        let mut body = json!({ "url": url() });
        body[name] = value;
        body
    };
    for (body, says) in [
        (json!({}), "missing field `url`"),
        (json!({ "url": "" }), "is not one"),
        (json!({ "url": "ftp://a.example/" }), "only http and https"),
        (json!({ "url": "https://a.example/\u{0}" }), "control character"),
        (json!({ "url": "https://a.example/\r\nx: y" }), "control character"),
        (json!({ "url": format!("https://a.example/{}", "x".repeat(3000)) }), "limit is 2048"),
        (json!({ "url": "http://127.0.0.1/" }), "private_handlers = true in [serve]"),
        (json!({ "url": "http://[::ffff:10.0.0.1]/" }), "private_handlers = true in [serve]"),
        (json!({ "url": "http://169.254.169.254/" }), "never called"),
        (with("secrets", json!(vec![SECRET; 9])), "9 secrets"),
        (with("queue", json!("a b")), "queue"),
        (with("queue", json!("\u{0}")), "queue"),
        (with("queue", json!("q".repeat(129))), "queue"),
        (with("priority", json!(1001)), "priority"),
        (with("priority", json!(-1)), "priority"),
        (with("timeout_s", json!(0)), "timeout"),
        (with("timeout_s", json!(u64::MAX)), "timeout"),
        (with("max_attempts", json!(0)), "0"),
        (with("retry_base_s", json!(0)), "retry_base_s"),
        (with("retry_base_s", json!(86_401)), "retry_base_s"),
        (with("discard_status", json!([200])), "200 is not a status"),
        (with("discard_status", json!([70_000])), "70000"),
        (with("delivery", json!("never")), "never"),
        (with("version", json!("x")), "version"),
        (with("version", json!(7)), "expected a string"),
        (with("allow_private", json!(true)), "unknown field `allow_private`"),
        (with("type", json!("other")), "unknown field `type`"),
    ] {
        let said = site.put("/v1/handlers/t", body.clone()).await.problem(422, "invalid");
        assert!(said.contains(says), "{body}: {said}");
    }
    let listed = site.ask("PUT", "/v1/handlers/t", JSON, "[]").await;
    listed.problem(422, "invalid");
    for name in ["a%20b", "%00", "%0a", "%C3%A9", &"t".repeat(129)] {
        let answer = site.put(&format!("/v1/handlers/{name}"), json!({ "url": url() })).await;
        answer.problem(422, "invalid");
        site.delete(&format!("/v1/handlers/{name}")).await.problem(422, "invalid");
    }
    let own = site.put("/v1/handlers/dutiful.bulk", json!({ "url": url() })).await;
    own.problem(403, "forbidden");
    assert_eq!(site.get("/v1/handlers").await.json(), json!({ "handlers": [] }));
}

#[tokio::test]
async fn there_is_an_end_to_their_number() {
    let site = Site::file().await;
    site.put("/v1/handlers/first", json!({ "url": url() })).await;
    let shelf = || Name::new("shelf", "handlers").unwrap();
    let value = json!({ "url": url(), "queue": "default" }).to_string().into_bytes();
    for number in 1..500 {
        let (key, value) = (format!("t{number}"), Some(value.clone()));
        let ask = Keep { shelf: shelf(), key, value, when: KeepWhen::Absent, ttl: None };
        site.client.store().keep(ask).await.unwrap();
    }
    let said = site.put("/v1/handlers/more", json!({ "url": url() })).await;
    assert!(said.problem(422, "invalid").contains("there are 500"), "{said:?}");
    let changed = site.put("/v1/handlers/first", json!({ "url": url() })).await;
    assert_eq!(changed.code, 200, "those that are there can be changed: {changed:?}");
    assert_eq!(site.delete("/v1/handlers/t7").await.code, 204);
    assert_eq!(site.put("/v1/handlers/more", json!({ "url": url() })).await.code, 201);
    site.close().await;
}

#[tokio::test]
async fn a_type_that_the_server_declares_is_its_own() {
    let other = Site::file().await;
    let mut options = Options::default();
    options.handlers.declared = ["t".to_owned()].into();
    let site = Site::told(&other.url, tempfile::tempdir().unwrap(), options).await;
    let said = site.put("/v1/handlers/t", json!({ "url": url() })).await.problem(409, "declared");
    assert!(said.contains("the file wins"), "{said}");
    // A server that knows nothing of that takes it, and this one says why it does not run it.
    assert_eq!(other.put("/v1/handlers/t", json!({ "url": url() })).await.code, 201);
    let shown = site.get("/v1/handlers/t").await.json();
    assert!(shown["trouble"].as_str().unwrap().contains("declares the type itself"), "{shown}");
    assert_eq!(other.get("/v1/handlers/t").await.json()["trouble"], json!(null));
    assert_eq!(site.delete("/v1/handlers/t").await.code, 204, "it can be struck");
    site.close().await;
    other.close().await;
}

#[tokio::test]
async fn only_who_may_administer_sees_or_changes_them() {
    let site = Site::file().await;
    assert_eq!(site.put("/v1/handlers/t", json!({ "url": url() })).await.code, 201);
    let lesser = bearer(&token(&site, &["read", "enqueue", "work", "operate"], &[]).await);
    until_code(&site, "", 401).await;
    for (method, path) in [
        ("GET", "/v1/handlers"),
        ("GET", "/v1/handlers/t"),
        ("PUT", "/v1/handlers/t"),
        ("DELETE", "/v1/handlers/t"),
    ] {
        let body = json!({ "url": url() }).to_string();
        let answer = site.ask(method, path, &lesser, &body).await;
        assert_eq!(answer.scope().as_deref(), Some("admin"), "{method} {path}: {answer:?}");
        assert!(!answer.body.contains(PATH), "{answer:?}");
    }
    site.close().await;
}

#[tokio::test]
async fn of_many_who_change_one_at_once_none_is_lost_unawares() {
    let site = Arc::new(Site::file().await);
    let made = site.put("/v1/handlers/t", json!({ "url": url() })).await.json();
    let tries = (0..8).map(|number| {
        let (site, version) = (site.clone(), made["version"].clone());
        tokio::spawn(async move {
            let body = json!({ "url": url(), "priority": number, "version": version });
            site.put("/v1/handlers/t", body).await.code
        })
    });
    let tries: Vec<_> = tries.collect();
    let mut codes = Vec::new();
    for one in tries {
        codes.push(one.await.unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, [200, 409, 409, 409, 409, 409, 409, 409]);
}
