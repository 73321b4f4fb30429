//! The server over real connections, kept alive: single enqueues from many at once, and batches.
//! What the library does in bulk on a file of its own, in the same run, is compared with it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long each kind of request is sent.
const SECONDS: u64 = 8;
/// Connections that enqueue one by one, and that send batches.
const SINGLE: usize = 50;
const BATCHING: usize = 8;
/// Jobs in a batch.
const BATCH: u64 = 100;
/// The payload of the library's own bench has as many bytes.
const PAYLOAD: &str = r#"{"user":1234567,"template":"welcome","locale":"en-GB","args":["a","b","c"],"note":"some hundred bytes, all of them"}"#;

/// Measures and returns the report.
pub(crate) fn measure(dutiful: &Path, folder: &Path, jobs: u64) -> Result<String> {
    let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
    let mut bench = Command::new(dutiful);
    bench.args(["bench", "--json", "--store", &url("library.db"), "--jobs", &jobs.to_string()]);
    let library = crate::one_line(&mut bench)?;
    let bulk = library["enqueue_bulk_per_s"].as_f64().context("read the library's rate")?;
    let server = Server::start(dutiful, &url("server.db"))?;
    let job = format!(r#"{{"type":"bench","payload":{PAYLOAD}}}"#);
    let single = rate(&server.address, SINGLE, "/v1/jobs", &job)?;
    let all = vec![job; BATCH as usize].join(",");
    let batch = format!(r#"{{"jobs":[{all}]}}"#);
    let batches = rate(&server.address, BATCHING, "/v1/jobs/batch", &batch)? * BATCH as f64;
    let mut text = String::new();
    writeln!(text, "| over HTTP, SQLite | jobs /s | compared |\n|---|---|---|")?;
    writeln!(text, "| one enqueue a request, {SINGLE} connections | {single:.0} | |")?;
    writeln!(
        text,
        "| batches of {BATCH}, {BATCHING} connections | {batches:.0} | {:.2} of the library's bulk \
         rate ({bulk:.0}) |",
        batches / bulk
    )?;
    Ok(text)
}

/// A server of its own, gone with the value.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dutiful: &Path, store: &str) -> Result<Self> {
        let mut command = Command::new(dutiful);
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let errors = child.stderr.take().context("hear the server")?;
        let mut line = String::new();
        BufReader::new(errors).read_line(&mut line)?;
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split(' ').next());
        let Some(address) = address.map(str::to_owned) else {
            // It ended by itself, and said why.
            child.wait()?;
            bail!("start a server: {line}");
        };
        Ok(Self { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is gone already need not be stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns how many requests a second were answered well.
fn rate(address: &str, connections: usize, path: &str, body: &str) -> Result<f64> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let began = Instant::now();
    let until = began + Duration::from_secs(SECONDS);
    let sent: Result<Vec<u64>> = std::thread::scope(|scope| {
        let one = || send_until(address, request.as_bytes(), until);
        let all: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        let join = |one: std::thread::ScopedJoinHandle<'_, Result<u64>>| {
            one.join().map_err(|_| anyhow::anyhow!("send: a thread panicked"))?
        };
        all.into_iter().map(join).collect()
    });
    Ok(sent?.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}

fn send_until(address: &str, request: &[u8], until: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut sent = 0;
    while Instant::now() < until {
        stream.write_all(request)?;
        read_answer(&mut answers)?;
        sent += 1;
    }
    Ok(sent)
}

fn read_answer(from: &mut BufReader<TcpStream>) -> Result<()> {
    let (mut line, mut length, mut status) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            bail!("hear an answer: the connection was closed");
        }
        if status.is_empty() {
            status.clone_from(&line);
        }
        if let Some(given) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = given.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    if !status.contains(" 20") {
        bail!("{}: {}", status.trim(), String::from_utf8_lossy(&body));
    }
    Ok(())
}
