//! What others can watch: events for observers, one span for each run, and what jobs inherit.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::error::StoreError;
use crate::id::{Fence, JobId, Name};
use crate::store::{DeadReason, EnqueueOutcome, Failure};

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

/// Returns the W3C trace context that a job enqueued here inherits: the current span's, else that
/// of the job whose handler runs here.
pub(crate) fn inherited_trace_parent() -> Option<String> {
    #[cfg(feature = "otel")]
    if let Some(current) = otel::current() {
        return Some(current);
    }
    let of_job = ORIGIN.try_with(|origin| origin.trace_parent.clone()).ok().flatten();
    of_job.map(|text| text.to_string())
}

/// Returns the span of a run, a child of the enqueue's trace where that is known.
pub(crate) fn span(
    run: Run<'_>,
    correlation: &Correlation,
    trace_parent: Option<&str>,
) -> tracing::Span {
    let span = tracing::info_span!(
        "job",
        otel.name = tracing::field::Empty,
        job.id = tracing::field::Empty,
        job.r#type = run.job_type.as_str(),
        job.queue = run.queue.as_str(),
        job.attempt = run.fence.attempt,
        job.correlation_id = tracing::field::Empty,
        job.outcome = tracing::field::Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("job.{}", run.job_type));
        span.record("job.id", tracing::field::display(run.fence.id));
        span.record("job.correlation_id", tracing::field::display(correlation));
        #[cfg(feature = "otel")]
        otel::set_parent(&span, trace_parent);
    }
    #[cfg(not(feature = "otel"))]
    let _ = trace_parent;
    span
}

#[cfg(feature = "otel")]
mod otel {
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
    };
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    /// Returns the current span's context as a `traceparent`.
    pub(super) fn current() -> Option<String> {
        let context = tracing::Span::current().context();
        let span = context.span().span_context().clone();
        span.is_valid().then(|| {
            let (trace, id) = (span.trace_id(), span.span_id());
            format!("00-{trace}-{id}-{:02x}", span.trace_flags().to_u8())
        })
    }

    pub(super) fn set_parent(span: &tracing::Span, parent: Option<&str>) {
        let Some(remote) = parent.and_then(parse) else { return };
        let context = opentelemetry::Context::new().with_remote_span_context(remote);
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
