//! Who may do what: every route with no, a wrong and a lesser credential, and what a token for some
//! queues, a session and a proxy are let do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dutiful_server::tokens::{self, NewToken};
use serde_json::{Value, json};

use crate::people::sign_in;
use crate::{Answer, PATIENCE, Site};

pub(crate) const JSON: &str = "Content-Type: application/json\r\n";
/// Routes that answer whoever asks.
const FOR_ANYONE: [&str; 3] = ["get /v1/session", "post /v1/session", "delete /v1/session"];

pub(crate) async fn token(site: &Site, scopes: &[&str], queues: &[&str]) -> String {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let new = NewToken {
        name: scopes.join("+"),
        scopes: names(scopes),
        queues: names(queues),
        ..NewToken::default()
    };
    tokens::create(&site.client, new).await.unwrap().0
}

pub(crate) fn bearer(token: &str) -> String {
    format!("{JSON}Authorization: Bearer {token}\r\n")
}

/// Waits until a request is answered so: what was changed past the server is seen in a moment.
pub(crate) async fn until_code(site: &Site, head: &str, code: u16) -> Duration {
    let start = Instant::now();
    while site.ask("GET", "/v1/stats", head, "").await.code != code {
        assert!(start.elapsed() < PATIENCE, "never {code}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// Every method and path of the router's table, with something in place of its names, and the scope
/// that it asks for, which its refusal names.
async fn routes(site: &Site) -> Vec<(String, String)> {
    let api = site.get("/openapi.json").await.json();
    let mut all = vec![("GET".to_owned(), "/metrics".to_owned())];
    for (path, methods) in api["paths"].as_object().unwrap() {
        let path =
            path.replace("{queue}", "default").replace("{fence}", "x").replace("{type}", "t");
        let path = path.replace("{id}", "0197a8f4-0000-7000-8000-000000000000");
        assert!(!path.contains('{'), "{path}: what to put there?");
        for method in methods.as_object().unwrap().keys() {
            if !FOR_ANYONE.contains(&format!("{method} {path}").as_str()) {
                all.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(all.len() > 40, "{}", all.len());
    all
}

#[tokio::test]
async fn every_route_refuses_whoever_shows_no_or_a_wrong_credential() {
    let site = Site::file().await;
    let made = token(&site, &["admin"], &[]).await;
    until_code(&site, "", 401).await;
    let short = NewToken {
        name: "short".into(),
        scopes: vec!["admin".into()],
        expires_in: Some(Duration::from_millis(1)),
        ..NewToken::default()
    };
    let (expired, _) = tokens::create(&site.client, short).await.unwrap();
    let mut forged = made.clone();
    forged.replace_range(forged.len() - 1.., if made.ends_with('A') { "B" } else { "A" });
    let wrong = [
        JSON.to_owned(),
        bearer(""),
        bearer("x"),
        bearer("dut_x_y"),
        bearer(&expired),
        bearer(&forged),
        bearer(&made[..made.len() - 1]),
        bearer(&format!("{made}A")),
        format!("{JSON}Authorization: Basic {made}\r\n"),
        format!("{}Authorization: Bearer {made}\r\n", bearer("x")),
        format!("{JSON}Cookie: __Host-dutiful={made}\r\nSec-Fetch-Site: same-origin\r\n"),
        format!("{JSON}X-Forwarded-User: admin\r\n"),
    ];
    for (method, path) in routes(&site).await {
        for head in &wrong {
            let answer = site.ask(&method, &path, head, "{}").await;
            assert_eq!(answer.code, 401, "{method} {path} with {head}: {answer:?}");
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    for open in ["/", "/jobs", "/assets/app.js", "/healthz", "/readyz", "/openapi.json", "/docs"] {
        let answer = site.get(open).await;
        assert!(matches!(answer.code, 200 | 503), "{open}: {answer:?}");
    }
    assert_eq!(site.ask("GET", "/v1/stats", &bearer(&made), "").await.code, 200);
    site.close().await;
}

#[tokio::test]
async fn every_route_refuses_a_token_of_another_scope() {
    let site = Site::file().await;
    let mut by_scope = BTreeMap::new();
    for scope in ["read", "enqueue", "work", "operate", "admin"] {
        by_scope.insert(scope, bearer(&token(&site, &[scope], &[]).await));
    }
    until_code(&site, "", 401).await;
    let mut seen = BTreeMap::<String, usize>::new();
    // That stream has no end for whoever is let in.
    let endless = |(_, path): &(String, String)| path == "/v1/events";
    for (method, path) in routes(&site).await.into_iter().filter(|route| !endless(route)) {
        let mut needed = None;
        for (scope, head) in &by_scope {
            // A body that nobody takes for a change.
            let answer = site.ask(&method, &path, head, r#"{"no such name":1}"#).await;
            let named = answer.scope();
            if *scope == "admin" {
                assert_eq!(named, None, "{method} {path}: admin may do everything");
                continue;
            }
            match named {
                Some(scope) => needed = Some(scope),
                // Let in: the route says of others that they need this very scope.
                None => assert!(answer.code != 401, "{method} {path}: {answer:?}"),
            }
        }
        let needed = needed.unwrap_or_else(|| panic!("{method} {path} lets every scope in"));
        for (scope, head) in &by_scope {
            let answer = site.ask(&method, &path, head, r#"{"no such name":1}"#).await;
            let in_any_case = *scope == "admin" || *scope == needed;
            assert_eq!(answer.scope().is_none(), in_any_case, "{method} {path} with {scope}");
        }
        *seen.entry(needed).or_default() += 1;
    }
    assert_eq!(seen.len(), 5, "each scope is asked for somewhere: {seen:?}");
    site.close().await;
}

impl Answer {
    pub(crate) fn raw_header(&self, name: &str) -> Option<String> {
        let lines = self.raw.lines().filter_map(|line| line.split_once(": "));
        let mut named = lines.filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.to_owned())
    }

    /// Returns the scope that the answer says is needed.
    pub(crate) fn scope(&self) -> Option<String> {
        let detail = (self.code == 403).then(|| self.json()["detail"].as_str().unwrap().to_owned());
        detail?.strip_prefix("this needs the scope ").map(str::to_owned)
    }
}

#[tokio::test]
async fn no_path_that_looks_like_another_is_let_through() {
    let site = Site::file().await;
    let id = site.job(json!({ "type": "task" })).await;
    token(&site, &["admin"], &[]).await;
    until_code(&site, "", 401).await;
    for base in ["/v1/jobs".to_owned(), format!("/v1/jobs/{id}"), "/v1/queues/default/pause".into()]
    {
        let upper = base.to_uppercase();
        let (front, last) = base.rsplit_once('/').unwrap();
        let escaped = base.replace('/', "%2f");
        for path in [
            base.clone(),
            format!("{base}/"),
            format!("/{base}"),
            format!("/.{base}"),
            upper,
            format!("{base}//"),
            format!("{base}/."),
            format!("{base}/.."),
            format!("{base};x"),
            format!("{base};/healthz"),
            format!("{base}/healthz"),
            format!("{base}/configs"),
            format!("{base}%20"),
            format!("{base}%00"),
            format!("{base}%09"),
            format!("{base}%0a"),
            format!("{base}.json"),
            format!("{base}?x"),
            format!("{base}?/healthz"),
            format!("{base}?access_token=x"),
            format!("{base}#/healthz"),
            format!("{base}%23"),
            format!("{base}%3f"),
            format!("{front}/./{last}"),
            format!("{front}//{last}"),
            format!("{front}/%2e/{last}"),
            format!("{front}/x/../{last}"),
            escaped,
            format!("{front}/x/%2e%2e/{last}"),
            format!("{front}\\{last}"),
            format!("/assets/..{base}"),
            format!("/assets/%2e%2e{base}"),
            format!("/healthz/..{base}"),
            format!("/healthz{base}"),
            format!("/openapi.json/..{base}"),
            format!("/openapi.json{base}"),
            format!("/docs/..{base}"),
            format!("http://localhost{base}"),
            format!("http://localhost/healthz/..{base}"),
            format!("//localhost{base}"),
            format!("*{base}"),
            format!("/%76%31{}", &base[3..]),
            format!("/v1%2f{}", &base[4..]),
            "/v1/%6aobs".to_owned(),
            format!("{base}/session"),
            format!("/v1/session/..{}", &base[3..]),
            format!("/v1/session{}", &base[3..]),
        ] {
            for method in ["GET", "POST", "DELETE", "HEAD", "PUT"] {
                let answer = site.ask(method, &path, JSON, r#"{"type":"task"}"#).await;
                let refused = (400..500).contains(&answer.code);
                assert!(refused, "{method} {path}: {answer:?}");
            }
        }
    }
    let stats = site.client.stats().await.unwrap();
    assert_eq!((stats.totals.pending, stats.queues[0].paused), (1, false), "nothing happened");
    site.close().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_is_refused_within_a_second_at_every_server() {
    let one = Site::file().await;
    let two = Site::on_store_of(&one).await;
    let admin = bearer(&token(&one, &["admin"], &[]).await);
    let made = one.ask("POST", "/v1/tokens", JSON, "{}").await;
    assert!(matches!(made.code, 401 | 422), "{made:?}");
    until_code(&one, &admin, 200).await;
    let ask = json!({ "name": "ci", "scopes": ["read"], "expires_in_s": 3600 }).to_string();
    let made = one.ask("POST", "/v1/tokens", &admin, &ask).await;
    assert_eq!(made.code, 201, "{made:?}");
    let made = made.json();
    let head = bearer(made["token"].as_str().unwrap());
    let id = made["id"].as_str().unwrap();
    until_code(&one, &head, 200).await;
    until_code(&two, &head, 200).await;
    let listed = one.ask("GET", "/v1/tokens", &admin, "").await;
    assert!(!listed.body.contains(made["token"].as_str().unwrap()), "never shown again");
    assert!(listed.body.contains(id), "{listed:?}");
    let path = format!("/v1/tokens/{id}");
    assert_eq!(one.ask("DELETE", &path, &admin, "").await.code, 204);
    assert!(until_code(&one, &head, 401).await < Duration::from_secs(1), "here at once");
    assert!(until_code(&two, &head, 401).await < Duration::from_secs(1), "there within a second");
    one.ask("DELETE", &path, &admin, "").await.problem(404, "not_found");
    two.close().await;
    one.close().await;
}

#[tokio::test]
async fn the_store_holds_no_token_and_no_session_that_could_be_used() {
    let site = Site::file().await;
    let made = token(&site, &["admin"], &[]).await;
    until_code(&site, "", 401).await;
    let signed = sign_in(&site, json!({ "token": made })).await.unwrap();
    site.client.backup(site._dir.path().join("copy.db")).await.unwrap();
    let copy = std::fs::read(site._dir.path().join("copy.db")).unwrap();
    let holds = |text: &str| copy.windows(text.len()).any(|part| part == text.as_bytes());
    let (id, secret) = made.strip_prefix("dut_").unwrap().split_once('_').unwrap();
    assert!(holds(id), "the copy is of this store");
    assert!(!holds(secret) && !holds(signed.split('=').nth(1).unwrap()));
    site.close().await;
}

#[tokio::test]
async fn the_last_token_that_goes_opens_nothing() {
    let site = Site::file().await;
    let new = NewToken {
        name: "short".into(),
        scopes: vec!["read".into()],
        expires_in: Some(Duration::from_millis(1)),
        ..NewToken::default()
    };
    tokens::create(&site.client, new).await.unwrap();
    until_code(&site, "", 401).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(site.get("/v1/stats").await.code, 401);
    assert_eq!(tokens::open(&site.client).await.unwrap(), 0);
    until_code(&site, "", 200).await;
    site.close().await;
}

#[tokio::test]
async fn a_token_for_a_queue_enqueues_and_works_there_alone() {
    for site in [Site::file().await, Site::postgres().await] {
        let all = bearer(&token(&site, &["enqueue", "work", "read"], &[]).await);
        let own = bearer(&token(&site, &["enqueue", "work"], &["a"]).await);
        until_code(&site, &all, 200).await;
        let post = async |head: &str, path: &str, body: Value| {
            site.ask("POST", path, head, &body.to_string()).await
        };
        for foreign in [json!({ "type": "task", "queue": "b" }), json!({ "type": "task" })] {
            post(&own, "/v1/jobs", foreign.clone()).await.problem(403, "forbidden");
            let many = json!({ "jobs": [{ "type": "task", "queue": "a" }, foreign] });
            post(&own, "/v1/jobs/batch", many).await.problem(403, "forbidden");
        }
        let job = json!({ "type": "task", "queue": "a" });
        assert_eq!(post(&own, "/v1/jobs", job).await.code, 201);
        let worker = |queues: Value| json!({ "name": "w", "queues": queues, "types": ["task"] });
        let other = post(&own, "/v1/workers", worker(json!({ "a": 1, "b": 1 }))).await;
        other.problem(403, "forbidden");
        let settings = json!({ "name": "w", "queues": { "a": 1 },
            "types": { "task": { "queue": "b" } } });
        post(&own, "/v1/workers", settings).await.problem(403, "forbidden");
        let mine = post(&own, "/v1/workers", worker(json!({ "a": 1 }))).await.json();
        let mine = format!("/v1/workers/{}", mine["id"].as_str().unwrap());
        let ask = json!({ "queues": { "b": 1 } });
        post(&own, &format!("{mine}/claim"), ask).await.problem(403, "forbidden");
        // A worker of somebody else's, whose id is no secret.
        let theirs = post(&all, "/v1/workers", worker(json!({ "a": 1, "b": 1 }))).await.json();
        let theirs = format!("/v1/workers/{}", theirs["id"].as_str().unwrap());
        for verb in ["claim", "extend", "finish"] {
            let body = if verb == "finish" { json!({ "ends": [] }) } else { json!({}) };
            post(&own, &format!("{theirs}/{verb}"), body).await.problem(403, "forbidden");
        }
        site.ask("DELETE", &theirs, &own, "").await.problem(403, "forbidden");
        let claimed = post(&own, &format!("{mine}/claim"), json!({ "max": 1 })).await.json();
        assert_eq!(claimed["jobs"][0]["queue"], "a", "{claimed}");
        assert_eq!(site.client.stats().await.unwrap().totals.pending, 0, "nothing else came in");
        let wide = post(&all, "/v1/tokens", json!({ "name": "x", "scopes": ["read"] })).await;
        assert_eq!(wide.scope().as_deref(), Some("admin"));
        let refused = tokens::create(
            &site.client,
            NewToken {
                name: "x".into(),
                scopes: vec!["read".into()],
                queues: vec!["a".into()],
                ..NewToken::default()
            },
        );
        assert!(refused.await.unwrap_err().to_string().contains("enqueue and work"));
        site.close().await;
    }
}

#[tokio::test]
async fn a_token_that_asks_too_often_is_told_when_to_come_back() {
    let site = Site::file().await;
    let new = NewToken {
        name: "slow".into(),
        scopes: vec!["read".into()],
        rate_per_s: Some(3),
        ..NewToken::default()
    };
    let (slow, _) = tokens::create(&site.client, new).await.unwrap();
    let quick = bearer(&token(&site, &["read"], &[]).await);
    until_code(&site, &quick, 200).await;
    let mut codes = Vec::new();
    for _ in 0..20 {
        let answer = site.ask("GET", "/v1/info", &bearer(&slow), "").await;
        if answer.code == 429 {
            assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
        }
        codes.push(answer.code);
    }
    assert!(codes[..3].iter().all(|code| *code == 200), "{codes:?}");
    assert!(codes.iter().filter(|code| **code == 429).count() >= 10, "{codes:?}");
    assert_eq!(site.ask("GET", "/v1/info", &quick, "").await.code, 200, "others are not");
    site.close().await;
}
