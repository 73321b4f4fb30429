//! The probes and the metrics over a real socket, beside a real worker on a real file.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod health;
mod metrics;
mod refusals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::Client;
use dutiful_server::{Listening, Monitor, Served};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store of its own and a server that answers for it.
struct Site {
    monitor: Arc<Monitor>,
    client: Client,
    address: std::net::SocketAddr,
    over: oneshot::Sender<()>,
    answering: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// What came back, the head in small letters.
#[derive(Debug)]
struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Site {
    async fn with(served: Served, stuck_after: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
        let monitor = Arc::new(Monitor::new(served).stuck_after(stuck_after));
        let client = Client::builder().observer(monitor.clone()).connect(&url).await.unwrap();
        let listening = Listening::on("127.0.0.1:0").await.unwrap();
        let address = listening.address();
        let (over, until_over) = oneshot::channel();
        let serving = listening.serve(monitor.clone(), client.clone(), async move {
            let _ = until_over.await;
        });
        let answering = tokio::spawn(serving);
        Self { monitor, client, address, over, answering, _dir: dir }
    }

    /// Returns a site whose worker serves these queues, and runs these types of them.
    async fn serving(queues: &[(&str, usize)], types: &[(&str, &str)]) -> Self {
        Self::with(served(queues, types), Duration::from_secs(60)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "Host: localhost\r\n").await
    }

    /// Sends one request with these head lines.
    async fn ask(&self, method: &str, path: &str, head: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { code, head: head.to_lowercase(), body: body.to_owned() }
    }
}

fn served(queues: &[(&str, usize)], types: &[(&str, &str)]) -> Served {
    let queues = queues.iter().map(|(name, slots)| ((*name).into(), *slots)).collect();
    let types = types.iter().map(|(queue, name)| ((*queue).into(), (*name).into())).collect();
    Served { queues, types, slots: None }
}

impl Answer {
    /// Returns the value of the row that begins with this, which must be there once.
    fn row(&self, row: &str) -> f64 {
        let mut values =
            self.body.lines().filter_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
        let value = values.next().unwrap_or_else(|| panic!("{row} is missing in\n{}", self.body));
        assert_eq!(values.next(), None, "{row} is there twice");
        value.parse().unwrap()
    }

    fn says(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let status = if self.code == 200 { "ok" } else { "failing" };
        assert_eq!(json["status"], status, "{self:?}");
        json["says"].as_str().unwrap().to_owned()
    }
}

/// Asks again until the answer is as it must become.
async fn until(site: &Site, path: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = site.get(path).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "waited too long; the last answer of {path} was {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
