//! Claims of workers of other languages: due jobs under a lease, waited for where there are none.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dutiful::store::{ClaimRequest, Claimed, End, Lane, Store};
use dutiful::{Delivery, JobId, Name, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Site;
use super::access::{Allowed, Work};
use super::fence::FenceText;
use super::input::{self, Body, WorkerOf, foreign_type};
use super::problem::Problem;
use super::view::{DeliveryView, FenceView};
use super::workers::{JOBS_MAX, NAMES_MAX, WorkerPath, lanes, lease};

/// Most bytes of payload in one claim.
const CLAIM_BYTES: usize = 4 * 1024 * 1024;
/// Longest wait for jobs: shorter than proxies wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A waiting claim looks this often without being rung.
const POLL: Duration = Duration::from_millis(250);

/// What to claim; what is not said is as the worker registered it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Claim)]
pub(crate) struct ClaimInput {
    /// How many jobs of each queue there is room for now.
    queues: Option<BTreeMap<String, usize>>,
    types: Option<Vec<String>>,
    /// In all.
    #[schema(minimum = 1, maximum = 1000)]
    max: Option<usize>,
    #[schema(minimum = 1000, maximum = 3600000)]
    lease_ms: Option<u64>,
    /// Wait so long for a job when there is none.
    #[schema(minimum = 0, maximum = 30000)]
    wait_ms: u64,
}

/// Jobs under a lease.
#[derive(Serialize, ToSchema)]
#[schema(as = Claimed)]
pub(crate) struct ClaimedJobs {
    jobs: Vec<ClaimedJob>,
}

/// A job under a lease.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClaimedJob {
    /// The right to write about this attempt: send it with everything that is said of it.
    #[schema(value_type = FenceView)]
    fence: FenceText,
    #[schema(value_type = String, format = Uuid)]
    id: JobId,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    job_type: Name,
    #[schema(value_type = String)]
    queue: Name,
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    /// The number of this attempt, from 1.
    attempt: u32,
    failures: u32,
    crashes: u32,
    max_attempts: u32,
    /// End it as failed, of the class `timeout`, when it runs longer.
    timeout_ms: u64,
    #[schema(value_type = DeliveryView)]
    delivery: Delivery,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    run_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    claimed_at: Timestamp,
    lease_ms: u64,
    correlation_id: String,
    trace_parent: Option<String>,
    group: Option<String>,
    /// The same in every attempt: send it to services that know such keys.
    idempotency_key: String,
}

/// Take due jobs under a lease; waits for some where there are none.
#[utoipa::path(post, path = "/v1/workers/{id}/claim", tag = "workers", params(WorkerPath),
    request_body = ClaimInput, responses((status = 200, body = ClaimedJobs)))]
pub(super) async fn claim(
    allowed: Allowed<Work>,
    State(site): State<Site>,
    WorkerOf(worker): WorkerOf,
    Body(given): Body<ClaimInput>,
) -> Result<Json<ClaimedJobs>, Problem> {
    let wait = input::wait(given.wait_ms, WAIT_MAX)?;
    allowed.worker(&site, worker).await?;
    let (lease, ask) = (lease(given.lease_ms)?, request(&site, worker, given).await?);
    allowed.queues(ask.lanes.iter().map(|lane| &lane.queue))?;
    let until = Instant::now() + wait;
    loop {
        // Listen before looking, so that a job that comes in between is not slept over.
        let heard = site.store().doorbell(0).await;
        let risk = site.attempts().risk(worker);
        let ask = ClaimRequest { crashed: usize::from(risk.is_some()), ..ask.clone() };
        let claimed = claim_safely(&site, ask).await?;
        site.attempts().remember(worker, &claimed, lease);
        drop(risk);
        let left = until.saturating_duration_since(Instant::now());
        if !claimed.is_empty() || left.is_zero() {
            let jobs = claimed.into_iter().map(|job| claimed_job(job, lease));
            return Ok(Json(ClaimedJobs { jobs: jobs.collect() }));
        }
        let poll = POLL.mul_f64(0.8 + 0.4 * fastrand::f64()).min(left);
        tokio::select! {
            _ = site.store().doorbell(heard) => {}
            () = tokio::time::sleep(poll) => {}
            () = site.stopping() => {
                return Ok(Json(ClaimedJobs { jobs: Vec::new() }));
            }
        }
    }
}

/// Claims on a task of its own: where the caller goes away in the middle, what was claimed for it
/// is given back at once, uncharged, instead of waiting for the end of its lease.
async fn claim_safely(site: &Site, ask: ClaimRequest) -> Result<Vec<Claimed>, Problem> {
    let (to, answer) = tokio::sync::oneshot::channel();
    let store = site.store().clone();
    tokio::spawn(async move {
        let worker = ask.worker;
        if let Err(Ok(unwanted)) = to.send(store.claim(ask).await) {
            give_back(&*store, worker, unwanted).await;
        }
    });
    let gone = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "claiming panicked");
    Ok(answer.await.map_err(|_| gone())??)
}

async fn give_back(store: &dyn Store, worker: WorkerId, jobs: Vec<Claimed>) {
    let leased = jobs.iter().filter(|job| job.delivery == Delivery::AtLeastOnce);
    let ends: Vec<_> = leased.map(|job| job.unstarted(End::Released)).collect();
    if !ends.is_empty() {
        // Where the store cannot hear it, the leases run out.
        let _ = store.finish(worker, ends).await;
    }
}

fn claimed_job(job: Claimed, lease: Duration) -> ClaimedJob {
    let id = job.fence.id;
    let payload = String::from_utf8(job.payload).unwrap_or_default();
    ClaimedJob {
        fence: FenceText(job.fence),
        id,
        job_type: job.job_type,
        queue: job.queue,
        // It was checked when it came in.
        payload: RawValue::from_string(payload).unwrap_or_default(),
        attempt: job.fence.attempt,
        failures: job.failures,
        crashes: job.crashes,
        max_attempts: job.max_attempts,
        timeout_ms: job.timeout.as_millis() as u64,
        delivery: job.delivery,
        created_at: job.created_at,
        run_at: job.run_at,
        claimed_at: job.claimed_at,
        lease_ms: lease.as_millis() as u64,
        correlation_id: job.correlation_id.unwrap_or_else(|| id.to_string()),
        trace_parent: job.trace_parent,
        group: job.group,
        idempotency_key: id.to_string(),
    }
}

/// Puts a claim together from what is asked and from what the worker registered.
async fn request(
    site: &Site,
    worker: WorkerId,
    given: ClaimInput,
) -> Result<ClaimRequest, Problem> {
    let card = site.card(worker).await?;
    let queues = given.queues.as_ref().map_or_else(|| Ok(card.queues.clone()), lanes)?;
    let types = match given.types {
        Some(types) => {
            types.iter().map(|name| foreign_type(name)).collect::<Result<HashSet<_>, _>>()?
        }
        None => card.types.iter().map(|one| one.job_type.clone()).collect(),
    };
    if queues.len() > NAMES_MAX || types.len() > NAMES_MAX {
        return Err(Problem::invalid(format!("name at most {NAMES_MAX} queues and types")));
    }
    if given.max.is_some_and(|max| !(1..=JOBS_MAX).contains(&max)) {
        return Err(Problem::invalid(format!("max is not within 1 to {JOBS_MAX}")));
    }
    let room: usize = queues.iter().map(|(_, room)| *room).sum();
    let limit = given.max.unwrap_or(room).min(room);
    let lane = |(queue, room): (Name, usize)| Lane { queue, limit: room, at_most_once: room };
    let mut lanes: Vec<_> = queues.into_iter().filter(|(_, room)| *room > 0).map(lane).collect();
    if limit < room && !lanes.is_empty() {
        // Not all queues fit: none is to be the first each time.
        let first = fastrand::usize(..lanes.len());
        lanes.rotate_left(first);
    }
    Ok(ClaimRequest {
        worker,
        lanes,
        types: Arc::new(types),
        lease: lease(given.lease_ms)?,
        limit: limit.min(JOBS_MAX),
        bytes: CLAIM_BYTES,
        crashed: 0,
    })
}
