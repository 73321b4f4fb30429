//! The API and the dashboard within somebody's own application, below a path of it.

use axum::Router;
use axum::routing::get;
use dutiful::Client;
use dutiful_server::{Options, router};
use serde_json::json;

use crate::{ask, send};

/// Serves an application; returns its address.
async fn serve(app: Router) -> std::net::SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, app).await.unwrap() });
    address
}

async fn get_from(address: std::net::SocketAddr, path: &str) -> crate::Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
    send(address, request.as_bytes()).await
}

fn options() -> Options {
    let mut options = Options::default();
    options.access.hosts = vec!["shop.example".into()];
    options
}

#[tokio::test]
async fn an_application_nests_the_api_and_the_dashboard_below_a_path() {
    let client = Client::connect("sqlite::memory:").await.unwrap();
    let app = Router::new()
        .route("/", get(async || "the shop"))
        .nest_service("/back/jobs", router(client.clone(), options()));
    let address = serve(app).await;
    assert_eq!(get_from(address, "/").await.body, "the shop");
    for page in ["/back/jobs", "/back/jobs/", "/back/jobs/dead", "/back/jobs/queues/mail"] {
        let page = get_from(address, page).await;
        assert_eq!(page.code, 200, "{page:?}");
        assert!(page.body.contains("<html data-base=\"/back/jobs\" "), "{page:?}");
        assert!(!page.body.contains("\"/assets/"), "{page:?}");
        for asset in page.body.split("\"/back/jobs/assets/").skip(1) {
            let path = format!("/back/jobs/assets/{}", asset.split('"').next().unwrap());
            assert_eq!(get_from(address, &path).await.code, 200, "{path}");
        }
    }
    let made = ask(address, "/back/jobs/v1/jobs", &json!({ "type": "task" })).await;
    assert_eq!(made.code, 201, "{made:?}");
    assert_eq!(client.stats().await.unwrap().totals.pending, 1);
    let metrics = get_from(address, "/back/jobs/metrics").await;
    assert!(metrics.body.contains("queue_depth{queue=\"default\"} 1"), "{metrics:?}");
    assert_eq!(get_from(address, "/back/jobs/openapi.json").await.code, 200);
    get_from(address, "/back/jobs/healthz").await.problem(404, "not_found");
    get_from(address, "/back/jobs/nowhere").await.problem(404, "not_found");
}

#[tokio::test]
async fn at_the_root_of_a_host_the_page_is_as_it_is() {
    let client = Client::connect("sqlite::memory:").await.unwrap();
    let address = serve(router(client, options())).await;
    let page = get_from(address, "/dead").await;
    assert!(
        page.body.contains("\"/assets/app.js\"") && !page.body.contains("data-base"),
        "{page:?}"
    );
}

#[tokio::test]
async fn an_application_s_hosts_and_credentials_count_below_its_path_too() {
    let client = Client::connect("sqlite::memory:").await.unwrap();
    let mut closed = options();
    closed.access.required = true;
    closed.access.proxy = Some(dutiful_server::ProxyOptions::new("X-Forwarded-User"));
    let address = serve(Router::new().nest_service("/jobs", router(client, closed))).await;
    get_from(address, "/jobs/v1/stats").await.problem(401, "unauthorized");
    // Nobody here knows whether the proxy's address is where this comes from.
    let head = "GET /jobs/v1/stats HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-User: ann\r\n";
    let asked = send(address, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
    asked.problem(401, "unauthorized");
    let other = "GET /jobs/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    send(address, other.as_bytes()).await.problem(421, "misdirected");
}
