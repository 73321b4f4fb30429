//! Spans of this process on their way to a collector, where the environment asks for it with the
//! variables that all programs with OpenTelemetry know. Without them nothing is made or kept.

use std::env;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{RetryPolicy, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, Resource, ResourceDetector as _};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::cli::Command;
use crate::output;

/// The name of this service when nobody gives it another.
const SERVICE: &str = "dutiful";
/// How long the last spans may take at the end.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// Longest wait for a connection to the collector, and for its answer when nobody says.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where spans go: to a collector, or nowhere.
pub(crate) struct Traces(Option<SdkTracerProvider>);

/// Begins to export spans, if the environment asks for it and the command makes any. A wish that
/// cannot be met is told and ends nothing: jobs matter more than what is seen of them.
pub(crate) fn start(command: &Command) -> Traces {
    let lasting = matches!(command, Command::Work(_) | Command::Serve(_));
    if !lasting && !matches!(command, Command::Enqueue(_)) {
        return Traces(None);
    }
    let provider =
        asked().and_then(|asked| if asked { provider(lasting).map(Some) } else { Ok(None) });
    match provider {
        Ok(Some(provider)) => {
            install(&provider);
            Traces(Some(provider))
        }
        Ok(None) => Traces(None),
        Err(why) => {
            output::note(output::plain(&format!("no traces are exported: {why}")));
            Traces(None)
        }
    }
}

impl Traces {
    /// Sends what waits still, for five seconds at most.
    pub(crate) fn end(self) {
        if let Some(provider) = self.0 {
            // What could not be sent was told by the exporter.
            let _ = provider.shutdown_with_timeout(FLUSH_MAX);
        }
    }
}

/// Reads whether traces are wanted.
fn asked() -> Result<bool, String> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    match variable("OTEL_TRACES_EXPORTER") {
        Some(names) if names.split(',').any(|name| name.trim() == "otlp") => {}
        Some(names) if names.trim() == "none" => return Ok(false),
        Some(names) => {
            return Err(format!("OTEL_TRACES_EXPORTER is {names:?}; write otlp, or none"));
        }
        None if endpoint().is_some() => {}
        None => return Ok(false),
    }
    let protocol = signal("PROTOCOL").map(|(_, protocol)| protocol);
    match protocol.as_deref() {
        None | Some("http/protobuf") => Ok(true),
        Some(other) => Err(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL asks for {other:?}; only http/protobuf is spoken (port \
             4318 of most collectors)"
        )),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.trim().is_empty())
}

/// Returns a variable of the exporter with its name: that of traces goes before that of all.
fn signal(name: &str) -> Option<(String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")];
    names.into_iter().find_map(|name| variable(&name).map(|text| (name, text)))
}

fn endpoint() -> Option<(String, String)> {
    signal("ENDPOINT")
}

fn provider(lasting: bool) -> Result<SdkTracerProvider, String> {
    let retry = if lasting { RetryPolicy::recommended() } else { RetryPolicy::disabled() };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_http_client(http()?)
        .with_retry_policy(retry)
        .build()
        .map_err(|error| error.to_string())?;
    let exporter = Telling { exporter, told: Arc::default() };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build())
}

/// What this process is called, as `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
fn resource() -> Resource {
    let given = EnvResourceDetector::new().detect();
    let named = given.iter().any(|(key, _)| key.as_str() == "service.name");
    let resource = Resource::builder();
    match named || variable("OTEL_SERVICE_NAME").is_some() {
        true => resource.build(),
        false => resource.with_service_name(SERVICE).build(),
    }
}

/// Makes the client that the exporter's thread uses. It blocks, and the runtime of the jobs knows
/// nothing of it.
fn http() -> Result<reqwest::blocking::Client, String> {
    let millis = signal("TIMEOUT").and_then(|(_, text)| text.trim().parse().ok());
    reqwest::blocking::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_MAX)
        .timeout(millis.map_or(ANSWER_MAX, Duration::from_millis))
        .build()
        .map_err(|error| format!("the HTTP client cannot be made: {error}"))
}

/// Believes the authorities that browsers believe, and those of `OTEL_EXPORTER_OTLP_CERTIFICATE`.
fn tls() -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some((name, file)) = signal("CERTIFICATE") {
        let failed = |error: &dyn fmt::Display| format!("{name} names {file:?}: {error}");
        let found = CertificateDer::pem_file_iter(&file).map_err(|error| failed(&error))?;
        for authority in found {
            let authority = authority.map_err(|error| failed(&error))?;
            roots.add(authority).map_err(|error| failed(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tls)
}

/// Makes spans of what this program traces; what its libraries trace is theirs.
fn install(provider: &SdkTracerProvider) {
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    let ours = filter_fn(|what| what.target().split("::").next() == Some("dutiful"));
    let spans = tracing_subscriber::registry().with(layer.with_filter(ours));
    // Fails only where another is installed, and nothing else here does that.
    let _ = tracing::subscriber::set_global_default(spans);
}

/// An exporter that says once that it cannot export.
#[derive(Debug)]
struct Telling {
    exporter: opentelemetry_otlp::SpanExporter,
    told: Arc<AtomicBool>,
}

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let answer = self.exporter.export(batch).await;
        if let Err(error) = &answer
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let name = endpoint().map_or("OTEL_TRACES_EXPORTER".to_owned(), |(name, _)| name);
            output::note(output::plain(&format!(
                "traces do not reach the collector of {name} ({error}); jobs run on without them, \
                 and this is not said again"
            )));
        }
        answer
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
