//! Traces: an enqueue is a producer's span in the caller's trace, each run a consumer's below it.
#![cfg(feature = "otel")]

use dutiful::{Client, Context, HandlerError, Job, NewJob, Result, Settings, Worker};
use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

type Tested = std::result::Result<(), dutiful::Error>;

/// The trace of a caller that is no process of ours, sampled.
const ELSEWHERE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Serialize, Deserialize)]
struct Parent;
impl Job for Parent {
    const TYPE: &'static str = "parent";
}

#[derive(Serialize, Deserialize)]
struct Child;
impl Job for Child {
    const TYPE: &'static str = "child";
}

async fn parent(_: Parent, cx: Context<()>) -> Result<()> {
    cx.client().enqueue(Child).await?;
    Ok(())
}

async fn child(_: Child, _: Context<()>) -> Result<()> {
    Ok(())
}

async fn failing(_: Child, _: Context<()>) -> Result<()> {
    Err(HandlerError::discard(HandlerError::msg("the card was refused").with_class("Refused")))
}

/// Spans of this thread are kept while the guard lives.
fn recording() -> (InMemorySpanExporter, DefaultGuard) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    (exporter, guard)
}

fn spans(exporter: &InMemorySpanExporter) -> Vec<SpanData> {
    exporter.get_finished_spans().expect("the exporter is alive")
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).expect("the span was exported")
}

fn below<'a>(spans: &'a [SpanData], name: &str, parent: &SpanData) -> &'a SpanData {
    let is_child = |span: &&SpanData| {
        span.name == name && span.parent_span_id == parent.span_context.span_id()
    };
    let child = spans.iter().find(is_child).expect("a child was exported");
    assert_eq!(child.span_context.trace_id(), parent.span_context.trace_id());
    child
}

fn header(span: &SpanData) -> String {
    format!("00-{}-{}-01", span.span_context.trace_id(), span.span_context.span_id())
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key.as_str() == key)?;
    Some(found.value.as_str().into_owned())
}

#[tokio::test]
async fn a_job_and_its_children_join_the_trace_of_the_enqueue() -> Tested {
    let (exporter, _active) = recording();
    let client = Client::connect("sqlite::memory:").await?;
    let request = tracing::info_span!("request");
    let job = async { client.enqueue(Parent).await }.instrument(request).await?;
    Worker::new(&client, ()).job(parent).job(child).until_empty(true).run().await?;

    let spans = spans(&exporter);
    let request = named(&spans, "request");
    let sent = below(&spans, "enqueue.parent", request);
    assert_eq!(sent.span_kind, SpanKind::Producer);
    let info = client.job(job.id).await?.expect("it is on record");
    assert_eq!(info.trace_parent, Some(header(sent)));
    let run = below(&spans, "job.parent", sent);
    assert_eq!(run.span_kind, SpanKind::Consumer);
    let links: Vec<_> = run.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(links, [sent.span_context.span_id()]);
    below(&spans, "job.child", below(&spans, "enqueue.child", run));
    for span in [sent, run] {
        assert_eq!(attribute(span, "job.id"), Some(job.id.to_string()));
        assert_eq!(attribute(span, "job.correlation_id"), Some(job.id.to_string()));
        assert_eq!(attribute(span, "job.type").as_deref(), Some("parent"));
        assert_eq!(attribute(span, "job.queue").as_deref(), Some("default"));
        assert_eq!(attribute(span, "messaging.destination.name").as_deref(), Some("default"));
        assert_eq!(span.status, Status::Unset);
    }
    let attempt = run.attributes.iter().find(|one| one.key.as_str() == "job.attempt");
    assert_eq!(attempt.map(|one| one.value.clone()), Some(Value::I64(1)));
    assert_eq!(attribute(run, "job.outcome").as_deref(), Some("completed"));
    Ok(())
}

#[tokio::test]
async fn an_enqueue_keeps_the_trace_that_it_is_given() -> Tested {
    let (exporter, _active) = recording();
    let client = Client::connect("sqlite::memory:").await?;
    let settings = Settings { trace_parent: Some(ELSEWHERE.into()), ..Settings::default() };
    let job = client.enqueue_raw("child", "{}").settings(settings).await?;
    let spans = spans(&exporter);
    let sent = named(&spans, "enqueue.child");
    assert_eq!(sent.span_context.trace_id().to_string(), &ELSEWHERE[3..35]);
    assert_eq!(sent.parent_span_id.to_string(), &ELSEWHERE[36..52]);
    let info = client.job(job.id).await?.expect("it is on record");
    assert_eq!(info.trace_parent, Some(header(sent)));
    Ok(())
}

#[tokio::test]
async fn a_batch_is_one_span_and_a_job_of_another_trace_keeps_its_own() -> Tested {
    let (exporter, _active) = recording();
    let client = Client::connect("sqlite::memory:").await?;
    let mut jobs: Vec<NewJob> = ["child", "parent", "child"].map(new).into();
    jobs[2].settings.trace_parent = Some(ELSEWHERE.into());
    let stored = client.enqueue_many(jobs).await?;
    let spans = spans(&exporter);
    assert_eq!(spans.len(), 1, "{spans:?}");
    let sent = named(&spans, "enqueue");
    let count = sent.attributes.iter().find(|one| one.key.as_str().ends_with("message_count"));
    assert_eq!(count.map(|one| one.value.clone()), Some(Value::I64(3)));
    let mut parents = Vec::new();
    for one in &stored {
        let info = client.job(one.id).await?.expect("it is on record");
        parents.push(info.trace_parent.expect("it has a trace"));
    }
    assert_eq!(parents, [header(sent), header(sent), ELSEWHERE.to_owned()]);
    Ok(())
}

fn new(job_type: &str) -> NewJob {
    let settings = Settings::default();
    NewJob { job_type: job_type.into(), payload: b"{}".to_vec(), settings }
}

#[tokio::test]
async fn a_failed_attempt_is_an_error_with_its_exception() -> Tested {
    let (exporter, _active) = recording();
    let client = Client::connect("sqlite::memory:").await?;
    client.enqueue(Child).await?;
    Worker::new(&client, ()).job(failing).until_empty(true).run().await?;
    let spans = spans(&exporter);
    let run = named(&spans, "job.child");
    assert_eq!(run.status, Status::error("the card was refused"));
    assert_eq!(attribute(run, "job.outcome").as_deref(), Some("dead"));
    assert_eq!(attribute(run, "error.type").as_deref(), Some("Refused"));
    let event = run.events.iter().find(|event| event.name == "exception");
    let said = &event.expect("the exception is an event").attributes;
    let said: Vec<_> = said.iter().map(|one| one.value.as_str().into_owned()).collect();
    assert_eq!(said, ["Refused", "the card was refused"]);
    Ok(())
}

#[tokio::test]
async fn without_a_layer_there_is_no_trace_and_a_given_one_is_kept() -> Tested {
    let client = Client::connect("sqlite::memory:").await?;
    let job = client.enqueue(Child).await?;
    assert_eq!(client.job(job.id).await?.and_then(|info| info.trace_parent), None);
    let settings = Settings { trace_parent: Some(ELSEWHERE.into()), ..Settings::default() };
    let job = client.enqueue_raw("child", "{}").settings(settings).await?;
    let kept = client.job(job.id).await?.and_then(|info| info.trace_parent);
    assert_eq!(kept.as_deref(), Some(ELSEWHERE));
    Ok(())
}
