//! The whole server as one router: the API, its description, the dashboard, probes and metrics.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use dutiful::{Client, Worker};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;

use crate::alerts::{Board, Watch};
use crate::api::{self, Site};
use crate::look::Look;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::{assets, routes};

/// The queue of the server's own jobs, which [`with_operations`] works on.
pub const OWN_QUEUE: &str = api::operations::QUEUE;

/// Adds the server's own jobs to a worker: the operations that are started through the API, one at
/// a time. A server without such a worker anywhere on its store only stores them.
pub fn with_operations<A: Send + Sync + 'static>(worker: Worker<A>) -> Worker<A> {
    api::operations::work_on(worker)
}

/// Puts the server together. Whoever waits for something is answered when `stopping` is cancelled.
pub(crate) fn router(
    client: Client,
    monitor: Arc<Monitor>,
    options: Options,
    stopping: CancellationToken,
) -> Router {
    let board = Board::new(client.clone(), options.alerts.clone());
    tokio::spawn(Watch::new(board.clone(), options.notify.clone()).run(stopping.clone()));
    let look = Arc::new(Look::new(client));
    let hosts = options.access.hosts.clone();
    let site = Site::new(look.clone(), board.clone(), options, stopping);
    let metrics = routes::metrics_of(monitor.clone(), look.clone(), board);
    let readers_only = from_fn_with_state(site.clone(), api::access::readers_only);
    let (api, description) = api::routes(site);
    let whole = api
        .route("/openapi.json", get(json(&description)))
        .merge(assets::router())
        .merge(metrics.route_layer(readers_only))
        .merge(routes::health(monitor, look));
    api::guarded(whole, hosts)
}

/// Returns what answers with the description of the API, written once.
fn json(description: &OpenApi) -> impl axum::handler::Handler<((),), ()> + use<> {
    // Our own types can be written as JSON, and if not, a test sees it.
    let text: Arc<str> = description.to_json().unwrap_or_default().into();
    move || {
        let form = [(header::CONTENT_TYPE, "application/json")];
        std::future::ready((form, text.to_string()).into_response())
    }
}
