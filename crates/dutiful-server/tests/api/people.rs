//! People with a browser: sessions by password or token, a proxy that knows them, what they see and
//! what is written down about them.

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful_server::{Options, ProxyOptions, hash_password, tokens};
use serde_json::{Value, json};

use crate::Site;
use crate::access::{JSON, bearer, token, until_code};

/// Signs in and returns the cookie.
pub(crate) async fn sign_in(site: &Site, body: Value) -> Result<String, u16> {
    let head = format!("{JSON}Sec-Fetch-Site: same-origin\r\n");
    let answer = site.ask("POST", "/v1/session", &head, &body.to_string()).await;
    if answer.code != 204 {
        return Err(answer.code);
    }
    // The head is in small letters here, and the secret is not.
    let raw = answer.raw_header("set-cookie").unwrap();
    for rule in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(raw.contains(rule), "{raw}");
    }
    let pair = raw.split(';').next().unwrap();
    assert!(pair.starts_with("__Host-dutiful="), "{pair}");
    Ok(pair.to_owned())
}

#[tokio::test]
async fn a_person_signs_in_by_password_and_out_again() {
    let mut options = Options::default();
    options.access.password_hash = Some(hash_password("correct horse").unwrap());
    let site = Site::file_told(options).await;
    site.get("/v1/stats").await.problem(401, "unauthorized");
    let who = site.get("/v1/session").await.json();
    let nobody = json!({ "open": false, "actor": null, "scopes": [], "password": true });
    assert_eq!(who, nobody);
    assert_eq!(sign_in(&site, json!({ "password": "wrong" })).await, Err(401));
    let cookie = sign_in(&site, json!({ "password": "correct horse" })).await.unwrap();
    let own = format!("{JSON}Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n");
    let who = site.ask("GET", "/v1/session", &own, "").await.json();
    assert_eq!((&who["actor"], who["scopes"].as_array().unwrap().len()), (&json!("operator"), 5));
    let job = r#"{"type":"task"}"#;
    assert_eq!(site.ask("POST", "/v1/jobs", &own, job).await.code, 201);
    // Another site's page, or a program that found the cookie and says nothing.
    let other = format!("{JSON}Cookie: {cookie}\r\nSec-Fetch-Site: cross-site\r\n");
    site.ask("POST", "/v1/jobs", &other, job).await.problem(403, "forbidden");
    let silent = format!("{JSON}Cookie: {cookie}\r\n");
    site.ask("POST", "/v1/jobs", &silent, job).await.problem(403, "forbidden");
    assert_eq!(site.ask("DELETE", "/v1/session", &own, "").await.code, 204);
    site.ask("GET", "/v1/stats", &own, "").await.problem(401, "unauthorized");
    // Guesses have to wait.
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(sign_in(&site, json!({ "password": "wrong" })).await.unwrap_err());
    }
    assert_eq!(codes.last(), Some(&429), "{codes:?}");
    site.close().await;
}

#[tokio::test]
async fn a_session_of_a_token_ends_with_the_token() {
    let site = Site::file().await;
    let made = token(&site, &["read"], &[]).await;
    until_code(&site, "", 401).await;
    assert_eq!(sign_in(&site, json!({ "token": "dut_a_b" })).await, Err(401));
    let cookie = sign_in(&site, json!({ "token": made })).await.unwrap();
    let own = format!("{JSON}Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n");
    until_code(&site, &own, 200).await;
    let refused = site.ask("POST", "/v1/queues/default/pause", &own, "{}").await;
    assert_eq!(refused.scope().as_deref(), Some("operate"), "no more than the token may");
    let id = tokens::list(&site.client).await.unwrap()[0].id.clone();
    assert!(tokens::revoke(&site.client, &id).await.unwrap());
    assert!(until_code(&site, &own, 401).await < Duration::from_secs(1));
    site.close().await;
}

#[tokio::test]
async fn a_proxy_is_believed_from_its_own_address_only() {
    let mut proxy = ProxyOptions::new("X-Forwarded-User");
    let mut options = Options::default();
    options.access.hosts = vec!["jobs.example".into()];
    options.access.proxy = Some(proxy.clone());
    let site = Site::file_told(options.clone()).await;
    site.get("/v1/stats").await.problem(401, "unauthorized");
    let ann = format!("{JSON}Host: jobs.example:443\r\nX-Forwarded-User: ann\r\n");
    assert_eq!(site.ask("GET", "/v1/stats", &ann, "").await.code, 200);
    assert_eq!(site.ask("POST", "/v1/queues/default/pause", &ann, "{}").await.code, 200);
    let log = site.ask("GET", "/v1/audit", &ann, "").await.json();
    assert_eq!(log["entries"][0]["actor"], "ann", "{log}");
    let admin = site.ask("GET", "/v1/tokens", &ann, "").await;
    assert_eq!(admin.scope().as_deref(), Some("admin"));
    let two = format!("{ann}X-Forwarded-User: bob\r\n");
    site.ask("GET", "/v1/stats", &two, "").await.problem(401, "unauthorized");
    let other = "Host: evil.example\r\nX-Forwarded-User: ann\r\n";
    site.ask("GET", "/v1/stats", other, "").await.problem(421, "misdirected");
    site.close().await;
    proxy.from = vec!["192.0.2.1".parse().unwrap()];
    options.access.proxy = Some(proxy);
    let site = Site::file_told(options).await;
    site.ask("GET", "/v1/stats", &ann, "").await.problem(401, "unauthorized");
    site.close().await;
}

#[tokio::test]
async fn what_operators_do_is_written_down_and_nothing_takes_it_away() {
    for site in [Site::file().await, Site::postgres().await] {
        let id = site.job(json!({ "type": "task" })).await;
        let paths = [format!("/v1/jobs/{id}/cancel"), "/v1/queues/mail/pause".to_owned()];
        for path in &paths {
            assert_eq!(site.post(path, json!({})).await.code, 200);
        }
        site.post(&format!("/v1/jobs/{id}/discard"), json!({})).await.problem(409, "wrong_state");
        let bulk = json!({ "verb": "retry", "filter": { "queue": "mail" } });
        assert_eq!(site.post("/v1/operations", bulk).await.code, 202);
        let page = site.get("/v1/audit?limit=3").await.json();
        let said = |entry: &Value| {
            let word = |name: &str| entry[name].as_str().unwrap().to_owned();
            (word("action"), word("subject"), entry["status"].as_u64())
        };
        let newest: Vec<_> = page["entries"].as_array().unwrap().iter().map(said).collect();
        let of =
            |action: &str, subject: &str, status| (action.into(), subject.into(), Some(status));
        let three = [
            of("operations.create", "", 202),
            of("jobs.discard", &id, 409),
            of("queues.pause", "mail", 200),
        ];
        assert_eq!(newest, three);
        assert_eq!(page["entries"][0]["detail"]["filter"]["queue"], "mail");
        assert_eq!(page["entries"][0]["actor"], "anybody");
        let next = format!("/v1/audit?before={}", page["next"].as_str().unwrap());
        let rest = site.get(&next).await.json();
        assert_eq!(said(&rest["entries"][0]), of("jobs.cancel", &id, 200));
        assert_eq!((rest["entries"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
        for path in
            ["/v1/audit".to_owned(), format!("/v1/audit/{}", page["next"].as_str().unwrap())]
        {
            for method in ["DELETE", "PUT", "POST", "PATCH"] {
                let answer = site.ask(method, &path, JSON, "{}").await;
                assert!(matches!(answer.code, 404 | 405), "{method} {path}: {answer:?}");
            }
        }
        site.close().await;
    }
}

#[tokio::test]
async fn hidden_fields_are_shown_to_administrators_alone() {
    let mut options = Options::default();
    let fields = vec!["password".to_owned(), "card.number".to_owned()];
    options.redact = BTreeMap::from([("task".to_owned(), fields)]);
    let site = Site::file_told(options).await;
    let payload =
        json!({ "to": "ann", "password": "swordfish", "card": { "number": 4242424242u64 } });
    let job = json!({ "type": "task", "payload": payload, "max_attempts": 1 });
    let id = site.job(job).await;
    let worker = site.worker(&["default"]).await;
    let claimed = site.claim(&worker).await;
    assert_eq!(claimed["payload"], payload, "whoever works on it sees it all");
    let log = json!({ "lines": ["signing in with swordfish"] });
    let fence = claimed["fence"].as_str().unwrap();
    assert_eq!(site.post(&format!("/v1/leases/{fence}/log"), log).await.code, 204);
    let error = json!({ "class": "refused", "message": "swordfish and 4242424242 are wrong" });
    let end = json!({ "fence": fence, "outcome": "failed", "error": error });
    assert_eq!(site.finish(&worker, end).await["state"], "dead");
    let seen = site.get(&format!("/v1/jobs/{id}")).await;
    assert!(!seen.body.contains("swordfish") && !seen.body.contains("4242424242"), "{seen:?}");
    assert_eq!(seen.json()["payload"]["to"], "ann");
    assert_eq!(seen.json()["attempts"][0]["log"][0]["text"], "signing in with [redacted]");
    let result = site.get(&format!("/v1/jobs/{id}/result")).await;
    assert!(!result.body.contains("swordfish"), "{result:?}");
    let listed = site.get("/v1/jobs?state=dead").await;
    assert!(!listed.body.contains("swordfish"), "{listed:?}");
    let said = "[redacted] and [redacted] are wrong";
    assert_eq!(listed.json()["jobs"][0]["last_error"]["message"], said);
    let groups = site.get("/v1/dead/groups").await;
    assert_eq!(groups.json()["groups"][0]["message"], said, "{groups:?}");
    // Somebody mends what they see, and what they do not see stays.
    let mut edited = seen.json()["payload"].clone();
    edited["to"] = json!("bob");
    let copy = site.post(&format!("/v1/jobs/{id}/edit"), json!({ "payload": edited })).await;
    assert_eq!(copy.code, 201, "{copy:?}");
    let whole = site.claim(&worker).await["payload"].clone();
    assert_eq!((&whole["to"], &whole["password"]), (&json!("bob"), &json!("swordfish")));
    let admin = bearer(&token(&site, &["admin"], &[]).await);
    let reader = bearer(&token(&site, &["read"], &[]).await);
    until_code(&site, "", 401).await;
    let path = format!("/v1/jobs/{id}");
    assert!(site.ask("GET", &path, &admin, "").await.body.contains("swordfish"));
    assert!(!site.ask("GET", &path, &reader, "").await.body.contains("swordfish"));
    assert!(site.ask("GET", "/v1/jobs", &admin, "").await.body.contains("swordfish"));
    assert!(!site.ask("GET", "/v1/jobs", &reader, "").await.body.contains("swordfish"));
    site.close().await;
}
