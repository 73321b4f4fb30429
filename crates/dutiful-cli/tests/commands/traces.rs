//! Spans as a collector gets them: kinds, links, attributes and exceptions of real commands.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message as _;

use crate::place::{Place, Ran, Running, until};

/// The trace of a caller that is no process of ours, sampled.
const ELSEWHERE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// The flush at the end has five seconds; starting a process on a busy machine takes some too.
const END_MAX: Duration = Duration::from_secs(15);

const HANDLERS: &str = "
[handlers.good]
command = [\"sh\", \"-c\", \"echo $TRACEPARENT > parent\"]
[handlers.bad]
command = [\"sh\", \"-c\", \"echo the card was refused >&2; exit 7\"]
max_attempts = 1
";

/// What answers as a collector does, and keeps what it was sent.
struct Collector {
    address: String,
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let got: Arc<Mutex<Vec<_>>> = Arc::default();
        let keep = got.clone();
        // It ends with the test's process: nothing tells it that nobody will come any more.
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let keep = keep.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &keep));
            }
        });
        Self { address, got }
    }

    /// Returns the spans with the name of the service that each came from.
    fn spans(&self) -> Vec<(String, Span)> {
        let mut spans = Vec::new();
        for resource in self.got.lock().unwrap().iter().flat_map(|one| &one.resource_spans) {
            let about = resource.resource.as_ref().unwrap();
            let service = text(&about.attributes, "service.name").unwrap();
            let here = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.extend(here.map(|span| (service.clone(), span.clone())));
        }
        spans
    }

    fn span(&self, name: &str) -> Span {
        let found = self.spans().into_iter().find(|(_, span)| span.name == name);
        found.unwrap_or_else(|| panic!("{name} is not in {:?}", self.spans())).1
    }
}

fn answer(stream: TcpStream, keep: &Mutex<Vec<ExportTraceServiceRequest>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (Vec::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            head.push(std::mem::take(&mut line).to_ascii_lowercase());
        }
        let Some(first) = head.first() else { return };
        assert!(first.starts_with("post /v1/traces http/1.1"), "{head:?}");
        assert!(head.iter().any(|one| one.trim() == "content-type: application/x-protobuf"));
        let length = head.iter().find_map(|one| one.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().trim().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        keep.lock().unwrap().push(ExportTraceServiceRequest::decode(&body[..]).unwrap());
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    let found = attributes.iter().find(|one| one.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Any::StringValue(text) => Some(text.clone()),
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a command of the place with these variables.
fn run(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = place.command(args);
    command.envs(variables.iter().copied());
    ran(command)
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Enqueues a job and returns its id.
fn enqueue(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> String {
    let ran = run(place, &[&["enqueue", "--json"], args].concat(), variables);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    ran.one_json_line()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_collector_gets_producers_and_consumers_that_belong_together() {
    let (place, collector) = (Place::with(HANDLERS), Collector::start());
    let endpoint = format!("http://{}/", collector.address);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let good = enqueue(&place, &["good", "{}"], &variables);
    let bad = enqueue(&place, &["bad", "{}", "--correlation-id", "order-7"], &variables);
    let worked = run(&place, &["work", "--until-empty"], &variables);
    assert_eq!(worked.code, Some(0), "{worked:?}");
    let spans = collector.spans();
    assert!(spans.iter().all(|(service, _)| service == "dutiful"), "{spans:?}");
    for (name, id, correlation) in [("good", &good, &good), ("bad", &bad, &"order-7".into())] {
        let (sent, run) =
            (collector.span(&format!("enqueue.{name}")), collector.span(&format!("job.{name}")));
        assert_eq!((sent.kind(), run.kind()), (SpanKind::Producer, SpanKind::Consumer));
        assert_eq!((&run.trace_id, &run.parent_span_id), (&sent.trace_id, &sent.span_id));
        let link = (&run.links[0].trace_id, &run.links[0].span_id);
        assert_eq!((run.links.len(), link), (1, (&sent.trace_id, &sent.span_id)));
        for span in [&sent, &run] {
            let said = |key| text(&span.attributes, key);
            assert_eq!(said("job.id").as_ref(), Some(id));
            assert_eq!(said("job.type").as_deref(), Some(name));
            assert_eq!(said("job.queue").as_deref(), Some("default"));
            assert_eq!(said("job.correlation_id").as_ref(), Some(correlation));
        }
        assert_eq!(value(&run.attributes, "job.attempt"), Some(&Any::IntValue(1)));
        assert_eq!(place.show(id)["trace_parent"], header(&sent));
    }
    let run = collector.span("job.good");
    assert_eq!(place.read("parent").unwrap().trim(), header(&run), "what the command was given");
    assert_eq!(text(&run.attributes, "job.outcome").as_deref(), Some("completed"));
    failed(&collector.span("job.bad"), &bad, &worked);
}

fn header(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// The attempt that failed says so, and the line about it leads to its trace.
fn failed(span: &Span, id: &str, worked: &Ran) {
    let status = span.status.as_ref().unwrap();
    assert_eq!(
        (status.code(), status.message.as_str()),
        (StatusCode::Error, "the card was refused")
    );
    let said = &span.events.iter().find(|event| event.name == "exception").unwrap().attributes;
    assert_eq!(text(said, "exception.type").as_deref(), Some("exit 7"));
    assert_eq!(text(said, "exception.message").as_deref(), Some("the card was refused"));
    let line = worked.stderr.lines().find(|line| line.contains(id)).unwrap();
    let named = format!("bad job {id} (attempt 1, trace {}) is dead", hex(&span.trace_id));
    assert!(line.starts_with(&named), "{line}");
}

#[test]
fn a_job_over_http_keeps_the_callers_trace() {
    let (place, collector) = (Place::with(HANDLERS), Collector::start());
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let log = std::fs::File::create(place.path("log")).unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.address);
    command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint).stdout(log.try_clone().unwrap());
    command.env("OTEL_SERVICE_NAME", "shop").stderr(log);
    let server = Running::of(command.spawn().unwrap());
    let told = || {
        let text = place.read("log")?;
        Some(text.split_once("listening on http://")?.1.split_once(' ')?.0.to_owned())
    };
    until("the address is told", || told().is_some());
    let address = told().unwrap();
    let mut stream = TcpStream::connect(&address).unwrap();
    let body = "{\"type\":\"bad\"}";
    let request = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         traceparent: {ELSEWHERE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let line = format!("trace {}) is dead", &ELSEWHERE[3..35]);
    until("the job is dead", || place.read("log").unwrap().contains(&line));
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    let (sent, run) = (collector.span("enqueue.bad"), collector.span("job.bad"));
    assert_eq!(hex(&sent.trace_id), &ELSEWHERE[3..35]);
    assert_eq!(hex(&sent.parent_span_id), &ELSEWHERE[36..52]);
    assert_eq!((&run.trace_id, &run.parent_span_id), (&sent.trace_id, &sent.span_id));
    let spans = collector.spans();
    assert!(spans.iter().all(|(service, _)| service == "shop"), "{spans:?}");
}

#[test]
fn an_unreachable_collector_fails_no_job_and_is_said_once() {
    let place = Place::with(HANDLERS);
    // Nobody listens where somebody just did.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // This one takes connections into its queue and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [gone, mute.local_addr().unwrap()] {
        let endpoint = format!("http://{address}");
        let few =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "1")];
        place.enqueue(&["good", "{}"]);
        place.enqueue(&["good", "{}"]);
        let started = Instant::now();
        let ran = run(&place, &["work", "--until-empty", "--json"], &few);
        assert!(started.elapsed() < END_MAX, "{:?}", started.elapsed());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.one_json_line()["completed"], 2);
        let said = ran.stderr.matches("traces do not reach the collector").count();
        assert!(said <= 1, "{ran:?}");
        assert!(address != gone || said == 1, "{ran:?}");
    }
}

#[test]
fn nothing_is_exported_that_is_not_asked_for() {
    let (place, collector) = (Place::with(HANDLERS), Collector::start());
    let endpoint = format!("http://{}", collector.address);
    let here = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        enqueue(&place, &["good", "{}"], &[here, off]);
    }
    enqueue(&place, &["good", "{}"], &[here, ("OTEL_TRACES_SAMPLER", "always_off")]);
    enqueue(&place, &["good", "{}"], &[]);
    assert_eq!(collector.spans(), []);
    let grpc = [here, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let ran = run(&place, &["enqueue", "good"], &grpc);
    assert_eq!(ran.code, Some(0), "a collector's setting refuses no job: {ran:?}");
    assert!(ran.stderr.contains("only http/protobuf is spoken"), "{ran:?}");
}
