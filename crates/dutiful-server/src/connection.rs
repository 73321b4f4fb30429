//! One connection: HTTP/1.1 on it, with a bound on the size of a head and on the time that a
//! head, a body and silence may take, so that whoever is slow holds a socket for a while and
//! nothing else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::access::Peer;
use crate::api::Problem;

/// Most bytes of a head, the line of the request among them; 431 is answered to more.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most bytes that are read ahead of whoever takes a body.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// How long a head may take from its first byte, or from the opening of the connection.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// How long a body may take from where it is waited for, and how much longer for each so many bytes
/// that came.
const BODY_MAX: Duration = Duration::from_secs(10);
const BODY_BYTES_A_SECOND: u64 = 32 * 1024;

/// Answers the requests on a connection, until it ends or `over` is told: then the answer under way
/// is the last one.
pub(crate) async fn converse(socket: Socket, router: Router, over: CancellationToken) {
    let (pace, peer) = (socket.pace.clone(), Peer(socket.peer));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        pace.set(Phase::Answer);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answering = router.call(request.map(Timed::new));
        let pace = pace.clone();
        async move {
            let answer = AssertUnwindSafe(answering).catch_unwind().await;
            pace.set(Phase::Between);
            // A router refuses in its answers; what it has as an error never happens.
            let mut answer = match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(never)) => match never {},
                Err(_) => panicked(),
            };
            if answer.status() == StatusCode::REQUEST_TIMEOUT {
                // What comes of the body still would be taken for the next head.
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<Response, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // Ours tells a head that dawdles from a connection that is kept for later.
        .header_read_timeout(None)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    // What goes wrong on a connection is told to whoever is at its other end, if to anybody.
    tokio::select! {
        _ = &mut serving => {}
        () = over.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// The panic was reported by its hook; the one who asked is told that it was not his fault.
fn panicked() -> Response {
    let detail = "the server made a mistake over this request and goes on; its log says which";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// A head is read, or the connection is fresh and owes one.
    Head,
    /// A request is answered, its body read meanwhile.
    Answer,
    /// The next request may take its time to begin.
    Between,
}

/// The phase, as those who read bytes and those who answer requests tell each other.
#[derive(Debug, Default)]
struct Pace(AtomicU8);

impl Pace {
    fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::SeqCst);
    }

    fn is(&self, phase: Phase) -> bool {
        self.0.load(Ordering::SeqCst) == phase as u8
    }
}

/// A socket that ends when nothing moves on it for too long, or when a head does not come to its
/// end.
pub(crate) struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    pace: Arc<Pace>,
    idle: Duration,
    /// When the head that is read now must be there, and when something must have moved.
    head_until: Instant,
    idle_until: Instant,
    alarm: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Socket {
    /// Takes a connection that may be silent for so long between requests. The permit is given
    /// back when it ends.
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        idle: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            peer,
            pace: Arc::default(),
            idle,
            head_until: now + HEAD_MAX,
            idle_until: now + idle,
            alarm: Box::pin(sleep(HEAD_MAX)),
            _permit: permit,
        }
    }

    /// Passes on what the stream answered, or an error when it took too long.
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        answer: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.idle_until = Instant::now() + self.idle;
        }
        let until = match self.pace.is(Phase::Head) {
            true => self.head_until,
            false => self.idle_until,
        };
        if answer.is_ready() && Instant::now() < until {
            return answer;
        }
        if self.alarm.deadline() != until {
            self.alarm.as_mut().reset(until);
        }
        self.alarm.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let answer = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before && self.pace.is(Phase::Between) {
            self.pace.set(Phase::Head);
            self.head_until = Instant::now() + HEAD_MAX;
        }
        self.watched(cx, answer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write(cx, from);
        self.watched(cx, answer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body that must come to its end in time, counted from when it is first waited for.
struct Timed {
    body: Incoming,
    bytes: u64,
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Timed {
    fn new(body: Incoming) -> Self {
        Self { body, bytes: 0, waits: None }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.bytes += data.map_or(0, |data| data.len() as u64);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let more = Duration::from_secs(self.bytes / BODY_BYTES_A_SECOND);
        let begin = || {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + BODY_MAX)))
        };
        let (since, alarm) = self.waits.get_or_insert_with(begin);
        let until = *since + BODY_MAX + more;
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        let late = || io::Error::from(io::ErrorKind::TimedOut).into();
        alarm.as_mut().poll(cx).map(|()| Some(Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    async fn panic() -> Response {
        panic!("of the test");
    }

    /// Answers the requests of this text on one connection, and returns what was answered.
    async fn answers(router: Router, asked: &str) -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = socket.accept().await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let taken = Socket::new(stream, peer, Duration::from_secs(60), permit);
        client.write_all(asked.as_bytes()).await.unwrap();
        let mut text = String::new();
        let read = client.read_to_string(&mut text);
        let (_, read) = tokio::join!(converse(taken, router, CancellationToken::new()), read);
        read.unwrap();
        text
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_the_connection_goes_on() {
        let router = Router::new().route("/panic", get(panic)).route("/well", get(async || "well"));
        let head = "HTTP/1.1\r\nHost: localhost\r\n";
        let both = format!("GET /panic {head}\r\nGET /well {head}Connection: close\r\n\r\n");
        let text = answers(router, &both).await;
        assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
        assert!(text.contains("application/problem+json"), "{text}");
        assert!(!text.contains("of the test"), "what went wrong is for the log alone: {text}");
        assert!(text.contains("HTTP/1.1 200 ") && text.ends_with("well"), "{text}");
    }

    #[tokio::test]
    async fn a_head_may_have_16_kib_and_no_more() {
        let router = Router::new().route("/well", get(async || "well"));
        let ask = |bytes: usize| {
            let head = "GET /well HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Much: ";
            let much = "x".repeat(bytes - head.len() - "\r\n\r\n".len());
            format!("{head}{much}\r\n\r\n")
        };
        let text = answers(router.clone(), &ask(HEAD_BYTES_MAX)).await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let text = answers(router, &ask(HEAD_BYTES_MAX + 1)).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }
}
