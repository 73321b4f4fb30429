//! The history of the store's numbers, for charts: points by minute, hour or day.

use axum::Json;
use axum::extract::State;
use dutiful::{Name, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Read};
use super::input::Query;
use super::problem::Problem;
use super::view::NameView;
use crate::history::{self, Numbers, POINTS_MAX, Point, Resolution, quantile_ms};

/// Many points of many queues are much to read: so many requests do it at a time, others wait.
static READERS: Semaphore = Semaphore::const_new(2);

/// How far back to look.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Span {
    /// Each of the last 60 minutes.
    #[default]
    Hour,
    /// Each minute of the last 24 hours.
    Day,
    /// Each hour of the last 30 days.
    Month,
    /// Each of the last 365 days.
    Year,
}

impl Span {
    /// Returns the steps and how many of them there are.
    const fn steps(self) -> (Resolution, i64) {
        match self {
            Self::Hour => (Resolution::Minute, 60),
            Self::Day => (Resolution::Minute, 24 * 60),
            Self::Month => (Resolution::Hour, 30 * 24),
            Self::Year => (Resolution::Day, 365),
        }
    }
}

/// Which part of the history.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryInput {
    /// How far back (default: an hour).
    #[param(inline)]
    span: Span,
    /// Only of this queue.
    #[param(value_type = Option<NameView>)]
    queue: Option<String>,
}

/// What was counted, step by step.
#[derive(Serialize, ToSchema)]
#[schema(as = History)]
pub(crate) struct HistoryView {
    /// How long each step is, in seconds.
    step_s: u32,
    /// Oldest first. A step that no server saw is not among them: that is no zero.
    points: Vec<PointView>,
}

/// The numbers of one step. Times in ms are interpolated within the buckets that the store counts.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryPoint)]
pub(crate) struct PointView {
    /// When the step began.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// False while the step is not over: its counts still grow.
    over: bool,
    /// Jobs stored within the step.
    enqueued: u64,
    /// Attempts within the step that succeeded.
    completed: u64,
    /// Attempts within the step that failed.
    failed: u64,
    /// Jobs that died within the step.
    died: u64,
    /// Leases that ran out within the step.
    stalled: u64,
    /// Due and waiting at the end of the step.
    pending: u64,
    /// Waiting for a time at the end of the step.
    scheduled: u64,
    /// Under a lease at the end of the step.
    active: u64,
    /// In the dead letter queue at the end of the step.
    dead: u64,
    /// For how long the oldest due job was seen to wait.
    oldest_s: f64,
    /// Half of the attempts ran no longer; null where none ended.
    ran_p50_ms: Option<f64>,
    /// 95 of 100 attempts ran no longer.
    ran_p95_ms: Option<f64>,
    /// Half of the jobs had been due no longer when their attempt began.
    waited_p50_ms: Option<f64>,
    /// 95 of 100 jobs had been due no longer.
    waited_p95_ms: Option<f64>,
}

/// Show what was counted by minute, hour or day, for charts.
#[utoipa::path(get, path = "/v1/history", tag = "numbers", params(HistoryInput),
    responses((status = 200, body = HistoryView)))]
pub(super) async fn history(
    _: Allowed<Read>,
    State(site): State<Site>,
    Query(asked): Query<HistoryInput>,
) -> Result<Json<HistoryView>, Problem> {
    let queue = asked.queue.map(|name| Name::new("queue", &name)).transpose()?;
    let (resolution, steps) = asked.span.steps();
    let step_s = resolution.step_s();
    let now = site.now()?.us() / 1_000_000;
    let from = now - now.rem_euclid(i64::from(step_s)) - steps * i64::from(step_s);
    let _turn = READERS.acquire().await;
    let over = history::since(site.client(), resolution, from).await?;
    let unfinished = match resolution {
        // It ends within a minute anyway.
        Resolution::Minute => None,
        _ => history::unfinished(site.client(), resolution).await?,
    };
    let mut points: Vec<_> = over.iter().map(|one| view(one, queue.as_ref(), true)).collect();
    let is_next = |point: &&Point| over.last().is_none_or(|last| last.at < point.at);
    let next = unfinished.iter().filter(is_next).map(|one| view(one, queue.as_ref(), false));
    points.extend(next);
    points.drain(..points.len().saturating_sub(POINTS_MAX));
    Ok(Json(HistoryView { step_s, points }))
}

fn view(point: &Point, queue: Option<&Name>, over: bool) -> PointView {
    let mut sum = Numbers::default();
    let wanted = |name: &str| queue.is_none_or(|queue| queue.as_str() == name);
    point.queues.iter().filter(|(name, _)| wanted(name)).for_each(|(_, one)| sum.add(one));
    PointView {
        at: Timestamp::from_us(point.at.saturating_mul(1_000_000)),
        over,
        enqueued: sum.enqueued,
        completed: sum.completed,
        failed: sum.failed,
        died: sum.died,
        stalled: sum.stalled,
        pending: sum.pending,
        scheduled: sum.scheduled,
        active: sum.active,
        dead: sum.dead,
        oldest_s: sum.oldest_s,
        ran_p50_ms: quantile_ms(&sum.ran, 0.5),
        ran_p95_ms: quantile_ms(&sum.ran, 0.95),
        waited_p50_ms: quantile_ms(&sum.waited, 0.5),
        waited_p95_ms: quantile_ms(&sum.waited, 0.95),
    }
}
