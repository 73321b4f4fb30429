//! Queues: their numbers, pause and resume, and what waits in them for an autoscaler.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dutiful::QueueInfo;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Operate, Read};
use super::input::{Query, Queue};
use super::problem::Problem;
use super::view::{NameView, QueueView};

/// All queues, in the order of their names.
#[derive(Serialize, ToSchema)]
pub(crate) struct Queues {
    queues: Vec<QueueView>,
}

/// List queues with their numbers.
#[utoipa::path(get, path = "/v1/queues", tag = "queues",
    responses((status = 200, body = Queues)))]
pub(super) async fn list(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<Queues>, Problem> {
    let queues = site.queues().await?.into_iter().map(QueueView::from).collect();
    Ok(Json(Queues { queues }))
}

/// The name of a queue.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what `Queue` reads")]
struct QueuePath {
    #[param(value_type = NameView)]
    queue: String,
}

/// Show one queue.
#[utoipa::path(get, path = "/v1/queues/{queue}", tag = "queues", params(QueuePath),
    responses((status = 200, body = QueueView)))]
pub(super) async fn show(
    _: Allowed<Read>,
    State(site): State<Site>,
    Queue(queue): Queue,
) -> Result<Json<QueueView>, Problem> {
    let all = site.queues().await?;
    let found = all.into_iter().find(|one| one.queue == queue);
    let unknown = || Problem::not_found(format!("no job was ever in the queue {queue}"));
    Ok(Json(found.ok_or_else(unknown)?.into()))
}

/// Whether that changed anything.
#[derive(Serialize, ToSchema)]
pub(crate) struct Switched {
    changed: bool,
}

/// Stop claims from a queue; jobs that run go on.
#[utoipa::path(post, path = "/v1/queues/{queue}/pause", tag = "queues", params(QueuePath),
    responses((status = 200, body = Switched)))]
pub(super) async fn pause(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Queue(queue): Queue,
) -> Result<Json<Switched>, Problem> {
    Ok(Json(Switched { changed: site.client().pause(queue.as_str()).await? }))
}

/// Let claims from a queue go on.
#[utoipa::path(post, path = "/v1/queues/{queue}/resume", tag = "queues", params(QueuePath),
    responses((status = 200, body = Switched)))]
pub(super) async fn resume(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Queue(queue): Queue,
) -> Result<Json<Switched>, Problem> {
    Ok(Json(Switched { changed: site.client().resume(queue.as_str()).await? }))
}

/// How many jobs went.
#[derive(Serialize, ToSchema)]
pub(crate) struct Cleared {
    deleted: usize,
}

/// Delete every job that waits in a queue, with all traces of it; active ones go on.
#[utoipa::path(post, path = "/v1/queues/{queue}/clear", tag = "queues", params(QueuePath),
    responses((status = 200, body = Cleared)))]
pub(super) async fn clear(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Queue(queue): Queue,
) -> Result<Json<Cleared>, Problem> {
    // A queue of millions takes long: it is done to its end, even if nobody waits for the answer.
    let client = site.client().clone();
    let cleared = tokio::spawn(async move { client.clear(queue.as_str()).await });
    let gone = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "clearing panicked");
    Ok(Json(Cleared { deleted: cleared.await.map_err(gone)?? }))
}

/// What waits to be worked now: due jobs, and for how long the oldest of them has been due.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Depth {
    depth: u64,
    oldest_s: f64,
}

/// The same for all queues, and for each.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Backlog {
    depth: u64,
    oldest_s: f64,
    /// By queue; empty where one was asked for.
    queues: BTreeMap<String, Depth>,
}

/// Which queue.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BacklogInput {
    /// Only of this queue.
    queue: Option<String>,
}

/// What waits, for autoscalers: however many jobs have ended, it costs the same. Where millions
/// wait it is some seconds old.
#[utoipa::path(get, path = "/v1/backlog", tag = "queues", params(BacklogInput),
    responses((status = 200, body = Backlog)))]
pub(super) async fn backlog(
    _: Allowed<Read>,
    State(site): State<Site>,
    Query(asked): Query<BacklogInput>,
) -> Result<Json<Backlog>, Problem> {
    let stats = site.stats().await?;
    let wanted = |one: &&QueueInfo| match &asked.queue {
        Some(queue) => one.queue.as_str() == queue,
        None => true,
    };
    let mut backlog = Backlog::default();
    for one in stats.queues.iter().filter(wanted) {
        let (depth, oldest_s) = (one.counts.pending, one.oldest_pending_s);
        backlog.depth += depth;
        backlog.oldest_s = backlog.oldest_s.max(oldest_s);
        if asked.queue.is_none() {
            backlog.queues.insert(one.queue.to_string(), Depth { depth, oldest_s });
        }
    }
    Ok(Json(backlog))
}
