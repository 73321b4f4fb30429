//! One lease by itself: what a small worker, or a person with curl, says of its attempt. A fence
//! that no longer holds is answered with 409, and nothing is changed.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use dutiful::store::{Held, Note};
use dutiful::{Fence, LOG_LINES_MAX, LogLine, Progress, WorkerId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Work};
use super::fence::FenceText;
use super::finish::{EndInput, EndWord, FailureInput, Status, write};
use super::input::{Body, segment};
use super::problem::Problem;
use super::workers::renew;

/// The fence in the path.
pub(super) struct FenceOf(FenceText);

impl FromRequestParts<Site> for FenceOf {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        segment(parts, site).await?.parse().map(Self).map_err(Problem::not_found)
    }
}

/// The fence of an attempt.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what `FenceOf` reads")]
struct FencePath {
    fence: String,
}

/// Ends one attempt. The worker's own id is only for the record, and the store knows it.
async fn end(site: &Site, end: EndInput) -> Result<StatusCode, Problem> {
    let worker = holder(site, end.fence().0).await?;
    match write(site, worker, &[end]).await?.first() {
        Some((Status::Done, _)) => Ok(StatusCode::NO_CONTENT),
        Some((Status::Locked, _)) => {
            let detail = "an open transaction has the lease; send this again in a moment";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "locked", detail))
        }
        _ => Err(Problem::lease_lost()),
    }
}

/// Returns who holds an attempt.
async fn holder(site: &Site, fence: Fence) -> Result<WorkerId, Problem> {
    let attempt = site.attempts().get(site.client(), fence).await?;
    Ok(attempt.ok_or_else(Problem::lease_lost)?.worker())
}

/// What the handler returned.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CompleteInput {
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
}

/// The attempt succeeded.
#[utoipa::path(post, path = "/v1/leases/{fence}/complete", tag = "leases", params(FencePath),
    request_body = CompleteInput, responses((status = 204)))]
pub(super) async fn complete(
    _: Allowed<Work>,
    State(site): State<Site>,
    FenceOf(fence): FenceOf,
    Body(given): Body<CompleteInput>,
) -> Result<StatusCode, Problem> {
    end(&site, EndInput::new(fence, EndWord::Completed).completed(given.result)).await
}

/// What it failed with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailInput {
    error: FailureInput,
    /// This long until the next attempt, instead of the backoff.
    #[schema(minimum = 0)]
    retry_after_ms: Option<i64>,
    /// Give the job up for good.
    #[serde(default)]
    discard: bool,
}

/// The attempt failed.
#[utoipa::path(post, path = "/v1/leases/{fence}/fail", tag = "leases", params(FencePath),
    request_body = FailInput, responses((status = 204)))]
pub(super) async fn fail(
    _: Allowed<Work>,
    State(site): State<Site>,
    FenceOf(fence): FenceOf,
    Body(given): Body<FailInput>,
) -> Result<StatusCode, Problem> {
    let word = if given.discard { EndWord::Discarded } else { EndWord::Failed };
    end(&site, EndInput::new(fence, word).failed(given.error, given.retry_after_ms)).await
}

/// For how long.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnoozeInput {
    #[schema(minimum = 0)]
    delay_ms: i64,
}

/// Run the job again later, uncharged.
#[utoipa::path(post, path = "/v1/leases/{fence}/snooze", tag = "leases", params(FencePath),
    request_body = SnoozeInput, responses((status = 204)))]
pub(super) async fn snooze(
    _: Allowed<Work>,
    State(site): State<Site>,
    FenceOf(fence): FenceOf,
    Body(given): Body<SnoozeInput>,
) -> Result<StatusCode, Problem> {
    end(&site, EndInput::new(fence, EndWord::Snoozed).snoozed(given.delay_ms)).await
}

/// Give the job back unfinished, uncharged.
#[utoipa::path(post, path = "/v1/leases/{fence}/release", tag = "leases", params(FencePath),
    responses((status = 204)))]
pub(super) async fn release(
    _: Allowed<Work>,
    State(site): State<Site>,
    FenceOf(fence): FenceOf,
) -> Result<StatusCode, Problem> {
    end(&site, EndInput::new(fence, EndWord::Released)).await
}

/// How long the lease is to last from now.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExtendOneInput {
    #[schema(minimum = 1000, maximum = 3600000)]
    lease_ms: Option<u64>,
}

/// A lease that is held still.
#[derive(Serialize, ToSchema)]
pub(crate) struct Extended {
    /// True: somebody asked to stop the job.
    cancel: bool,
}

/// Renew the lease.
#[utoipa::path(post, path = "/v1/leases/{fence}/extend", tag = "leases", params(FencePath),
    request_body = ExtendOneInput, responses((status = 200, body = Extended)))]
pub(super) async fn extend(
    _: Allowed<Work>,
    State(site): State<Site>,
    FenceOf(fence): FenceOf,
    Body(given): Body<ExtendOneInput>,
) -> Result<Json<Extended>, Problem> {
    let worker = holder(&site, fence.0).await?;
    let beats = renew(&site, worker, &[fence.0], given.lease_ms).await?;
    let held = beats.first().filter(|beat| beat.held != Held::Lost);
    let beat = held.ok_or_else(Problem::lease_lost)?;
    Ok(Json(Extended { cancel: beat.cancel }))
}

/// How far the attempt has come.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgressInput {
    #[schema(minimum = 0, maximum = 100)]
    percent: u8,
    note: Option<String>,
}

/// Say how far the attempt has come.
#[utoipa::path(post, path = "/v1/leases/{fence}/progress", tag = "leases", params(FencePath),
    request_body = ProgressInput, responses((status = 204)))]
pub(super) async fn progress(
    _: Allowed<Work>,
    State(site): State<Site>,
    FenceOf(fence): FenceOf,
    Body(given): Body<ProgressInput>,
) -> Result<StatusCode, Problem> {
    if given.percent > 100 {
        return Err(Problem::invalid("percent is not within 0 to 100"));
    }
    let note = given.note.unwrap_or_default();
    let progress = Progress::new(given.percent, &note, site.now()?);
    let note = Note { fence: fence.0, progress: Some(progress), checkpoint: None, log: Vec::new() };
    noted(&site, note).await
}

/// Lines of the attempt's log.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogInput {
    /// The last 200 of an attempt are kept, of 1 KiB each.
    #[schema(max_items = 200)]
    lines: Vec<String>,
}

/// Add lines to the attempt's log.
#[utoipa::path(post, path = "/v1/leases/{fence}/log", tag = "leases", params(FencePath),
    request_body = LogInput, responses((status = 204)))]
pub(super) async fn log(
    _: Allowed<Work>,
    State(site): State<Site>,
    FenceOf(fence): FenceOf,
    Body(given): Body<LogInput>,
) -> Result<StatusCode, Problem> {
    if given.lines.len() > LOG_LINES_MAX as usize {
        let detail = format!("{} lines are given, {LOG_LINES_MAX} are kept", given.lines.len());
        return Err(Problem::invalid(detail));
    }
    // Two at once would take the same numbers, and one of the lines would be lost.
    let _turn = site.logging().await;
    let job = site.client().job(fence.0.id).await?;
    let last = job.and_then(|job| job.attempts.into_iter().next_back());
    let last =
        last.filter(|last| last.number == fence.0.attempt).ok_or_else(Problem::lease_lost)?;
    let first = last.log.last().map_or(1, |line| line.number.saturating_add(1));
    let at = site.now()?;
    let lines = given.lines.iter().zip(first..);
    let log = lines.map(|(text, number)| LogLine::new(number, at, text)).collect();
    noted(&site, Note { fence: fence.0, progress: None, checkpoint: None, log }).await
}

async fn noted(site: &Site, note: Note) -> Result<StatusCode, Problem> {
    match site.store().note(vec![note]).await?.first() {
        Some(Held::Yes) => Ok(StatusCode::NO_CONTENT),
        _ => Err(Problem::lease_lost()),
    }
}
