//! How attempts of other languages ended, each written only where its fence still holds.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dutiful::store::{End, Held};
use dutiful::{DeadReason, HandlerError, RESULT_BYTES_MAX, WorkerId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Site;
use super::access::{Allowed, Work};
use super::attempts::Attempt;
use super::enqueue::millis;
use super::fence::FenceText;
use super::input::{Body, WorkerOf, at_most};
use super::problem::Problem;
use super::view::FenceView;
use super::workers::{JOBS_MAX, WorkerPath};

/// How attempts ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinishInput {
    #[schema(max_items = 1000)]
    ends: Vec<EndInput>,
}

/// How one attempt ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = End)]
pub(crate) struct EndInput {
    #[schema(value_type = FenceView)]
    fence: FenceText,
    outcome: EndWord,
    /// What the handler returned, of at most 64 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// What it failed with.
    error: Option<FailureInput>,
    /// After a failure: this long until the next attempt, instead of the backoff.
    #[schema(minimum = 0)]
    retry_after_ms: Option<i64>,
    /// For `snoozed`.
    #[schema(minimum = 0)]
    snooze_ms: Option<i64>,
    /// How long it ran, where the worker knows better.
    #[schema(minimum = 0)]
    ran_ms: Option<i64>,
}

/// What an attempt came to.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndWord {
    /// Done.
    Completed,
    /// To be tried again while attempts are left.
    Failed,
    /// To be run again later, uncharged.
    Snoozed,
    /// Given back unfinished, uncharged.
    Released,
    /// Given up: the job is dead.
    Discarded,
    /// Stopped on request.
    Cancelled,
}

/// An error of a handler.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewFailure)]
pub(crate) struct FailureInput {
    /// A short word to group by: the class of the error.
    class: String,
    message: String,
}

impl EndInput {
    pub(super) fn new(fence: FenceText, outcome: EndWord) -> Self {
        let (result, error, retry_after_ms, snooze_ms, ran_ms) = (None, None, None, None, None);
        Self { fence, outcome, result, error, retry_after_ms, snooze_ms, ran_ms }
    }

    pub(super) fn completed(mut self, result: Option<Box<RawValue>>) -> Self {
        self.result = result;
        self
    }

    pub(super) fn failed(mut self, error: FailureInput, retry_after_ms: Option<i64>) -> Self {
        (self.error, self.retry_after_ms) = (Some(error), retry_after_ms);
        self
    }

    pub(super) fn snoozed(mut self, ms: i64) -> Self {
        self.snooze_ms = Some(ms);
        self
    }

    pub(super) fn fence(&self) -> FenceText {
        self.fence
    }

    /// Returns what to write about this attempt.
    fn end(&self, attempt: &Attempt) -> Result<End, Problem> {
        let wait = |name, ms: Option<i64>| ms.map(|ms| millis(name, ms)).transpose();
        let failure = || {
            let given = self.error.as_ref();
            let (class, message) = given.map_or(("error", ""), |one| (&one.class, &one.message));
            HandlerError::msg(message).with_class(class).failure().clone()
        };
        Ok(match self.outcome {
            EndWord::Completed => End::Completed(self.result_bytes()?),
            EndWord::Failed => {
                attempt.charge(failure(), wait("retry_after_ms", self.retry_after_ms)?)
            }
            EndWord::Discarded => End::Dead(failure(), DeadReason::Discarded),
            EndWord::Snoozed => match wait("snooze_ms", self.snooze_ms)? {
                Some(wait) => End::Snoozed(wait.min(dutiful::RETRY_MAX)),
                None => return Err(Problem::invalid("say with snooze_ms for how long")),
            },
            EndWord::Released => End::Released,
            EndWord::Cancelled => End::Cancelled,
        })
    }

    fn result_bytes(&self) -> Result<Option<Vec<u8>>, Problem> {
        let Some(result) = &self.result else { return Ok(None) };
        let bytes = result.get().as_bytes();
        if bytes.len() > RESULT_BYTES_MAX {
            let n = bytes.len();
            let detail = format!("the result has {n} bytes and the limit is {RESULT_BYTES_MAX}");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
        }
        Ok((bytes != b"null").then(|| bytes.to_vec()))
    }
}

/// What became of the ends, in their order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ends {
    ends: Vec<EndView>,
}

/// What became of one end.
#[derive(Serialize, ToSchema)]
#[schema(as = EndWritten)]
pub(crate) struct EndView {
    #[schema(value_type = FenceView)]
    fence: FenceText,
    status: Status,
    /// Where the job stands now, when it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
}

/// Whether an end counts.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EndStatus)]
pub(crate) enum Status {
    /// It is written, durably.
    Done,
    /// The lease was no longer held; nothing changed.
    LeaseLost,
    /// Somebody's transaction has the lease: send it again in a moment.
    Locked,
}

/// Say how attempts ended, each only where its fence still holds.
#[utoipa::path(post, path = "/v1/workers/{id}/finish", tag = "workers", params(WorkerPath),
    request_body = FinishInput, responses((status = 200, body = Ends)))]
pub(super) async fn finish(
    allowed: Allowed<Work>,
    State(site): State<Site>,
    WorkerOf(worker): WorkerOf,
    Body(given): Body<FinishInput>,
) -> Result<Json<Ends>, Problem> {
    allowed.worker(&site, worker).await?;
    at_most(given.ends.len(), JOBS_MAX, "ends")?;
    let written = write(&site, worker, &given.ends).await?;
    let view = |(one, (status, state)): (&EndInput, (Status, _))| EndView {
        fence: one.fence,
        status,
        state,
    };
    Ok(Json(Ends { ends: given.ends.iter().zip(written).map(view).collect() }))
}

/// Writes ends. All are looked at before the first is written, so that a slip leaves nothing half
/// done.
pub(super) async fn write(
    site: &Site,
    worker: WorkerId,
    ends: &[EndInput],
) -> Result<Vec<(Status, Option<&'static str>)>, Problem> {
    let (mut batch, mut at) = (Vec::with_capacity(ends.len()), Vec::with_capacity(ends.len()));
    let mut answers = vec![(Status::LeaseLost, None); ends.len()];
    for (n, one) in ends.iter().enumerate() {
        let Some(attempt) = site.attempts().get(site.client(), one.fence.0).await? else {
            continue;
        };
        let ran = one.ran_ms.map(|ms| millis("ran_ms", ms)).transpose()?;
        let end = one.end(&attempt).map_err(|problem| problem.about(n))?;
        answers[n].1 = Some(state_after(&end));
        batch.push(attempt.finish(ran, end));
        at.push(n);
    }
    let held =
        if batch.is_empty() { Vec::new() } else { site.store().finish(worker, batch).await? };
    for (n, held) in at.iter().zip(held) {
        answers[*n] = match held {
            Held::Yes => (Status::Done, answers[*n].1),
            Held::Lost => (Status::LeaseLost, None),
            Held::Locked => (Status::Locked, None),
        };
    }
    let over = answers.iter().zip(ends).filter(|((status, _), _)| *status != Status::Locked);
    site.attempts().forget(over.map(|(_, one)| one.fence.0));
    Ok(answers)
}

fn state_after(end: &End) -> &'static str {
    match end {
        End::Completed(_) => "completed",
        End::Failed(..) => "failed",
        End::Dead(..) => "dead",
        End::Snoozed(_) => "scheduled",
        End::Released => "pending",
        End::Cancelled => "cancelled",
    }
}
