//! Traces: a job joins the trace of the span that enqueued it, and so do the jobs of its handler.
#![cfg(feature = "otel")]

use dutiful::{Client, Context, Job, Result, Worker};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

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

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).expect("the span was exported")
}

#[tokio::test]
async fn a_job_and_its_children_join_the_trace_of_the_enqueue()
-> std::result::Result<(), dutiful::Error> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _active = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let client = Client::connect("sqlite::memory:").await?;
    let request = tracing::info_span!("request");
    let job = async { client.enqueue(Parent).await }.instrument(request).await?;
    let outside = client.enqueue(Child).await?;
    Worker::new(&client, ()).job(parent).job(child).until_empty(true).run().await?;

    let spans = exporter.get_finished_spans().expect("the exporter is alive");
    let request = named(&spans, "request");
    let trace = request.span_context.trace_id();
    let info = client.job(job.id).await?.expect("it is on record");
    let header = format!("00-{trace}-{}-01", request.span_context.span_id());
    assert_eq!(info.trace_parent, Some(header));
    let run = named(&spans, "job.parent");
    assert_eq!(run.span_context.trace_id(), trace);
    assert_eq!(run.parent_span_id, request.span_context.span_id());
    let children: Vec<_> = spans.iter().filter(|span| span.name == "job.child").collect();
    let inherited = children.iter().find(|span| span.span_context.trace_id() == trace);
    let inherited = inherited.expect("the handler's job joined the trace");
    assert_eq!(inherited.parent_span_id, run.span_context.span_id());
    let info = client.job(outside.id).await?.expect("it is on record");
    assert_eq!(info.trace_parent, None, "outside a span there is no trace to join");
    Ok(())
}
