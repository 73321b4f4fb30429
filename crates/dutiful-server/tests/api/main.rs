//! The whole server over a real socket: every promise of the API on a file and on Postgres.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod alerts;
mod board;
mod care;
mod describe;
mod enqueue;
mod guard;
mod handlers;
mod history;
mod metrics;
mod nested;
mod operate;
mod operations;
mod people;
mod registered;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::{Client, Worker};
use dutiful_fixture::{Postgres, Version};
use dutiful_server::{Listening, Monitor, OWN_QUEUE, Options, Served, with_operations};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store of its own, a server that answers for it and the worker that does its chores.
struct Site {
    client: Client,
    address: std::net::SocketAddr,
    over: oneshot::Sender<()>,
    answering: JoinHandle<()>,
    working: JoinHandle<()>,
    url: String,
    _dir: tempfile::TempDir,
}

/// What came back, the head in small letters.
#[derive(Debug)]
struct Answer {
    code: u16,
    head: String,
    /// The head as it came.
    raw: String,
    body: String,
}

impl Site {
    async fn on(url: &str, dir: tempfile::TempDir) -> Self {
        Self::told(url, dir, Options::default()).await
    }

    async fn told(url: &str, dir: tempfile::TempDir, options: Options) -> Self {
        Self::set(url, dir, options, |client| client).await
    }

    /// A server that is told something, before what is made of its client.
    async fn set(
        url: &str,
        dir: tempfile::TempDir,
        options: Options,
        change: impl FnOnce(Client) -> Client,
    ) -> Self {
        let served = Served { queues: vec![(OWN_QUEUE.into(), 1)], ..Served::default() };
        let monitor = Arc::new(Monitor::new(served));
        let client = Client::builder().migrate(true).observer(monitor.clone());
        let client = change(client.connect(url).await.unwrap());
        let listening = Listening::on("127.0.0.1:0").await.unwrap();
        let address = listening.address();
        let (over, until_over) = oneshot::channel();
        let serving = listening.serve_all(monitor.clone(), client.clone(), options, async move {
            let _ = until_over.await;
        });
        let worker = with_operations(Worker::new(&client, ()).lease(Duration::from_secs(3)));
        let working = tokio::spawn(async move {
            let stop = monitor.working_until(std::future::pending());
            let _ = worker.run_until(stop).await.unwrap();
        });
        let answering = tokio::spawn(serving);
        let url = url.to_owned();
        Self { client, address, over, answering, working, url, _dir: dir }
    }

    async fn file() -> Self {
        Self::file_told(Options::default()).await
    }

    async fn file_told(options: Options) -> Self {
        let (url, dir) = file();
        Self::told(&url, dir, options).await
    }

    async fn postgres() -> Self {
        Self::on(&postgres().await, tempfile::tempdir().unwrap()).await
    }

    /// Another server on the same store.
    async fn on_store_of(other: &Self) -> Self {
        Self::on(&other.url, tempfile::tempdir().unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let json = "Content-Type: application/json\r\n";
        self.ask("POST", path, json, &body.to_string()).await
    }

    /// Sends one request with these lines of the head.
    async fn ask(&self, method: &str, path: &str, head: &str, body: &str) -> Answer {
        let host = if head.to_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{host}{head}Content-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        send(self.address, request.as_bytes()).await
    }

    /// Enqueues a job and returns its id.
    async fn job(&self, job: Value) -> String {
        let answer = self.post("/v1/jobs", job).await;
        assert_eq!(answer.code, 201, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Registers a worker of these queues for the type `task` and returns its path.
    async fn worker(&self, queues: &[&str]) -> String {
        let queues: serde_json::Map<_, _> =
            queues.iter().map(|name| ((*name).to_owned(), json!(10))).collect();
        let worker = json!({ "name": "test", "queues": queues, "types": ["task"] });
        let answer = self.post("/v1/workers", worker).await;
        assert_eq!(answer.code, 201, "{answer:?}");
        format!("/v1/workers/{}", answer.json()["id"].as_str().unwrap())
    }

    /// Claims one job, which must be there, and returns it.
    async fn claim(&self, worker: &str) -> Value {
        let ask = json!({ "max": 1, "wait_ms": 20_000 });
        let answer = self.post(&format!("{worker}/claim"), ask).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        let job = answer.json()["jobs"][0].clone();
        assert!(job.is_object(), "no job came in time");
        job
    }

    /// Ends one attempt; returns what became of that.
    async fn finish(&self, worker: &str, end: Value) -> Value {
        let answer = self.post(&format!("{worker}/finish"), json!({ "ends": [end] })).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        answer.json()["ends"][0].clone()
    }

    /// Returns a job as the API shows it.
    async fn show(&self, id: &str) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await.json()
    }

    /// Enqueues a job of the type `task` that dies of this error.
    async fn dead(&self, worker: &str, class: &str, message: &str) -> String {
        let id = self.job(json!({ "type": "task", "max_attempts": 1 })).await;
        let fence = self.claim(worker).await["fence"].clone();
        let error = json!({ "class": class, "message": message });
        let end = json!({ "fence": fence, "outcome": "failed", "error": error });
        assert_eq!(self.finish(worker, end).await["state"], "dead");
        id
    }

    /// Stops everything; it must end.
    async fn close(self) {
        drop(self.over);
        tokio::time::timeout(PATIENCE, self.answering).await.unwrap().unwrap();
        self.working.abort();
        let _ = self.working.await;
        self.client.close().await.unwrap();
    }
}

/// Returns the URL of a file that is not there yet, and its folder.
fn file() -> (String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (format!("sqlite:{}", dir.path().join("jobs.db").display()), dir)
}

/// Returns the URL of an empty database.
async fn postgres() -> String {
    let server = tokio::task::spawn_blocking(|| Postgres::shared(Version::System));
    server.await.unwrap().unwrap().fresh_database().unwrap()
}

/// Sends what may be no request at all; returns what comes back.
async fn send(address: std::net::SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses early may close before all was sent; its answer counts.
    let _ = stream.write_all(request).await;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { code, head: head.to_lowercase(), raw: head.to_owned(), body: body.to_owned() }
}

/// Posts to a server.
async fn ask(address: std::net::SocketAddr, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    send(address, request.as_bytes()).await
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a problem with this code, and returns its sentence.
    fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.code, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)));
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// Asks again until it is so.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < end, "waited too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes of each promise a test on each store.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        $(mod $promise {
            #[tokio::test(flavor = "multi_thread")]
            async fn file() {
                let site = crate::Site::file().await;
                super::$promise(&site).await;
                site.close().await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                let site = crate::Site::postgres().await;
                super::$promise(&site).await;
                site.close().await;
            }
        })*
    };
}
pub(crate) use promises;
