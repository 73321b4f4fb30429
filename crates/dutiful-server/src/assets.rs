//! The dashboard's files, in the binary: one page for every path of it, and what that page loads.

use std::path::Path;

use axum::Router;
use axum::extract;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

/// The paths at which the one page stands; it shows what its address says.
const PAGES: [&str; 11] = [
    "/",
    "/queues",
    "/queues/{queue}",
    "/jobs",
    "/jobs/{id}",
    "/dead",
    "/workers",
    "/alerts",
    "/audit",
    "/settings",
    "/docs",
];

#[derive(RustEmbed)]
#[folder = "assets"]
#[exclude = "*.md"]
struct Assets;

pub(crate) fn router() -> Router {
    let pages = PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    pages.route("/assets/{*path}", get(asset))
}

async fn page() -> Response {
    file("index.html")
}

async fn asset(extract::Path(path): extract::Path<String>) -> Response {
    file(&path)
}

/// Nothing is kept by browsers, as the guard says for every answer: an upgrade is seen at once.
fn file(path: &str) -> Response {
    let Some(found) = Assets::get(path) else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    let mut response = found.data.into_response();
    let form = HeaderValue::from_static(form(path));
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}

fn form(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
