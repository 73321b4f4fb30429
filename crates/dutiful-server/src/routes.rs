//! The routes: `/healthz`, `/readyz` and `/metrics`, for GET and HEAD, to a loopback host.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header, uri::Authority};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dutiful::{Client, Stats, Vitals};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::timeout;

use crate::alerts::Board;
use crate::health::Phase;
use crate::listen::is_loopback;
use crate::look::Look;
use crate::monitor::Monitor;
use crate::{fleet, gauges};

/// A scrape waits no longer for the store.
const SCRAPE_MAX: Duration = Duration::from_secs(5);
/// Nor does the question whether the worker is ready.
const READY_MAX: Duration = Duration::from_secs(3);
/// Those who ask whether a process lives often wait for a second only.
const LIVES_MAX: Duration = Duration::from_millis(800);
/// What `/metrics` is written in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the answers are made from.
struct Site {
    monitor: Arc<Monitor>,
    look: Arc<Look>,
    /// Where the whole fleet is shown, not only this process: the alerts about it.
    fleet: Option<Arc<Board>>,
}

/// The probes by themselves, as a worker without a server answers them.
pub(crate) fn router(monitor: Arc<Monitor>, client: Client) -> Router {
    let look = Arc::new(Look::new(client));
    let site = Arc::new(Site { monitor: monitor.clone(), look: look.clone(), fleet: None });
    health(monitor, look)
        .route("/metrics", get(metrics).with_state(site))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn(to_loopback_hosts))
}

/// Whether this process lives and gets work done.
pub(crate) fn health(monitor: Arc<Monitor>, look: Arc<Look>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(Site { monitor, look, fleet: None }))
}

/// The metrics of this process, and of all that is on the store.
pub(crate) fn metrics_of(monitor: Arc<Monitor>, look: Arc<Look>, board: Arc<Board>) -> Router {
    let site = Arc::new(Site { monitor, look, fleet: Some(board) });
    Router::new().route("/metrics", get(metrics)).with_state(site)
}

/// Whether the process should go on living. A store that is away is no reason to end it.
async fn healthz(State(site): State<Arc<Site>>) -> Response {
    match site.monitor.health().phase() {
        Phase::Starting => return well("the worker is starting"),
        Phase::Stopping => return well("the worker is stopping in order"),
        Phase::Working if site.monitor.is_quiet() => return well("the worker is quiet"),
        Phase::Working => {}
    }
    let looked = async {
        let stats = site.look.shown(LIVES_MAX).await?;
        Ok(site.monitor.health().stuck(&site.monitor, &site.look, &stats).await)
    };
    match timeout(LIVES_MAX, looked).await {
        Ok(Ok(None)) => well("the worker lives, and its loops move"),
        Ok(Ok(Some(stuck))) => unwell(&stuck),
        Ok(Err::<_, String>(why)) => well(&format!("the worker lives, but {why}")),
        Err(_) => well("the worker lives, but the store is slow to answer"),
    }
}

/// Whether the worker gets work done now.
async fn readyz(State(site): State<Arc<Site>>) -> Response {
    match site.monitor.health().phase() {
        Phase::Starting => return unwell("the worker is starting"),
        Phase::Stopping => return unwell("the worker is stopping"),
        Phase::Working if site.monitor.is_quiet() => {
            return unwell("the worker is quiet and claims nothing until it is told to resume");
        }
        Phase::Working => {}
    }
    if let Err(why) = site.look.answers(READY_MAX).await {
        return unwell(&why);
    }
    if let Some(verb) = site.monitor.health().trouble() {
        return unwell(&format!("calls to the store ({verb}) go on failing; see the worker's log"));
    }
    well("the worker is working, and the store answers")
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let Some(board) = &site.fleet else {
        let stats = site.look.stats(SCRAPE_MAX).await.ok();
        return page(&site, stats.as_deref(), None).await;
    };
    let stats = site.look.shown(SCRAPE_MAX).await.ok();
    let fleet = match &stats {
        Some(stats) => timeout(SCRAPE_MAX, whole_fleet(&site, stats, board)).await.ok().flatten(),
        None => None,
    };
    // What is shown may be older: that the store answers is known from what the fleet did.
    page(&site, stats.as_deref().filter(|_| fleet.is_some()), fleet.as_ref()).await
}

async fn page(site: &Site, stats: Option<&Stats>, fleet: Option<&Registry>) -> Response {
    let vitals = match stats {
        Some(_) => site.look.vitals(SCRAPE_MAX).await,
        None => Vitals::default(),
    };
    match site.monitor.page((stats, &vitals), fleet) {
        Ok(page) => answer(StatusCode::OK, OPEN_METRICS, page),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be written."),
    }
}

/// What the store says of all processes; without its answer there is nothing to show.
async fn whole_fleet(site: &Site, stats: &Stats, board: &Board) -> Option<Registry> {
    let client = site.look.client();
    let (types, workers) = (client.totals().await.ok()?, client.workers().await.ok()?);
    let queues = gauges::lines(&stats.queues, site.monitor.served());
    let mut registry = fleet::registry(types, queues, workers);
    board.register(&mut registry).await;
    Some(registry)
}

async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "There is only /healthz, /readyz and /metrics here.")
}

async fn not_allowed() -> Response {
    let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.");
    refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET,HEAD"));
    refused
}

/// A page of somebody else's, whose name was made to point here, sends that name as the host:
/// so a browser cannot be used to read what is for this machine only.
async fn to_loopback_hosts(request: Request, next: Next) -> Response {
    if is_for_loopback(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let sentence = "Ask for localhost or a loopback address; a proxy in front must set Host so.";
    plain(StatusCode::MISDIRECTED_REQUEST, sentence)
}

fn is_for_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    is_for(&[], uri, headers)
}

/// True when a request is for this machine, or for one of these hosts.
pub(crate) fn is_for(hosts: &[String], uri: &Uri, headers: &HeaderMap) -> bool {
    let good = |host: &Authority| {
        is_local(host) || hosts.iter().any(|one| one.eq_ignore_ascii_case(bare(host)))
    };
    let mut named = headers.get_all(header::HOST).iter();
    uri.authority().is_none_or(good)
        && named.all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| good(&host)))
}

fn is_local(host: &Authority) -> bool {
    let name = bare(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(is_loopback)
}

/// Returns a host without its port and brackets.
fn bare(host: &Authority) -> &str {
    let name = host.host();
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

fn well(says: &str) -> Response {
    said(StatusCode::OK, "ok", says)
}

fn unwell(says: &str) -> Response {
    said(StatusCode::SERVICE_UNAVAILABLE, "failing", says)
}

fn said(code: StatusCode, status: &str, says: &str) -> Response {
    let body = json!({ "status": status, "says": says });
    answer(code, "application/json", format!("{body}\n"))
}

fn plain(code: StatusCode, sentence: &'static str) -> Response {
    answer(code, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

fn answer(code: StatusCode, form: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, form),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (code, headers, body).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn answers_for_loopback_hosts_only() {
        let asked = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_for_loopback(&Uri::from_static("/metrics"), &headers)
        };
        for good in ["localhost", "LocalHost:9394", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9"]
        {
            assert!(asked(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9394",
            "10.0.0.1",
            "0.0.0.0:9394",
            "[::]:9394",
            "a b",
            "127.1",
            "evil.example@127.0.0.2.x",
        ] {
            assert!(!asked(bad), "{bad}");
        }
        assert!(is_for_loopback(&Uri::from_static("/"), &HeaderMap::new()), "no host at all");
        let elsewhere = Uri::from_static("http://evil.example/metrics");
        assert!(!is_for_loopback(&elsewhere, &HeaderMap::new()), "the line of the request counts");
        let mut two = HeaderMap::new();
        two.append(header::HOST, "localhost".parse().unwrap());
        two.append(header::HOST, "evil.example".parse().unwrap());
        assert!(!is_for_loopback(&Uri::from_static("/"), &two));
    }
}
