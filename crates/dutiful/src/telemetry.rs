//! What others can watch: events for observers, spans of enqueues and runs, what jobs inherit.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, Span};

use crate::error::{Error, StoreError};
use crate::id::{Fence, JobId, Name};
use crate::job::Record;
use crate::store::{DeadReason, EnqueueOutcome, Failure};

/// What spans call this system.
const SYSTEM: &str = "dutiful";
/// The error class of an enqueue that the store refused.
pub(crate) const STORE_ERROR: &str = "store";

/// Hears of everything that happens to jobs in this process. It is called on the path of the work,
/// so it must be quick and never block. If it panics, the work and other observers go on.
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn event(&self, event: &Event<'_>);
}

/// Which attempt of which job an event is about.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The attempt.
    pub fence: Fence,
    /// Its queue.
    pub queue: &'a Name,
    /// Its type.
    pub job_type: &'a Name,
}

/// Something that happened. What a worker ended is told after the store has answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each variant says what happened; the fields bear the design's words"
)]
pub enum Event<'a> {
    /// A job was handed to the store.
    Enqueued { id: JobId, outcome: EnqueueOutcome, queue: &'a Name, job_type: &'a Name },
    /// A claim was answered, with so many jobs.
    ClaimAnswered { jobs: usize, took: Duration },
    /// A job came under our lease.
    Claimed { run: Run<'a> },
    /// Its handler begins.
    Started { run: Run<'a>, waited: Duration },
    /// It is completed, durably.
    Completed { run: Run<'a>, ran: Duration },
    /// The attempt failed; it will be retried.
    Failed { run: Run<'a>, ran: Duration, failure: &'a Failure, retry_in: Duration },
    /// It is dead.
    Dead { run: Run<'a>, ran: Duration, failure: &'a Failure, reason: DeadReason },
    /// It will run again, uncharged.
    Snoozed { run: Run<'a>, wait: Duration },
    /// It was given back.
    Released { run: Run<'a> },
    /// It was stopped on request.
    Cancelled { run: Run<'a> },
    /// Its lease was lost: what this worker did about it since does not count.
    LeaseLost { run: Run<'a> },
    /// This process, which leads, rescued a stalled job.
    Rescued { run: Run<'a>, crashes: u32, dead: bool },
    /// The worker could not renew in time and cancels its handlers itself.
    SelfFenced { leases: usize },
    /// A handler neither ended nor yielded after its timeout; its slot was replaced.
    Overdue { run: Run<'a>, ran: Duration },
    /// A call to the store failed and is tried again; the same trouble is told every 5 s at most.
    StoreTrouble { verb: &'static str, error: &'a StoreError },
}

/// Several observers as one.
#[derive(Clone, Default)]
pub(crate) struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    pub(crate) fn add(&mut self, observer: Arc<dyn Observer>) {
        self.0.push(observer);
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        for observer in &self.0 {
            // A panic here would end the loop that claims, or that writes; the hook reports it.
            let _ = catch_unwind(AssertUnwindSafe(|| observer.event(event)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What jobs inherit that are enqueued in here.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) correlation: Correlation,
    pub(crate) trace_parent: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Correlation {
    Text(Arc<str>),
    Job(JobId),
}

impl std::fmt::Display for Correlation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Job(id) => id.fmt(f),
        }
    }
}

tokio::task_local! {
    pub(crate) static ORIGIN: Origin;
}

/// Runs a future in which every enqueued job gets this correlation id, unless it names its own.
///
/// ```
/// # async fn handle(client: dutiful::Client) {
/// dutiful::correlate("request-42", async {
///     // jobs enqueued here carry "request-42", and so do the jobs that their handlers enqueue
/// })
/// .await;
/// # }
/// ```
pub async fn correlate<F: Future>(id: impl Into<String>, future: F) -> F::Output {
    let correlation = Correlation::Text(id.into().into());
    let trace_parent = ORIGIN.try_with(|origin| origin.trace_parent.clone()).ok().flatten();
    ORIGIN.scope(Origin { correlation, trace_parent }, future).await
}

/// Returns the correlation id that a job enqueued here inherits.
pub(crate) fn inherited_correlation() -> Option<String> {
    ORIGIN.try_with(|origin| origin.correlation.to_string()).ok()
}

/// Returns the W3C trace context (`traceparent`) of what runs here: the current span's (feature
/// `otel`), else that of the job whose handler runs here. Jobs enqueued here inherit it; a handler
/// sends it along with its requests to others.
///
/// ```
/// # fn call() {
/// if let Some(header) = dutiful::trace_parent() {
///     // request.header("traceparent", header)
/// }
/// # }
/// ```
pub fn trace_parent() -> Option<String> {
    #[cfg(feature = "otel")]
    if let Some(current) = otel::of(&tracing::Span::current()) {
        return Some(current);
    }
    let of_job = ORIGIN.try_with(|origin| origin.trace_parent.clone()).ok().flatten();
    of_job.map(|text| text.to_string())
}

/// Returns the span of an enqueue, in the trace that its first job names. The jobs of that trace
/// carry its context from now on; a job of another trace in the same batch keeps its own.
pub(crate) fn producer(records: &mut [Record]) -> Span {
    let Some(first) = records.first() else { return Span::none() };
    let span = tracing::info_span!(
        "enqueue",
        otel.name = tracing::field::Empty,
        otel.kind = "producer",
        job.id = tracing::field::Empty,
        job.r#type = tracing::field::Empty,
        job.queue = tracing::field::Empty,
        job.correlation_id = tracing::field::Empty,
        error.r#type = tracing::field::Empty,
        messaging.system = SYSTEM,
        messaging.operation.r#type = "send",
        messaging.destination.name = tracing::field::Empty,
        messaging.batch.message_count = tracing::field::Empty,
    );
    if span.is_disabled() {
        return span;
    }
    match records.iter().all(|one| one.job_type == first.job_type) {
        true => span.record("otel.name", format!("enqueue.{}", first.job_type)),
        false => span.record("otel.name", "enqueue"),
    };
    if records.len() == 1 {
        span.record("job.id", tracing::field::display(first.id));
        span.record("job.type", first.job_type.as_str());
        span.record("job.queue", first.queue.as_str());
        match &first.correlation_id {
            Some(text) => span.record("job.correlation_id", text),
            None => span.record("job.correlation_id", tracing::field::display(first.id)),
        };
    } else {
        span.record("messaging.batch.message_count", records.len() as i64);
    }
    if records.iter().all(|one| one.queue == first.queue) {
        span.record("messaging.destination.name", first.queue.as_str());
    }
    #[cfg(feature = "otel")]
    otel::carry(&span, records);
    span
}

/// Returns the span of a run, a child of the enqueue's where that is known, and linked to it.
pub(crate) fn consumer(
    run: Run<'_>,
    correlation: &Correlation,
    trace_parent: Option<&str>,
) -> Span {
    let span = tracing::info_span!(
        "job",
        otel.name = tracing::field::Empty,
        otel.kind = "consumer",
        job.id = tracing::field::Empty,
        job.r#type = run.job_type.as_str(),
        job.queue = run.queue.as_str(),
        job.attempt = i64::from(run.fence.attempt),
        job.correlation_id = tracing::field::Empty,
        job.outcome = tracing::field::Empty,
        error.r#type = tracing::field::Empty,
        messaging.system = SYSTEM,
        messaging.operation.r#type = "process",
        messaging.destination.name = run.queue.as_str(),
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("job.{}", run.job_type));
        span.record("job.id", tracing::field::display(run.fence.id));
        span.record("job.correlation_id", tracing::field::display(correlation));
        #[cfg(feature = "otel")]
        otel::follow(&span, trace_parent);
    }
    #[cfg(not(feature = "otel"))]
    let _ = trace_parent;
    span
}

/// Marks a span as failed, with the exception that was the reason.
pub(crate) fn failed(span: &Span, class: &str, message: &str) {
    if span.is_disabled() {
        return;
    }
    span.record("error.type", class);
    #[cfg(feature = "otel")]
    otel::failed(span, class, message);
    #[cfg(not(feature = "otel"))]
    let _ = message;
}

/// Runs a call to the store in its span, which says when the call failed.
pub(crate) async fn watched<T>(
    span: Span,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let answer = call.instrument(span.clone()).await;
    answer.inspect_err(|error| failed(&span, STORE_ERROR, &error.to_string()))
}

#[cfg(feature = "otel")]
mod otel {
    use opentelemetry::trace::{
        SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    };
    use opentelemetry::{Context, KeyValue};
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    use crate::job::Record;

    /// Returns a span's context as a `traceparent`.
    pub(super) fn of(span: &Span) -> Option<String> {
        let context = span.context();
        let span = context.span().span_context().clone();
        span.is_valid().then(|| {
            let (trace, id) = (span.trace_id(), span.span_id());
            format!("00-{trace}-{id}-{:02x}", span.trace_flags().to_u8())
        })
    }

    /// Puts the span into the trace of the first record, and the records of that trace below it.
    pub(super) fn carry(span: &Span, records: &mut [Record]) {
        let Some(before) = records.first().map(|first| first.trace_parent.clone()) else { return };
        if let Some(parent) = before.as_deref().and_then(parse) {
            set_parent(span, parent);
        }
        let Some(context) = of(span) else { return };
        for record in records.iter_mut().filter(|one| one.trace_parent == before) {
            record.trace_parent = Some(context.clone());
        }
    }

    /// Puts the span below the one that enqueued, and links it, as is asked of who processes.
    pub(super) fn follow(span: &Span, parent: Option<&str>) {
        let Some(parent) = parent.and_then(parse) else { return };
        set_parent(span, parent.clone());
        span.add_link(parent);
    }

    pub(super) fn failed(span: &Span, class: &str, message: &str) {
        span.set_status(Status::error(message.to_owned()));
        let attributes = vec![
            KeyValue::new("exception.type", class.to_owned()),
            KeyValue::new("exception.message", message.to_owned()),
        ];
        span.add_event("exception", attributes);
    }

    fn set_parent(span: &Span, parent: SpanContext) {
        let context = Context::new().with_remote_span_context(parent);
        // Fails only when no OpenTelemetry layer is installed, and then there is no trace to join.
        let _ = span.set_parent(context);
    }

    fn parse(text: &str) -> Option<SpanContext> {
        let mut parts = text.split('-').skip(1);
        let trace = TraceId::from_hex(parts.next()?).ok()?;
        let span = SpanId::from_hex(parts.next()?).ok()?;
        let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
        Some(SpanContext::new(trace, span, flags, true, TraceState::default()))
    }
}
