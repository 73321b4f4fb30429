//! Jobs that come in: one, or up to a thousand in one piece.

use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use dutiful::{
    Delivery, EnqueueOutcome, Enqueued, InvalidJob, JobId, Name, NewJob, Settings, TEXT_BYTES_MAX,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Site;
use super::access::{Allowed, Enqueue};
use super::input::{Body, at_most, foreign_type};
use super::problem::Problem;
use super::view::{DeliveryView, EnqueueOutcomeView, NameView, TextView};

/// The header by which a caller without an id of its own says what is the same job.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Most jobs in one batch, which the store takes in one piece.
const BATCH_MAX: usize = 1000;

/// A job to enqueue. What is not said comes from what the type's workers registered, else from the
/// defaults. Unknown names are refused, so that no slip is lost.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewJob)]
pub(crate) struct JobInput {
    /// Which handler runs it: 1 to 128 of `A-Z a-z 0-9 _ . : -`.
    #[serde(rename = "type")]
    #[schema(value_type = NameView)]
    job_type: String,
    /// Any JSON value, kept byte for byte.
    #[serde(default = "nothing")]
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    /// A UUID (best: version 7). Sent again with the same id, it changes nothing.
    #[schema(format = Uuid)]
    id: Option<String>,
    #[schema(value_type = Option<NameView>)]
    queue: Option<String>,
    /// Lower runs first.
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<i64>,
    #[schema(format = DateTime)]
    scheduled_for: Option<String>,
    /// A wait by the store's own clock.
    #[schema(minimum = 0)]
    delay_ms: Option<i64>,
    /// Failures after which it is dead.
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: Option<i64>,
    /// How long one attempt may run.
    #[schema(minimum = 1, maximum = 2592000000_i64)]
    timeout_ms: Option<i64>,
    #[schema(value_type = Option<TextView>)]
    correlation_id: Option<String>,
    /// W3C `traceparent`; the header of that name counts where this is missing.
    #[schema(pattern = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
    trace_parent: Option<String>,
    #[schema(value_type = Option<TextView>)]
    group: Option<String>,
    /// At most one live job has this key.
    #[schema(value_type = Option<TextView>)]
    unique_key: Option<String>,
    #[serde(default)]
    #[schema(value_type = Vec<TextView>, max_items = 20)]
    tags: Vec<String>,
    #[schema(value_type = Option<DeliveryView>)]
    delivery: Option<Delivery>,
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// What an enqueue did.
#[derive(Serialize, ToSchema)]
#[schema(as = Enqueued)]
pub(crate) struct EnqueuedView {
    /// The job that is stored now: ours, or the live one that has the unique key.
    #[schema(value_type = String, format = Uuid)]
    id: JobId,
    #[schema(value_type = EnqueueOutcomeView)]
    outcome: EnqueueOutcome,
}

impl From<Enqueued> for EnqueuedView {
    fn from(one: Enqueued) -> Self {
        Self { id: one.id, outcome: one.outcome }
    }
}

/// Enqueue one job. It is durable when this answers.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", request_body = JobInput, params(
    ("Idempotency-Key" = Option<String>, Header, description = "Instead of an id: the same key is \
        the same job, for as long as that is on record", pattern = "^[!-~]{1,255}$"),
), responses(
    (status = 201, body = EnqueuedView, description = "It is stored"),
    (status = 200, body = EnqueuedView, description = "It was there, or a live job has its key"),
))]
pub(super) async fn enqueue(
    allowed: Allowed<Enqueue>,
    State(site): State<Site>,
    headers: HeaderMap,
    Body(job): Body<JobInput>,
) -> Result<(StatusCode, Json<EnqueuedView>), Problem> {
    let mut job = job.into_job(trace_parent(&headers))?;
    if let Some(key) = headers.get(IDEMPOTENCY_KEY) {
        if job.settings.id.is_some() {
            return Err(Problem::invalid("send either an id or an Idempotency-Key, not both"));
        }
        job.settings.id = Some(id_of(key)?);
    }
    keep_to_queues(&allowed, &site, std::slice::from_mut(&mut job)).await?;
    let asked = site.client().enqueue_raw(&job.job_type, job.payload).settings(job.settings);
    let enqueued = asked.await?;
    let new = enqueued.outcome == EnqueueOutcome::New;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(enqueued.into())))
}

/// Returns the id of the job that a key stands for: always the same, so that a request sent again
/// finds the first one's job for as long as that is on record. It sorts by no time, unlike an id
/// that the caller makes.
fn id_of(key: &HeaderValue) -> Result<JobId, Problem> {
    let key = key.as_bytes();
    if key.is_empty() || key.len() > TEXT_BYTES_MAX {
        let detail = format!("the Idempotency-Key has 1 to {TEXT_BYTES_MAX} bytes");
        return Err(Problem::invalid(detail));
    }
    Ok(named(&[b"dutiful:idempotency-key:", key]))
}

/// Returns the id that is always made of these words.
pub(super) fn named(words: &[&[u8]]) -> JobId {
    JobId::from_bytes(Uuid::new_v5(&Uuid::NAMESPACE_URL, &words.concat()).into_bytes())
}

/// Many jobs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchInput {
    #[schema(max_items = 1000)]
    jobs: Vec<JobInput>,
}

/// What became of each, in their order.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchEnqueued {
    jobs: Vec<EnqueuedView>,
}

/// Enqueue up to 1000 jobs, all or none. They are durable when this answers.
#[utoipa::path(post, path = "/v1/jobs/batch", tag = "jobs", request_body = BatchInput,
    responses((status = 200, body = BatchEnqueued)))]
pub(super) async fn enqueue_batch(
    allowed: Allowed<Enqueue>,
    State(site): State<Site>,
    headers: HeaderMap,
    Body(batch): Body<BatchInput>,
) -> Result<Json<BatchEnqueued>, Problem> {
    at_most(batch.jobs.len(), BATCH_MAX, "jobs")?;
    let trace_parent = trace_parent(&headers);
    let jobs =
        batch.jobs.into_iter().enumerate().map(|(at, job)| {
            job.into_job(trace_parent.clone()).map_err(|problem| problem.about(at))
        });
    let mut jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    keep_to_queues(&allowed, &site, &mut jobs).await?;
    let stored = site.client().enqueue_many(jobs).await?;
    Ok(Json(BatchEnqueued { jobs: stored.into_iter().map(EnqueuedView::from).collect() }))
}

/// Refuses jobs for queues that the caller may not use. A job that names no queue gets the one that
/// it would get, so that nobody registers another one for its type in between.
async fn keep_to_queues(
    allowed: &Allowed<Enqueue>,
    site: &Site,
    jobs: &mut [NewJob],
) -> Result<(), Problem> {
    if !allowed.is_limited() {
        return Ok(());
    }
    let unnamed = jobs.iter().filter(|job| job.settings.queue.is_none());
    let types: HashSet<_> = unnamed.map(|job| job.job_type.as_str()).collect();
    let types = types.into_iter().map(|name| Name::new("type", name)).collect::<Result<_, _>>()?;
    let known = site.store().types(types).await?;
    for (at, job) in jobs.iter_mut().enumerate() {
        let own = known.iter().find(|one| one.job_type.as_str() == job.job_type);
        let own = || own.map_or("default", |one| one.queue.as_str()).to_owned();
        let queue = Name::new("queue", job.settings.queue.get_or_insert_with(own))?;
        allowed.queues([&queue]).map_err(|problem| problem.about(at))?;
    }
    Ok(())
}

impl JobInput {
    /// What its values may be is for the library to say.
    fn into_job(self, trace_parent: Option<String>) -> Result<NewJob, Problem> {
        let settings = Settings {
            id: self.id.map(|id| id.parse()).transpose()?,
            queue: self.queue,
            priority: self.priority,
            scheduled_for: self.scheduled_for.map(|at| at.parse::<Timestamp>()).transpose()?,
            delay: self.delay_ms.map(|ms| millis("delay_ms", ms)).transpose()?,
            max_attempts: self.max_attempts,
            timeout: self.timeout_ms.map(timeout).transpose()?,
            correlation_id: self.correlation_id,
            trace_parent: self.trace_parent.or(trace_parent),
            group: self.group,
            unique_key: self.unique_key,
            tags: self.tags,
            delivery: self.delivery,
        };
        foreign_type(&self.job_type)?;
        let payload = String::from(Box::<str>::from(self.payload)).into_bytes();
        Ok(NewJob { job_type: self.job_type, payload, settings })
    }
}

/// Reads a time in ms that must not be negative.
pub(super) fn millis(name: &str, ms: i64) -> Result<Duration, Problem> {
    let negative = |_| Problem::invalid(format!("{name} is {ms}: it cannot be negative"));
    u64::try_from(ms).map(Duration::from_millis).map_err(negative)
}

fn timeout(ms: i64) -> Result<Duration, Problem> {
    let ms = u64::try_from(ms).map_err(|_| InvalidJob::Timeout(format!("{ms}ms")))?;
    Ok(Duration::from_millis(ms))
}

/// The trace of the request, which the job goes on with. One that cannot be read is not the job's
/// fault: a proxy may have written it.
fn trace_parent(headers: &HeaderMap) -> Option<String> {
    let given = headers.get("traceparent")?.to_str().ok()?;
    let plain = given.len() == 55 && given.starts_with("00-");
    let hex = |b: u8| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (plain && given.bytes().all(hex) && given.matches('-').count() == 3).then(|| given.to_owned())
}
