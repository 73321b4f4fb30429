//! The whole server as one router: the API, its description, the dashboard, probes and metrics.

use std::sync::Arc;

use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use dutiful::{Client, Worker};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;

use crate::alerts::{Board, Watch};
use crate::api::{self, Site};
use crate::history::Recorder;
use crate::look::Look;
use crate::monitor::{Monitor, Served};
use crate::options::Options;
use crate::{assets, routes};

/// The queue of the server's own jobs, which [`with_operations`] works on.
pub const OWN_QUEUE: &str = api::operations::QUEUE;

/// Adds the server's own jobs to a worker: the operations that are started through the API, one at
/// a time. A server without such a worker anywhere on its store only stores them.
pub fn with_operations<A: Send + Sync + 'static>(worker: Worker<A>) -> Worker<A> {
    api::operations::work_on(worker)
}

/// Returns the API with its description, the dashboard and the metrics, to serve in an application
/// of one's own: at the root of a host, or nested below a path of it.
///
/// ```
/// use dutiful_server::{Options, router};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = dutiful::Client::connect("sqlite::memory:").await?;
/// let mut options = Options::default();
/// options.access.hosts = vec!["shop.example".into()];
/// let app: axum::Router = axum::Router::new().nest_service("/jobs", router(client, options));
/// # Ok(()) }
/// ```
///
/// Requests for other hosts than loopback addresses and those in [`Options`] are refused. Without
/// credentials in them it asks nobody who they are: put the application's own authentication before
/// it, or close it. A proxy of [`Options`] is not believed here, for where a connection comes from
/// only [`crate::Listening`] tells. The probes are not among the routes: whether the application
/// lives is for itself to say.
///
/// Call it in a tokio runtime. What is recorded over time and watched for alerts is looked after
/// until the router is dropped; the chores of the store are for a worker, see [`with_operations`],
/// and push handlers that are registered here run where [`crate::registered`] does.
pub fn router(client: Client, options: Options) -> Router {
    let stopping = CancellationToken::new();
    let recorder = Recorder::new(client.clone(), options.clock.clone());
    tokio::spawn(recorder.run(stopping.clone()));
    let monitor = Arc::new(Monitor::new(Served::default()));
    let parts = parts(client, monitor, options, stopping.clone());
    // Those who wait are answered, and the tasks end, with the last copy of the router.
    let guard = Arc::new(stopping.drop_guard());
    api::guarded(parts.router.layer(Extension(guard)), parts.hosts)
}

/// Puts the server together. Whoever waits for something is answered when `stopping` is cancelled.
pub(crate) fn whole(
    client: Client,
    monitor: Arc<Monitor>,
    options: Options,
    stopping: CancellationToken,
) -> Router {
    let Parts { router, look, hosts } = parts(client, monitor.clone(), options, stopping);
    api::guarded(router.merge(routes::health(monitor, look)), hosts)
}

/// A server without its guard and probes.
struct Parts {
    router: Router,
    look: Arc<Look>,
    hosts: Vec<String>,
}

fn parts(
    client: Client,
    monitor: Arc<Monitor>,
    options: Options,
    stopping: CancellationToken,
) -> Parts {
    let board = Board::new(client.clone(), options.alerts.clone());
    let look = Arc::new(Look::new(client));
    let watch = Watch::new(board.clone(), look.clone(), options.notify.clone());
    tokio::spawn(watch.run(stopping.clone()));
    let hosts = options.access.hosts.clone();
    let site = Site::new(look.clone(), board.clone(), options, stopping);
    let metrics = routes::metrics_of(monitor, look.clone(), board);
    let readers_only = from_fn_with_state(site.clone(), api::access::readers_only);
    let (api, description) = api::routes(site);
    let router = api
        .route("/openapi.json", get(json(&description)))
        .merge(assets::router())
        .merge(metrics.route_layer(readers_only));
    Parts { router, look, hosts }
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
