//! Jobs that are there: list, show, wait for their end, and change them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dutiful::{Change, Error, Failure, Filter, JobId, JobInfo, JobResult, State as JobState, Verb};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Operate, Read};
use super::enqueue::{millis, named};
use super::filter::{Chosen, FilterInput};
use super::input::{self, Body, Id, Query, at_most};
use super::problem::Problem;
use super::view::{FailureView, IdView, JobView, NameView, StateView};

/// Jobs on a page when nobody says how many, and at most.
pub(super) const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;
/// A search that finds little ends after so long, and is gone on with by whoever asked: a page that
/// is asked for again and again must not keep the store busy.
const SEARCH_MAX: Duration = Duration::from_millis(30);
/// Longest wait for a result.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Most ids in one change.
const CHANGE_MAX: usize = 1000;

/// Which page of which jobs.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageInput {
    /// In this state.
    #[param(value_type = Option<StateView>)]
    state: Option<JobState>,
    /// Only jobs that have not ended.
    live: bool,
    #[param(value_type = Option<NameView>)]
    queue: Option<String>,
    #[serde(rename = "type")]
    #[param(value_type = Option<NameView>)]
    job_type: Option<String>,
    group: Option<String>,
    tag: Option<String>,
    correlation_id: Option<String>,
    /// Whose last error has this text in its class or message, in upper or lower case.
    error: Option<String>,
    /// Dead of this: a fingerprint of `/v1/dead/groups`.
    fingerprint: Option<String>,
    /// Enqueued at this time or later.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Enqueued before this time.
    #[param(format = DateTime)]
    until: Option<String>,
    /// Older than this id: the `next` of the page before.
    #[param(format = Uuid)]
    before: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

impl PageInput {
    fn chosen(self) -> Result<Chosen, Problem> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit {limit} is not within 1 to {PAGE_MAX}")));
        }
        let before = self.before.as_deref().map(str::parse).transpose()?;
        let filter = FilterInput {
            state: self.state,
            queue: self.queue,
            job_type: self.job_type,
            group: self.group,
            tag: self.tag,
            correlation_id: self.correlation_id,
            error: self.error,
            fingerprint: self.fingerprint,
            since: self.since,
            until: self.until,
        };
        let mut chosen = filter.chosen()?;
        let (limit, patience) = (Some(limit), Some(SEARCH_MAX));
        chosen.filter = Filter { live: self.live, before, limit, patience, ..chosen.filter };
        Ok(chosen)
    }
}

/// A page of jobs, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobPage {
    jobs: Vec<JobView>,
    /// Where the next page begins. A page may be short, or empty, and have one: it searched for a
    /// while and found no more.
    #[schema(value_type = Option<String>, format = Uuid)]
    next: Option<JobId>,
}

/// List jobs, newest first, without payloads and attempts.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(PageInput),
    responses((status = 200, body = JobPage)))]
pub(super) async fn list(
    allowed: Allowed<Read>,
    State(site): State<Site>,
    Query(page): Query<PageInput>,
) -> Result<Json<JobPage>, Problem> {
    let mut page = page.chosen()?.page(site.client()).await?;
    if !allowed.sees_all() {
        // Stores answer many at once sooner than one after the other.
        let hidden = page.jobs.iter_mut().map(|job| hide_in_list(&site, job));
        try_join_all(hidden).await?;
    }
    let jobs = page.jobs.into_iter().map(JobView::from).collect();
    Ok(Json(JobPage { jobs, next: page.next }))
}

/// Hides in a job of a list what its error and its note tell of its payload, which is read for it.
async fn hide_in_list(site: &Site, job: &mut JobInfo) -> Result<(), Problem> {
    let says = job.last_error.is_some() || job.progress.is_some();
    if !says || !site.redaction().hides_of(job.job_type.as_str()) {
        return Ok(());
    }
    // Where it is gone meanwhile nobody knows what to hide.
    let whole = site.client().job(job.id).await?;
    (job.last_error, job.progress) = match whole {
        Some(mut whole) => {
            site.redaction().job(&mut whole);
            (whole.last_error, whole.progress)
        }
        None => (None, None),
    };
    Ok(())
}

/// Show one job with its payload, attempts and log lines.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(IdPath),
    responses((status = 200, body = JobView)))]
pub(super) async fn show(
    allowed: Allowed<Read>,
    State(site): State<Site>,
    Id(id): Id,
) -> Result<Json<JobView>, Problem> {
    let mut job = site.client().job(id).await?.ok_or(Error::NotFound(id))?;
    if !allowed.sees_all() {
        site.redaction().job(&mut job);
    }
    Ok(Json(job.into()))
}

/// The id of a job.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what `Id` reads")]
pub(super) struct IdPath {
    #[param(format = Uuid)]
    id: String,
}

/// How long to wait.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitInput {
    /// At most 60000.
    #[param(minimum = 0, maximum = 60000)]
    wait_ms: u64,
}

/// How a job ended, or where it stands meanwhile.
#[derive(Serialize, ToSchema)]
#[schema(as = JobResult)]
pub(crate) struct ResultView {
    #[schema(value_type = String, format = Uuid)]
    id: JobId,
    #[schema(value_type = StateView)]
    state: JobState,
    /// What the handler returned.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    #[schema(value_type = Option<FailureView>)]
    error: Option<Failure>,
}

/// Wait for the end of a job, and for what its handler returned.
#[utoipa::path(get, path = "/v1/jobs/{id}/result", tag = "jobs", params(IdPath, WaitInput),
    responses(
        (status = 200, body = ResultView, description = "It has ended"),
        (status = 202, body = ResultView, description = "It has not; ask again"),
    ))]
pub(super) async fn result(
    allowed: Allowed<Read>,
    State(site): State<Site>,
    Id(id): Id,
    Query(wait): Query<WaitInput>,
) -> Result<(StatusCode, Json<ResultView>), Problem> {
    let wait = input::wait(wait.wait_ms, WAIT_MAX)?;
    let ended = tokio::select! {
        ended = site.client().result(id).timeout(wait) => Some(ended),
        () = site.stopping() => None,
    };
    let ended = match ended {
        None | Some(Err(Error::NotEnded { .. })) => {
            site.store().result(vec![id]).await?.pop().flatten()
        }
        Some(ended) => Some(ended?),
    };
    let JobResult { id, state, mut result, mut error } = ended.ok_or(Error::NotFound(id))?;
    if !site.redaction().is_empty() && !allowed.sees_all() {
        // What is hidden of it stands in its payload.
        let mut job = site.client().job(id).await?.ok_or(Error::NotFound(id))?;
        if site.redaction().hides_of(job.job_type.as_str()) {
            site.redaction().job(&mut job);
            (result, error) = (job.result.filter(|_| result.is_some()), job.last_error);
        }
    }
    let status = if state.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(ResultView { id, state, result, error })))
}

/// What a change did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Changed {
    /// `requested`: the job is active, and its worker stops it within a second.
    #[schema(value_type = ChangedWord)]
    change: &'static str,
}

/// Whether a change is done.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "it describes the words of a change")]
enum ChangedWord {
    Done,
    Requested,
}

fn changed(change: Change) -> Json<Changed> {
    let change = if change == Change::Requested { "requested" } else { "done" };
    Json(Changed { change })
}

/// Stop a job: a waiting one at once, an active one when its worker hears of it.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs", params(IdPath),
    responses((status = 200, body = Changed)))]
pub(super) async fn cancel(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Id(id): Id,
) -> Result<Json<Changed>, Problem> {
    Ok(changed(site.client().cancel(id).await?))
}

/// Run a dead, failed or cancelled job again, now.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(IdPath),
    responses((status = 200, body = Changed)))]
pub(super) async fn retry(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Id(id): Id,
) -> Result<Json<Changed>, Problem> {
    Ok(changed(site.client().retry(id).await?))
}

/// Take a dead job out of the dead letter queue; it stays on record as cancelled.
#[utoipa::path(post, path = "/v1/jobs/{id}/discard", tag = "jobs", params(IdPath),
    responses((status = 200, body = Changed)))]
pub(super) async fn discard(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Id(id): Id,
) -> Result<Json<Changed>, Problem> {
    Ok(changed(site.client().discard(id).await?))
}

/// Another time: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RescheduleInput {
    #[schema(format = DateTime)]
    at: Option<String>,
    /// From now.
    #[schema(minimum = 0)]
    delay_ms: Option<i64>,
}

/// Give a waiting job another time.
#[utoipa::path(post, path = "/v1/jobs/{id}/reschedule", tag = "jobs", params(IdPath),
    request_body = RescheduleInput, responses((status = 200, body = Changed)))]
pub(super) async fn reschedule(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Id(id): Id,
    Body(time): Body<RescheduleInput>,
) -> Result<Json<Changed>, Problem> {
    let at = match (time.at, time.delay_ms) {
        (Some(at), None) => at.parse()?,
        (None, Some(ms)) => site.now()?.plus(millis("delay_ms", ms)?),
        _ => return Err(Problem::invalid("say either at (a time) or delay_ms (from now)")),
    };
    Ok(changed(site.client().reschedule(id, at).await?))
}

/// Remove every trace of a job that is not active.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(IdPath),
    responses((status = 200, body = Changed)))]
pub(super) async fn delete(
    _: Allowed<Operate>,
    State(site): State<Site>,
    Id(id): Id,
) -> Result<Json<Changed>, Problem> {
    Ok(changed(site.client().delete(id).await?))
}

/// A change of many jobs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeInput {
    verb: BulkVerb,
    #[schema(value_type = Vec<IdView>, max_items = 1000)]
    ids: Vec<String>,
}

/// What can be done with many jobs at once.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BulkVerb {
    Cancel,
    Retry,
    Discard,
    Delete,
}

impl BulkVerb {
    pub(super) fn verb(self) -> Verb {
        match self {
            Self::Cancel => Verb::Cancel,
            Self::Retry => Verb::Retry,
            Self::Discard => Verb::Discard,
            Self::Delete => Verb::Delete,
        }
    }
}

/// What a change did to each job, in their order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Changes {
    changes: Vec<ChangeOfOne>,
}

/// What a change did to one of many jobs.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangeOfOne {
    #[schema(value_type = String, format = Uuid)]
    id: JobId,
    #[serde(flatten)]
    #[schema(value_type = ChangeView)]
    change: Change,
}

/// What a change did: `refused` names the state that forbids it, `conflict` the job that has the
/// unique key.
#[derive(ToSchema)]
#[schema(as = Change)]
#[allow(dead_code, reason = "the library's own type is what is shown")]
pub(crate) struct ChangeView {
    change: ChangeWord,
    state: Option<StateView>,
    #[schema(format = Uuid)]
    holder: Option<String>,
}

/// What a change can do to one of many jobs.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "it describes the words of a change")]
enum ChangeWord {
    Done,
    Requested,
    NotFound,
    Refused,
    Conflict,
}

/// Change up to 1000 jobs by their ids; no single one is an error.
#[utoipa::path(post, path = "/v1/jobs/change", tag = "jobs", request_body = ChangeInput,
    responses((status = 200, body = Changes)))]
pub(super) async fn change_many(
    allowed: Allowed<Operate>,
    State(site): State<Site>,
    Body(asked): Body<ChangeInput>,
) -> Result<Json<Changes>, Problem> {
    let some = asked.ids.iter().take(20).collect::<Vec<_>>();
    allowed.detail(json!({ "verb": asked.verb, "jobs": asked.ids.len(), "first": some }));
    at_most(asked.ids.len(), CHANGE_MAX, "ids")?;
    let ids = asked.ids.iter().map(|id| id.parse()).collect::<Result<Vec<JobId>, _>>()?;
    let changes = site.client().change_many(asked.verb.verb(), ids).await?;
    let changes = changes.into_iter().map(|(id, change)| ChangeOfOne { id, change }).collect();
    Ok(Json(Changes { changes }))
}

/// Another payload.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditInput {
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
}

/// The job that goes on instead.
#[derive(Serialize, ToSchema)]
pub(crate) struct Edited {
    #[schema(value_type = String, format = Uuid)]
    id: JobId,
}

/// Run a dead or cancelled job with another payload: a copy of it is enqueued, with the same
/// settings and correlation id, and the old one is taken out of the dead letter queue.
#[utoipa::path(post, path = "/v1/jobs/{id}/edit", tag = "jobs", params(IdPath),
    request_body = EditInput, responses((status = 201, body = Edited)))]
pub(super) async fn edit(
    allowed: Allowed<Operate>,
    State(site): State<Site>,
    Id(id): Id,
    Body(edit): Body<EditInput>,
) -> Result<(StatusCode, Json<Edited>), Problem> {
    let job = site.client().job(id).await?.ok_or(Error::NotFound(id))?;
    if !matches!(job.state, JobState::Dead | JobState::Cancelled) {
        let advice = "only a dead or cancelled job can be run with another payload";
        return Err(Error::WrongState { verb: "edit", id, state: job.state, advice }.into());
    }
    let payload = match &job.payload {
        Some(original) => site.redaction().restore(job.job_type.as_str(), &edit.payload, original),
        None => edit.payload,
    };
    let settings = dutiful::Settings {
        // Asked for again, it is the same copy.
        id: Some(named(&[b"dutiful:edit:", id.as_bytes(), payload.get().as_bytes()])),
        queue: Some(job.queue.to_string()),
        priority: Some(job.priority.into()),
        max_attempts: Some(job.max_attempts.into()),
        timeout: Some(Duration::from_millis(job.timeout_ms)),
        correlation_id: Some(job.correlation_id),
        trace_parent: job.trace_parent,
        group: job.group,
        unique_key: job.unique_key,
        tags: job.tags,
        delivery: Some(job.delivery),
        ..dutiful::Settings::default()
    };
    let payload = String::from(Box::<str>::from(payload));
    let enqueued = site.client().enqueue_raw(job.job_type.as_str(), payload).settings(settings);
    let enqueued = enqueued.await?;
    if enqueued.outcome == dutiful::EnqueueOutcome::Duplicate {
        return Err(Error::Conflict { verb: "edit", id, holder: enqueued.id }.into());
    }
    if job.state == JobState::Dead {
        // Somebody may have done so meanwhile; the copy is there either way.
        site.client().change_many(Verb::Discard, vec![id]).await?;
    }
    allowed.detail(json!({ "goes_on_as": enqueued.id }));
    Ok((StatusCode::CREATED, Json(Edited { id: enqueued.id })))
}
