//! What operators did, for operators to read.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Read};
use super::input::Query;
use super::problem::Problem;
use crate::audit;

/// Entries on a page when nobody says how many, and at most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;

/// Which page.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditInput {
    /// Older than this one: the `next` of the page before.
    before: Option<String>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// One thing that somebody did.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    id: String,
    #[schema(format = DateTime)]
    at: String,
    /// The name of a token, a person, or `anybody` where nobody is asked; or who used the command
    /// line.
    actor: String,
    /// jobs.retry, queues.pause, …
    action: String,
    /// The id of a job, the name of a queue, …; empty for many.
    subject: String,
    detail: serde_json::Value,
    /// The status of the answer, of a command 200 or 500; null when the server or the command ended
    /// before it had one.
    status: Option<u16>,
}

/// A page of the log, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Audit {
    entries: Vec<AuditEntry>,
    /// Where the next page begins.
    next: Option<String>,
}

/// List what operators did, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "access", params(AuditInput),
    responses((status = 200, body = Audit)))]
pub(super) async fn list(
    _: Allowed<Read>,
    State(site): State<Site>,
    Query(asked): Query<AuditInput>,
) -> Result<Json<Audit>, Problem> {
    let limit = asked.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid(format!("limit {limit} is not within 1 to {PAGE_MAX}")));
    }
    let before = asked.before.as_deref();
    if before.is_some_and(|key| key.parse::<uuid::Uuid>().is_err()) {
        return Err(Problem::invalid("before is no id of an entry; send the `next` of a page"));
    }
    let found = audit::page(site.client(), before, limit).await?;
    let next = (found.len() == limit).then(|| found.last().map(|item| item.key.clone())).flatten();
    let entries = found.into_iter().map(|item| AuditEntry {
        id: item.key,
        at: item.value.at().to_string(),
        actor: item.value.actor,
        action: item.value.action,
        subject: item.value.subject,
        detail: item.value.detail,
        status: item.value.status,
    });
    Ok(Json(Audit { entries: entries.collect(), next }))
}
