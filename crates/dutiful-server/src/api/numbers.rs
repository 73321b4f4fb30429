//! Numbers and facts of the whole store, and its changes as they happen.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use dutiful::{Facts, Finding, Stats};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use utoipa::ToSchema;

use super::Site;
use super::access::{Allowed, Read};
use super::problem::Problem;
use super::view::{CountsView, QueueView};
use crate::access::Refusal;

/// Changes are told this often at most.
const EVENTS_EVERY: Duration = Duration::from_secs(1);

/// Totals, queues and warnings.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub(crate) struct StatsView {
    #[schema(value_type = CountsView)]
    totals: dutiful::Counts,
    queues: Vec<QueueView>,
    /// What a person should look at, one sentence each.
    warnings: Vec<String>,
}

impl From<Stats> for StatsView {
    fn from(stats: Stats) -> Self {
        let queues = stats.queues.into_iter().map(QueueView::from).collect();
        Self { totals: stats.totals, queues, warnings: stats.warnings }
    }
}

/// Count jobs by state and queue.
#[utoipa::path(get, path = "/v1/stats", tag = "numbers",
    responses((status = 200, body = StatsView)))]
pub(super) async fn stats(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<StatsView>, Problem> {
    Ok(Json((*site.stats().await?).clone().into()))
}

/// What a look at the store's health found.
#[derive(Serialize, ToSchema)]
pub(crate) struct Findings {
    #[schema(value_type = Vec<FindingView>)]
    findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(ToSchema)]
#[schema(as = Finding)]
#[allow(dead_code, reason = "the library's own type is what is shown")]
struct FindingView {
    /// What was looked at; stable.
    check: String,
    /// What was found, for people.
    value: String,
    verdict: VerdictView,
    /// What to do about it.
    advice: Option<String>,
}

/// What to make of a finding.
#[derive(ToSchema)]
#[schema(as = Verdict, rename_all = "snake_case")]
#[allow(dead_code, reason = "the library's own type is what is shown")]
enum VerdictView {
    Ok,
    Warning,
    Bad,
}

/// Look for what is wrong with the store, its place and its workers.
#[utoipa::path(get, path = "/v1/doctor", tag = "numbers",
    responses((status = 200, body = Findings)))]
pub(super) async fn doctor(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<Findings>, Problem> {
    let _turn = site.looking().await;
    Ok(Json(Findings { findings: site.client().doctor(false).await? }))
}

/// What answers here.
#[derive(Serialize, ToSchema)]
pub(crate) struct Info {
    name: &'static str,
    version: &'static str,
    #[schema(value_type = FactsView)]
    store: Facts,
    /// True where nobody is asked for credentials.
    open: bool,
    /// What the caller may do.
    scopes: Vec<&'static str>,
}

/// What the store is and promises.
#[derive(ToSchema)]
#[schema(as = Store)]
#[allow(dead_code, reason = "the library's own type is what is shown")]
struct FactsView {
    /// sqlite or postgres.
    store: String,
    version: String,
    /// What an acknowledgement survives.
    durability: String,
    place: String,
}

/// Say what answers here.
#[utoipa::path(get, path = "/v1/info", tag = "numbers", responses((status = 200, body = Info)))]
pub(super) async fn info(
    allowed: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<Info>, Problem> {
    let store = site.client().facts();
    let version = env!("CARGO_PKG_VERSION");
    let open = site.gate().is_open().await.map_err(Refusal::Unavailable)?;
    Ok(Json(Info { name: "dutiful", version, store, open, scopes: allowed.scopes() }))
}

/// Hear of changes: an event `stats` with the numbers, once a second while they change.
#[utoipa::path(get, path = "/v1/events", tag = "numbers",
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn events(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = unfold((site, String::new()), |(site, told)| async move {
        loop {
            if !told.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(EVENTS_EVERY) => {}
                    () = site.stopping() => return None,
                }
            }
            // A store that is away for a moment has no news.
            let Ok(stats) = site.stats().await else {
                tokio::time::sleep(EVENTS_EVERY).await;
                continue;
            };
            let view = StatsView::from((*stats).clone());
            let Ok(text) = serde_json::to_string(&view) else { return None };
            if text != told {
                let event = Event::default().event("stats").data(text.clone());
                return Some((Ok(event), (site, text)));
            }
        }
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}
