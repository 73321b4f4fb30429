//! Changes of all jobs that match a filter: done in the background by a job of our own, so that
//! they outlive the server, show how far they have come, and can be cancelled like any other job.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dutiful::{
    Change, Context, Error, HandlerError, Job, JobId, JobInfo, Retry, State as JobState, Worker,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Site;
use super::access::{Allowed, Operate, Read};
use super::filter::FilterInput;
use super::input::{Body, Id};
use super::jobs::{BulkVerb, IdPath};
use super::problem::Problem;
use super::view::StateView;

/// The queue of the server's own jobs.
pub(crate) const QUEUE: &str = "dutiful";
/// Jobs that are changed at once.
const STEP: usize = 200;
/// Pages of a thousand jobs, or of 50,000 that were examined, that a preview counts.
const PREVIEW_PAGES: usize = 10;
/// Slowest and fastest rate that can be asked for, in jobs a second.
const RATE_MAX: u32 = 100_000;

/// The job that does it.
#[derive(Serialize, Deserialize)]
struct Bulk {
    verb: BulkVerb,
    filter: FilterInput,
    per_second: Option<u32>,
    /// How many jobs matched at the beginning, as far as they were counted.
    expected: u64,
}

impl Job for Bulk {
    const TYPE: &'static str = "dutiful.bulk";
    const QUEUE: &'static str = QUEUE;
    const PRIORITY: u16 = 0;
    const MAX_ATTEMPTS: u32 = 20;
    const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
    const RETRY: Retry = Retry::exponential(Duration::from_secs(2));
}

/// How far it has come.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Done {
    before: Option<JobId>,
    examined: u64,
    changed: u64,
    refused: u64,
}

/// Adds what runs operations to a worker, one at a time.
pub(crate) fn work_on<A: Send + Sync + 'static>(worker: Worker<A>) -> Worker<A> {
    worker.job(run::<A>).queue(QUEUE, 1)
}

async fn run<A>(job: Bulk, cx: Context<A>) -> dutiful::Result<Done> {
    // A filter that was read when it came in can be read again.
    let unread = |_: Problem| HandlerError::discard(HandlerError::msg("its filter is unreadable"));
    let mut chosen = job.filter.chosen().map_err(unread)?;
    let mut done: Done = cx.checkpoint().await?.unwrap_or_default();
    // A step is no more than a second's worth, and comes after its second.
    let step = job.per_second.map_or(STEP, |rate| STEP.min(rate as usize));
    let every = job.per_second.map(|rate| Duration::from_secs_f64(step as f64 / f64::from(rate)));
    let mut due = Instant::now();
    loop {
        if let Some(every) = every {
            tokio::time::sleep_until(due).await;
            due = Instant::now() + every;
        }
        (chosen.filter.before, chosen.filter.limit) = (done.before, Some(step));
        let page = chosen.page(cx.client()).await?;
        let ids: Vec<_> = page.jobs.iter().map(|job| job.id).filter(|id| *id != cx.id()).collect();
        done.examined += ids.len() as u64;
        for (_, change) in cx.client().change_many(job.verb.verb(), ids).await? {
            match change {
                Change::Done | Change::Requested => done.changed += 1,
                _ => done.refused += 1,
            }
        }
        done.before = page.next;
        let percent = (done.examined * 99).checked_div(job.expected).unwrap_or(0).min(99) as u8;
        cx.progress(percent, format!("{} changed, {} refused", done.changed, done.refused));
        if page.next.is_none() {
            return Ok(done);
        }
        // Told durably before the next step: after a crash none is done twice for long.
        cx.save_checkpoint(&done).await?;
    }
}

/// A change of all jobs that match.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationInput {
    verb: BulkVerb,
    filter: FilterInput,
    /// At most so many jobs a second, to spare the services behind them.
    #[schema(minimum = 1, maximum = 100000)]
    per_second: Option<u32>,
}

/// A change of all jobs that match, and how far it has come.
#[derive(Serialize, ToSchema)]
pub(crate) struct Operation {
    /// The job that does it.
    #[schema(value_type = String, format = Uuid)]
    id: JobId,
    verb: BulkVerb,
    filter: FilterInput,
    #[schema(value_type = StateView)]
    state: JobState,
    examined: u64,
    changed: u64,
    /// Jobs whose state did not allow it any more.
    refused: u64,
    #[schema(maximum = 100)]
    percent: u8,
}

/// Change all jobs that match a filter, in the background.
#[utoipa::path(post, path = "/v1/operations", tag = "operations", request_body = OperationInput,
    responses((status = 202, body = Operation)))]
pub(super) async fn start(
    allowed: Allowed<Operate>,
    State(site): State<Site>,
    Body(given): Body<OperationInput>,
) -> Result<(StatusCode, Json<Operation>), Problem> {
    if given.per_second.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate)) {
        return Err(Problem::invalid(format!("per_second is not within 1 to {RATE_MAX}")));
    }
    let mut filter = given.filter;
    // What comes in later was not meant.
    if filter.until.is_none() {
        filter.until = Some(site.now()?.to_string());
    }
    let (expected, _) = count(&site, &filter).await?;
    let said = serde_json::json!({ "verb": given.verb, "filter": &filter, "expected": expected });
    allowed.detail(said);
    let job = Bulk { verb: given.verb, filter, per_second: given.per_second, expected };
    let id = site.client().enqueue(job).await?.id;
    let started = site.client().job(id).await?.ok_or(Error::NotFound(id))?;
    Ok((StatusCode::ACCEPTED, Json(describe(started)?)))
}

/// Show how far an operation has come. It is a job: cancel it as one.
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations", params(IdPath),
    responses((status = 200, body = Operation)))]
pub(super) async fn show(
    _: Allowed<Read>,
    State(site): State<Site>,
    Id(id): Id,
) -> Result<Json<Operation>, Problem> {
    let job = site.client().job(id).await?.ok_or(Error::NotFound(id))?;
    Ok(Json(describe(job)?))
}

fn describe(job: JobInfo) -> Result<Operation, Problem> {
    let no_operation = || Problem::not_found(format!("the job {} is no operation", job.id));
    if job.job_type.as_str() != Bulk::TYPE {
        return Err(no_operation());
    }
    let payload = job.payload.as_ref().map(|json| serde_json::from_str::<Bulk>(json.get()));
    let bulk = payload.and_then(Result::ok).ok_or_else(no_operation)?;
    let kept = job.result.as_ref().or(job.checkpoint.as_ref());
    let done: Option<Done> = kept.and_then(|json| serde_json::from_str(json.get()).ok());
    let done = done.unwrap_or_default();
    let percent = match job.state {
        JobState::Completed => 100,
        _ => job.progress.as_ref().map_or(0, |progress| progress.percent),
    };
    Ok(Operation {
        id: job.id,
        verb: bulk.verb,
        filter: bulk.filter,
        state: job.state,
        examined: done.examined,
        changed: done.changed,
        refused: done.refused,
        percent,
    })
}

/// Which jobs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewInput {
    filter: FilterInput,
}

/// How many jobs match.
#[derive(Serialize, ToSchema)]
pub(crate) struct Preview {
    at_least: u64,
    /// False where there are more than were counted.
    exact: bool,
}

/// Count the jobs that match, up to 10,000.
#[utoipa::path(post, path = "/v1/operations/preview", tag = "operations",
    request_body = PreviewInput, responses((status = 200, body = Preview)))]
pub(super) async fn preview(
    _: Allowed<Read>,
    State(site): State<Site>,
    Body(given): Body<PreviewInput>,
) -> Result<Json<Preview>, Problem> {
    let (at_least, exact) = count(&site, &given.filter).await?;
    Ok(Json(Preview { at_least, exact }))
}

async fn count(site: &Site, filter: &FilterInput) -> Result<(u64, bool), Problem> {
    let mut chosen = filter.chosen()?;
    chosen.filter.limit = Some(dutiful::PAGE_MAX);
    let mut matching = 0;
    for _ in 0..PREVIEW_PAGES {
        let page = chosen.page(site.client()).await?;
        matching += page.jobs.len() as u64;
        if page.next.is_none() {
            return Ok((matching, true));
        }
        chosen.filter.before = page.next;
    }
    // A filter that finds little examines much: that is said, not waited for.
    Ok((matching, false))
}
