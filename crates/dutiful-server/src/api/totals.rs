//! What was counted since the store was made, for whoever computes rates and quantiles of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use dutiful::{Name, SPREAD_MS, Spread, TypeTotals};
use serde::Serialize;
use utoipa::ToSchema;

use super::Site;
use super::access::{Allowed, Read};
use super::problem::Problem;

/// Counts by queue and type.
#[derive(Serialize, ToSchema)]
pub(crate) struct Totals {
    /// Upper bounds of the buckets in ms; one more bucket holds what is slower.
    #[schema(value_type = Vec<u64>)]
    bounds_ms: [u64; SPREAD_MS.len()],
    totals: Vec<TotalsView>,
}

/// What was counted of the jobs of one type in one queue, by all processes together. Counts only
/// grow; jobs that left the record stay counted.
#[derive(Serialize, ToSchema)]
#[schema(as = TypeTotals)]
struct TotalsView {
    #[schema(value_type = String)]
    queue: Name,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    job_type: Name,
    /// Jobs stored.
    enqueued: u64,
    /// Attempts that succeeded.
    completed: u64,
    /// Attempts that failed, the last one of a dead job among them.
    failed: u64,
    /// Jobs that died.
    dead: u64,
    /// Jobs that were stopped.
    cancelled: u64,
    /// Attempts that asked for a later run.
    snoozed: u64,
    /// Attempts that were given back.
    released: u64,
    /// Leases that ran out.
    stalled: u64,
    /// How long attempts ran that completed or failed.
    ran: SpreadView,
    /// How long their jobs had been due before they began.
    waited: SpreadView,
    /// The failed attempts by error class; at most 50, and `other` for the rest.
    error_classes: BTreeMap<String, u64>,
}

/// How durations are spread.
#[derive(Serialize, ToSchema)]
#[schema(as = Spread)]
struct SpreadView {
    /// How many fell into each bucket.
    #[schema(value_type = Vec<u64>)]
    buckets: [u64; SPREAD_MS.len() + 1],
    sum_s: f64,
}

impl From<Spread> for SpreadView {
    fn from(spread: Spread) -> Self {
        Self { buckets: spread.buckets, sum_s: spread.sum.as_secs_f64() }
    }
}

impl From<TypeTotals> for TotalsView {
    fn from(one: TypeTotals) -> Self {
        Self {
            queue: one.queue,
            job_type: one.job_type,
            enqueued: one.enqueued,
            completed: one.completed,
            failed: one.failed,
            dead: one.dead,
            cancelled: one.cancelled,
            snoozed: one.snoozed,
            released: one.released,
            stalled: one.stalled,
            ran: one.ran.into(),
            waited: one.waited.into(),
            error_classes: one.error_classes,
        }
    }
}

/// Count events and times by queue and type since the store was made.
#[utoipa::path(get, path = "/v1/totals", tag = "numbers",
    responses((status = 200, body = Totals)))]
pub(super) async fn totals(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<Totals>, Problem> {
    let totals = site.client().totals().await?.into_iter().map(TotalsView::from).collect();
    Ok(Json(Totals { bounds_ms: SPREAD_MS, totals }))
}
