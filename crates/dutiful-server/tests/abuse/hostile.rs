//! Clients that mean no good: some say as little as they can for as long as they can, others say
//! what makes no sense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A pause between the drops of a slow client.
const DROP: Duration = Duration::from_millis(500);
/// Longest wait for an answer to garbage, which may be a promise of more to come.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// How a client is slow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slow {
    /// It connects and is silent.
    Silent,
    /// It sends one line of its head after the other, and no end of it.
    Head,
    /// It sends its body byte by byte.
    Body,
}

impl Slow {
    pub(crate) const ALL: [Self; 3] = [Self::Silent, Self::Head, Self::Body];

    /// How long it may go on at least.
    pub(crate) fn may(self) -> Duration {
        match self {
            Self::Silent | Self::Head => Duration::from_secs(5),
            Self::Body => Duration::from_secs(10),
        }
    }

    fn begins(self) -> &'static str {
        match self {
            Self::Silent => "",
            Self::Head => "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n",
            Self::Body => {
                "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: 100000\r\n\r\n{\"type\":\"slow\",\"payload\":\""
            }
        }
    }

    fn drop(self) -> &'static str {
        match self {
            Self::Silent => "",
            Self::Head => "X-And: so on\r\n",
            Self::Body => "x",
        }
    }
}

/// Is slow until it is cut off; returns how long that took.
pub(crate) async fn slow(address: SocketAddr, kind: Slow) -> (Slow, Duration) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let drip = async {
        writer.write_all(kind.begins().as_bytes()).await?;
        loop {
            tokio::time::sleep(DROP).await;
            writer.write_all(kind.drop().as_bytes()).await?;
        }
    };
    let mut said = Vec::new();
    let _: Result<(), std::io::Error> = tokio::select! {
        ended = drip => ended,
        read = reader.read_to_end(&mut said) => read.map(drop),
    };
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{kind:?} was told {said}");
    (kind, begun.elapsed())
}

/// Sends garbage until it is told to end; returns how many requests that were.
pub(crate) async fn garbage(address: SocketAddr, seed: usize, done: Arc<AtomicBool>) -> usize {
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let mut sent = 0;
    while !done.load(Ordering::SeqCst) {
        let (text, expected) = piece(sent, &mut random);
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be refused before all of it is sent.
        let _ = stream.write_all(&text).await;
        let mut said = Vec::new();
        let _ = tokio::time::timeout(ANSWER_MAX, stream.read_to_end(&mut said)).await;
        let code = said.get(9..12).and_then(|code| str::from_utf8(code).ok()?.parse().ok());
        let fits = code.is_none_or(|code: u16| (400..500).contains(&code));
        assert!(fits, "{:?} was answered {code:?}", String::from_utf8_lossy(&text));
        if let (Some(expected), Some(code)) = (expected, code) {
            assert_eq!(code, expected, "{:?}", String::from_utf8_lossy(&text));
        }
        sent += 1;
    }
    sent
}

/// Returns what makes no sense, and the code with which it is refused if one is certain. A server
/// that closes while bytes are under way may take its answer back.
fn piece(at: usize, random: &mut fastrand::Rng) -> (Vec<u8>, Option<u16>) {
    let post = |body: String| {
        let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        let length = body.len();
        format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    };
    let head = |line: &str| {
        format!("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n").into_bytes()
    };
    match at % 12 {
        0 => (post("{\"type\":".into()), Some(400)),
        1 => (post(format!("{{\"type\":\"x\",\"payload\":{}", "[".repeat(100_000))), Some(400)),
        2 => {
            let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
            (post(format!("{{\"type\":\"x\",\"payload\":{deep}}}")), Some(422))
        }
        3 => (post("{\"type\":7,\"what\":null}".into()), Some(422)),
        4 => (head(&format!("X-Much: {}", "x".repeat(20_000))), Some(431)),
        5 => (head(&"A: b\r\n".repeat(200)), Some(431)),
        6 => (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Some(400)),
        7 => (b"GET  /v1/jobs\r\nHTTP/9.9 \r\n\r\n".to_vec(), Some(400)),
        8 => (head("Content-Length: -1"), Some(400)),
        9 => (head("Content-Length: 5\r\nContent-Length: 6"), Some(400)),
        10 => {
            let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz";
            (head(chunked), None)
        }
        _ => ((0..random.usize(1..2000)).map(|_| random.u8(..)).collect(), None),
    }
}
