//! What is not answered: other paths, other methods, other hosts, and an address in use.

use dutiful_server::{ListenError, Listening};
use tokio::io::AsyncWriteExt as _;

use crate::Site;

#[tokio::test]
async fn says_in_one_sentence_what_there_is() {
    let site = Site::serving(&[("default", 1)], &[]).await;
    for path in ["/", "/healthz/", "/metrics/x", "/%2e%2e/metrics", "/METRICS"] {
        let answer = site.get(path).await;
        assert_eq!(answer.code, 404, "{path}");
        assert_eq!(answer.body, "There is only /healthz, /readyz and /metrics here.\n");
    }
}

#[tokio::test]
async fn answers_get_and_head_only() {
    let site = Site::serving(&[("default", 1)], &[]).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = site.ask(method, "/metrics", "Host: localhost\r\n").await;
        assert_eq!(answer.code, 405, "{method}");
        assert_eq!(answer.body, "Only GET and HEAD are answered here.\n");
        assert_eq!(answer.head.matches("allow: get,head").count(), 1, "{}", answer.head);
    }
    for path in ["/healthz", "/metrics"] {
        let head = site.ask("HEAD", path, "Host: localhost\r\n").await;
        assert_eq!((head.code, head.body.as_str()), (200, ""));
        assert!(head.head.contains("content-length: "), "{}", head.head);
    }
}

#[tokio::test]
async fn answers_no_page_that_points_a_name_of_its_own_here() {
    let site = Site::serving(&[("default", 1)], &[]).await;
    for path in ["/healthz", "/readyz", "/metrics", "/nowhere"] {
        let answer = site.ask("GET", path, "Host: evil.example:9394\r\n").await;
        assert_eq!(answer.code, 421, "{path}");
        assert!(answer.body.starts_with("Ask for localhost"), "{}", answer.body);
    }
    let both = site.ask("GET", "/metrics", "Host: localhost\r\nHost: evil.example\r\n").await;
    assert!([400, 421].contains(&both.code), "{both:?}");
    let line = site.ask("GET", "http://evil.example/metrics", "Host: localhost\r\n").await;
    assert_eq!(line.code, 421);
    for head in ["", "Host: 127.0.0.1:1\r\n", "Host: [::1]:9394\r\n"] {
        assert_eq!(site.ask("GET", "/healthz", head).await.code, 200, "{head:?}");
    }
}

#[tokio::test]
async fn refuses_an_address_in_use() {
    let first = Listening::on("127.0.0.1:0").await.unwrap();
    let error = Listening::on(&first.address().to_string()).await.unwrap_err();
    assert!(matches!(error, ListenError::Socket { .. }), "{error:?}");
    assert!(error.to_string().contains("choose another port"), "{error}");
}

#[tokio::test]
async fn ends_when_told_though_a_question_is_never_finished() {
    let site = Site::serving(&[("default", 1)], &[]).await;
    let mut slow = tokio::net::TcpStream::connect(site.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await.unwrap();
    assert_eq!(site.get("/healthz").await.code, 200);
    drop(site.over);
    tokio::time::timeout(crate::PATIENCE, site.answering).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err(), "nobody listens");
    drop(slow);
}
