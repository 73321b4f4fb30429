//! The dashboard's files, in the binary: one page for every path of it, and what that page loads.

use std::path::Path;

use axum::Router;
use axum::extract::{self, OriginalUri};
use axum::http::{HeaderValue, StatusCode, Uri, header};
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

/// The page says where it stands: below a path of somebody's own application, all that it loads and
/// asks for stands there too.
async fn page(OriginalUri(asked): OriginalUri, inner: Uri) -> Response {
    let (asked, inner) = (asked.path(), inner.path());
    // Of a nested router the first page may be asked for without the slash at its end.
    let base = asked.strip_suffix(inner).unwrap_or(if inner == "/" { asked } else { "" });
    // What a path can hold and an attribute cannot.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    if base.is_empty() || !base.chars().all(is_plain) {
        return file("index.html");
    }
    let Some(found) = Assets::get("index.html") else { return file("index.html") };
    let text = String::from_utf8_lossy(&found.data);
    let text = text.replace("<html ", &format!("<html data-base=\"{base}\" "));
    let text = text.replace("\"/assets/", &format!("\"{base}/assets/"));
    let text = text.replace("\"/v1/", &format!("\"{base}/v1/"));
    ([(header::CONTENT_TYPE, form("index.html"))], text).into_response()
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
