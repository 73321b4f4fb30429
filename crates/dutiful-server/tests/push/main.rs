//! Push handlers end to end: a real store and worker, and real services on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod addresses;
mod answers;
mod breaker;
mod encrypted;
mod requests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use dutiful::{
    Client, Enqueue, Event, JobId, JobInfo, Name, Observer, Retry, TypeDefaults, Worker,
};
use dutiful_server::push::{Push, Target, TargetSettings};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long that a job which waits for it does not come back in a test.
const LONG: Duration = Duration::from_secs(3600);

/// A request, as a service saw it.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    from: SocketAddr,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{name} is missing")).to_str().unwrap()
    }
}

/// A service that answers on loopback, until it is dropped.
struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

impl Service {
    /// Returns one that answers so to the request of this number, from 0.
    async fn answering<R: IntoResponse>(
        answer: impl Fn(usize) -> R + Clone + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let log = seen.clone();
        let handle = move |ConnectInfo(from): ConnectInfo<SocketAddr>,
                           method: Method,
                           uri: Uri,
                           headers: HeaderMap,
                           body: Bytes| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(Seen { method, uri, headers, body, from });
                    log.len() - 1
                };
                answer(number).into_response()
            }
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let router = Router::new().fallback(handle);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(socket, service).await.unwrap() });
        Self { address, seen, serving }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn url(&self) -> String {
        format!("http://{}/jobs?via=test", self.address)
    }

    /// Returns this service as a target that may be on this machine.
    fn target(&self) -> Target {
        target(&Push::new(), &self.url())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn private(url: &str) -> TargetSettings {
    TargetSettings { allow_private: true, ..TargetSettings::new(url) }
}

fn target(push: &Push, url: &str) -> Target {
    push.target(private(url)).unwrap()
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Response {
    let mut response = (StatusCode::from_u16(status).unwrap(), body.to_owned()).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq)]
enum Came {
    Completed,
    Failed { class: String, message: String, again: Duration },
    Dead { class: String, message: String },
    Snoozed(Duration),
}

impl Came {
    fn class(&self) -> &str {
        match self {
            Self::Failed { class, .. } | Self::Dead { class, .. } => class,
            Self::Completed => "completed",
            Self::Snoozed(_) => "snoozed",
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Failed { message, .. } | Self::Dead { message, .. } => message,
            _ => panic!("it did not fail: {self:?}"),
        }
    }
}

struct Ears(mpsc::UnboundedSender<Came>);

impl Observer for Ears {
    fn event(&self, event: &Event<'_>) {
        let came = match event {
            Event::Completed { .. } => Came::Completed,
            Event::Failed { failure, retry_in, .. } => Came::Failed {
                class: failure.class.clone(),
                message: failure.message.clone(),
                again: *retry_in,
            },
            Event::Dead { failure, .. } => {
                Came::Dead { class: failure.class.clone(), message: failure.message.clone() }
            }
            Event::Snoozed { wait, .. } => Came::Snoozed(*wait),
            _ => return,
        };
        let _ = self.0.send(came);
    }
}

/// A store with a worker whose one slot sends jobs of the type `t` to a target.
struct Site {
    client: Client,
    came: mpsc::UnboundedReceiver<Came>,
    working: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn working(target: Target) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
        let client = Client::connect(&url).await.unwrap();
        let (tell, came) = mpsc::unbounded_channel();
        let defaults = TypeDefaults::unknown(Name::new("type", "t").unwrap());
        let worker = Worker::new(&client, ()).slots(1).observer(Arc::new(Ears(tell)));
        let worker = worker.raw(defaults, Retry::fixed(LONG), move |payload, cx| {
            let target = target.clone();
            async move { target.attempt(payload, &cx).await }
        });
        let working = tokio::spawn(async move {
            worker.run_until(std::future::pending()).await.unwrap();
        });
        Self { client, came, working, _dir: dir }
    }

    fn job(&self, payload: &str) -> Enqueue<'_> {
        self.client.enqueue_raw("t", payload)
    }

    /// Enqueues a job and waits until its first attempt has ended.
    async fn run(&mut self, payload: &str) -> (JobInfo, Came) {
        let id = self.job(payload).await.unwrap().id;
        let came = self.next().await;
        (self.look(id).await, came)
    }

    async fn next(&mut self) -> Came {
        tokio::time::timeout(PATIENCE, self.came.recv()).await.expect("an attempt ends").unwrap()
    }

    async fn look(&self, id: JobId) -> JobInfo {
        self.client.job(id).await.unwrap().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.working.abort();
    }
}
