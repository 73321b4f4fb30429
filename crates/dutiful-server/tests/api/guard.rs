//! What no page of another site, no other host and no odd path gets.

use crate::Site;

/// Headers that every answer carries.
const HEADERS: [&str; 4] = [
    "content-security-policy: default-src 'none'",
    "x-content-type-options: nosniff",
    "referrer-policy: no-referrer",
    "cross-origin-resource-policy: same-origin",
];

#[tokio::test]
async fn every_answer_tells_browsers_what_they_may_do() {
    let site = Site::file().await;
    for path in ["/", "/v1/stats", "/nowhere", "/assets/app.js", "/assets/nowhere.js", "/metrics"] {
        let answer = site.get(path).await;
        for header in HEADERS {
            assert!(answer.head.contains(header), "{path}: {}", answer.head);
        }
    }
    site.close().await;
}

#[tokio::test]
async fn no_page_of_another_site_changes_anything() {
    let site = Site::file().await;
    let body = r#"{"type":"task"}"#;
    let json = "Content-Type: application/json\r\n";
    for head in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Host: localhost:1\r\nOrigin: http://localhost:2\r\n",
    ] {
        let refused = site.ask("POST", "/v1/jobs", &format!("{json}{head}"), body).await;
        refused.problem(403, "forbidden");
    }
    // Behind a proxy that gives us another host, a browser of today says where it comes from.
    let proxied = "Origin: https://jobs.example\r\nSec-Fetch-Site: same-origin\r\n";
    let taken = site.ask("POST", "/v1/jobs", &format!("{json}{proxied}"), body).await;
    assert_eq!(taken.code, 201, "{taken:?}");
    // Not even a look, unless somebody follows a link.
    let picture = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
    site.ask("GET", "/v1/dead/groups", picture, "").await.problem(403, "forbidden");
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    assert_eq!(site.ask("GET", "/dead", link, "").await.code, 200);
    // What a form can send without asking.
    for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let head = format!("Content-Type: {form}\r\n");
        site.ask("POST", "/v1/jobs", &head, body).await.problem(415, "unsupported_media_type");
    }
    let own = "Host: localhost:1\r\nOrigin: http://localhost:1\r\nSec-Fetch-Site: same-origin\r\n";
    assert_eq!(site.ask("POST", "/v1/jobs", &format!("{json}{own}"), body).await.code, 201);
    assert_eq!(site.client.stats().await.unwrap().totals.pending, 2);
    site.close().await;
}

#[tokio::test]
async fn other_hosts_are_not_answered_for() {
    let site = Site::file().await;
    for path in ["/", "/v1/stats", "/v1/jobs", "/openapi.json", "/healthz"] {
        let refused = site.ask("GET", path, "Host: evil.example\r\n", "").await;
        refused.problem(421, "misdirected");
    }
    site.close().await;
}

#[tokio::test]
async fn a_path_is_what_it_is_and_nothing_else() {
    let site = Site::file().await;
    let id = site.job(serde_json::json!({ "type": "task" })).await;
    for path in [
        format!("/v1/jobs/{id}/"),
        format!("//v1/jobs/{id}"),
        format!("/v1//jobs/{id}"),
        format!("/V1/jobs/{id}"),
        format!("/v1/jobs/{id};x=1"),
        format!("/v1/jobs/../jobs/{id}"),
        format!("/v1/jobs/%2e%2e/jobs/{id}"),
        format!("/x/../v1/jobs/{id}"),
        format!("/v1/jobs/{id}/configs"),
        format!("/v1%2fjobs%2f{id}"),
        "/assets/../Cargo.toml".to_owned(),
        "/assets/..%2fCargo.toml".to_owned(),
        "/assets/%2e%2e/Cargo.toml".to_owned(),
        "/assets//etc/passwd".to_owned(),
        "/assets/vendor/README.md".to_owned(),
    ] {
        let answer = site.get(&path).await;
        assert!((400..500).contains(&answer.code), "{path}: {answer:?}");
    }
    for method in ["PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND"] {
        let answer = site.ask(method, "/v1/jobs", "", "").await;
        assert!((400..500).contains(&answer.code), "{method}: {answer:?}");
    }
    let over = "Content-Type: application/json\r\nX-HTTP-Method-Override: DELETE\r\n";
    let answer = site.ask("POST", &format!("/v1/jobs/{id}"), over, "{}").await;
    answer.problem(405, "not_allowed");
    assert_eq!(site.show(&id).await["state"], "pending");
    site.close().await;
}
