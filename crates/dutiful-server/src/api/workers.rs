//! Workers of other languages: they register, say that they live, renew their leases, and leave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dutiful::store::{Beat, HeartbeatRequest, Held, WorkerCard};
use dutiful::{Delivery, Fence, Name, TypeDefaults, WorkerId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Read, Work};
use super::enqueue::millis;
use super::fence::FenceText;
use super::input::{Body, WorkerOf, at_most, foreign_type};
use super::problem::Problem;
use super::view::{DeliveryView, FenceView, WorkerView};

/// Most queues, and types, of one worker.
pub(super) const NAMES_MAX: usize = 1000;
/// Longest name of a worker, in bytes.
const WORKER_NAME_MAX: usize = 255;
/// Most jobs of one claim, and attempts in one call.
pub(super) const JOBS_MAX: usize = 1000;
/// How long a lease lasts unless the worker says, and what it may say.
const LEASE: Duration = Duration::from_secs(30);
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(3600);

/// Workers on record.
#[derive(Serialize, ToSchema)]
pub(crate) struct Workers {
    workers: Vec<WorkerView>,
}

/// List workers, running ones first, then the latest.
#[utoipa::path(get, path = "/v1/workers", tag = "workers",
    responses((status = 200, body = Workers)))]
pub(super) async fn list(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<Workers>, Problem> {
    let workers = site.client().workers().await?.into_iter().map(WorkerView::from).collect();
    Ok(Json(Workers { workers }))
}

/// A worker that begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewWorker)]
pub(crate) struct WorkerInput {
    /// Host and process, for people.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// The queues it serves, with how many jobs of each it runs at a time.
    queues: BTreeMap<String, usize>,
    /// The types it runs: their names, or the names with what jobs get that say nothing else.
    types: Types,
}

/// Types by name alone, or with their settings.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = WorkerTypes)]
enum Types {
    Names(Vec<String>),
    Settings(BTreeMap<String, TypeInput>),
}

/// What a job of a type gets where its enqueue says nothing.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = TypeSettings)]
struct TypeInput {
    queue: Option<String>,
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<u16>,
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: Option<u32>,
    #[schema(minimum = 1)]
    timeout_ms: Option<i64>,
    #[schema(value_type = Option<DeliveryView>)]
    delivery: Option<Delivery>,
}

impl TypeInput {
    fn settings(self, name: &str) -> Result<TypeDefaults, Problem> {
        let mut settings = TypeDefaults::unknown(foreign_type(name)?);
        if let Some(queue) = &self.queue {
            settings.queue = Name::new("queue", queue)?;
        }
        settings.priority = self.priority.unwrap_or(settings.priority);
        settings.max_attempts = self.max_attempts.unwrap_or(settings.max_attempts);
        settings.delivery = self.delivery.unwrap_or(settings.delivery);
        if let Some(ms) = self.timeout_ms {
            settings.timeout = millis("timeout_ms", ms)?;
        }
        let timeout = Duration::from_millis(1)..=dutiful::TIMEOUT_MAX;
        if settings.priority > dutiful::PRIORITY_MAX
            || !(1..=dutiful::ATTEMPTS_MAX).contains(&settings.max_attempts)
            || !timeout.contains(&settings.timeout)
        {
            return Err(Problem::invalid(format!(
                "the type {name}: priority is 0 to 1000, max_attempts 1 to 1000, timeout_ms 1 to \
                 30 days"
            )));
        }
        Ok(settings)
    }
}

/// The worker's own id, and how often it has to be heard of.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    id: String,
    /// How long a lease lasts, unless a claim says otherwise.
    lease_ms: u64,
    /// Extend leases, or call `extend` without any, at least this often.
    beat_ms: u64,
}

/// Begin as a worker. Each start registers anew.
#[utoipa::path(post, path = "/v1/workers", tag = "workers", request_body = WorkerInput,
    responses((status = 201, body = Registered)))]
pub(super) async fn register(
    allowed: Allowed<Work>,
    State(site): State<Site>,
    Body(given): Body<WorkerInput>,
) -> Result<(StatusCode, Json<Registered>), Problem> {
    let name = given.name.trim();
    if name.is_empty() || name.len() > WORKER_NAME_MAX || name.contains('\0') {
        let detail = format!("name has 1 to {WORKER_NAME_MAX} bytes: the host and the process");
        return Err(Problem::invalid(detail));
    }
    let types = match given.types {
        Types::Names(names) => names.into_iter().map(|name| (name, TypeInput::default())).collect(),
        Types::Settings(settings) => settings,
    };
    if given.queues.is_empty() || types.is_empty() {
        return Err(Problem::invalid("name at least one queue and one type to work on"));
    }
    if given.queues.len() > NAMES_MAX || types.len() > NAMES_MAX {
        return Err(Problem::invalid(format!("name at most {NAMES_MAX} queues and types")));
    }
    let types = types.into_iter().map(|(name, one)| one.settings(&name));
    let card = WorkerCard {
        worker: WorkerId::random(),
        name: name.to_owned(),
        // Wherever it is, it does not die with this server.
        pid: 0,
        queues: lanes(&given.queues)?,
        types: types.collect::<Result<_, _>>()?,
        quiet: false,
    };
    allowed.queues(card.queues.iter().map(|(name, _)| name))?;
    // A type that names no queue goes to the one that it would have gone to anyway.
    let is_named = |queue: &&Name| queue.as_str() != "default";
    allowed.queues(card.types.iter().map(|one| &one.queue).filter(is_named))?;
    let id = card.worker;
    site.store().register(card.clone()).await?;
    site.know(Arc::new(card));
    let (lease_ms, beat_ms) = (LEASE.as_millis() as u64, LEASE.as_millis() as u64 / 3);
    let registered = Registered { id: id.0.to_string(), lease_ms, beat_ms };
    Ok((StatusCode::CREATED, Json(registered)))
}

/// The id of a worker.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what `WorkerOf` reads")]
pub(super) struct WorkerPath {
    id: String,
}

/// Stop in order. What it still holds is run again once its leases have run out: release it first.
#[utoipa::path(delete, path = "/v1/workers/{id}", tag = "workers", params(WorkerPath),
    responses((status = 204)))]
pub(super) async fn leave(
    allowed: Allowed<Work>,
    State(site): State<Site>,
    WorkerOf(worker): WorkerOf,
) -> Result<StatusCode, Problem> {
    allowed.worker(&site, worker).await?;
    site.store().leave(worker).await?;
    site.forget(worker);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn lanes(queues: &BTreeMap<String, usize>) -> Result<Vec<(Name, usize)>, Problem> {
    let lane =
        |(name, room): (&String, &usize)| Ok((Name::new("queue", name)?, (*room).min(JOBS_MAX)));
    queues.iter().map(lane).collect()
}

pub(super) fn lease(ms: Option<u64>) -> Result<Duration, Problem> {
    let lease = ms.map_or(LEASE, Duration::from_millis);
    match (LEASE_MIN..=LEASE_MAX).contains(&lease) {
        true => Ok(lease),
        false => Err(Problem::invalid("lease_ms is not within 1000 and 3600000 (an hour)")),
    }
}

/// Leases to renew.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExtendInput {
    #[schema(value_type = Vec<FenceView>, max_items = 1000)]
    fences: Vec<FenceText>,
    /// From now; as long as it was claimed for where nothing is said.
    #[schema(minimum = 1000, maximum = 3600000)]
    lease_ms: Option<u64>,
}

/// The leases, in their order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Leases {
    leases: Vec<LeaseView>,
}

/// One lease after it was to be renewed.
#[derive(Serialize, ToSchema)]
#[schema(as = Lease)]
pub(crate) struct LeaseView {
    #[schema(value_type = FenceView)]
    fence: FenceText,
    /// False: stop working on it, it is somebody else's or has ended.
    held: bool,
    /// True: somebody asked to stop it; do, and end it as cancelled.
    cancel: bool,
}

/// Say that the worker lives, and renew its leases.
#[utoipa::path(post, path = "/v1/workers/{id}/extend", tag = "workers", params(WorkerPath),
    request_body = ExtendInput, responses((status = 200, body = Leases)))]
pub(super) async fn extend(
    allowed: Allowed<Work>,
    State(site): State<Site>,
    WorkerOf(worker): WorkerOf,
    Body(given): Body<ExtendInput>,
) -> Result<Json<Leases>, Problem> {
    allowed.worker(&site, worker).await?;
    at_most(given.fences.len(), JOBS_MAX, "fences")?;
    let fences: Vec<_> = given.fences.iter().map(|one| one.0).collect();
    let beats = renew(&site, worker, &fences, given.lease_ms).await?;
    let view = |(fence, beat): (FenceText, Beat)| LeaseView {
        fence,
        held: beat.held != Held::Lost,
        cancel: beat.cancel,
    };
    Ok(Json(Leases { leases: given.fences.into_iter().zip(beats).map(view).collect() }))
}

/// Renews leases; each for as long as it was claimed for, unless the worker says. The answers keep
/// the order.
pub(super) async fn renew(
    site: &Site,
    worker: WorkerId,
    fences: &[Fence],
    lease_ms: Option<u64>,
) -> Result<Vec<Beat>, Problem> {
    let given = lease(lease_ms)?;
    let mut beats = vec![Beat { held: Held::Yes, cancel: false }; fences.len()];
    // Most often all are alike; a beat without any lease says that the worker lives.
    let mut alike: BTreeMap<Duration, Vec<usize>> = BTreeMap::new();
    if fences.is_empty() {
        alike.insert(given, Vec::new());
    }
    for (at, fence) in fences.iter().enumerate() {
        match site.attempts().lease(fence) {
            Some((_, false)) => {}
            Some((own, true)) if lease_ms.is_none() => alike.entry(own).or_default().push(at),
            _ => alike.entry(given).or_default().push(at),
        }
    }
    for (lease, places) in alike {
        let these: Vec<_> = places.iter().map(|at| fences[*at]).collect();
        let ask = HeartbeatRequest { worker, fences: these.clone(), lease };
        let said = site.store().heartbeat(ask).await?;
        places.into_iter().zip(said).for_each(|(at, beat)| beats[at] = beat);
        site.attempts().renewed(&these, lease);
    }
    Ok(beats)
}
