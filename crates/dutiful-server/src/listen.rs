//! The socket: loopback addresses only, so many connections, and none that says nothing for long.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use dutiful::Client;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use crate::access::Peer;
use crate::monitor::Monitor;
use crate::options::{AccessOptions, Options};
use crate::{routes, serve};

/// Most connections at a time, to the probes and to a server; more wait in the system's queue.
const PROBES_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 4096;
/// A connection on which nothing moves is closed after this long: to a server it is longer than
/// the longest wait for an answer.
const PROBES_IDLE: Duration = Duration::from_secs(30);
const IDLE_MAX: Duration = Duration::from_secs(75);
/// How long answers under way may take after the end was told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Not an address.
    #[error(
        "listen on {given:?}: write an address such as 127.0.0.1:9394 (port 0 takes a free one)"
    )]
    Address {
        /// What was given.
        given: String,
    },
    /// Others than this machine could connect.
    #[error(
        "listen on {given}: nobody is asked for credentials, so only loopback addresses are \
         allowed; use 127.0.0.1:{} with a reverse proxy or `ssh -L` in front, or let `dutiful \
         serve` ask with --auth", .given.port()
    )]
    Open {
        /// What was given.
        given: SocketAddr,
    },
    /// The system refused.
    #[error("listen on {given}: {source}; choose another port, or 0 for a free one")]
    Socket {
        /// What was given.
        given: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A socket that is taken and not yet served.
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Takes an address such as `127.0.0.1:9394`, `[::1]:9394` or `localhost:9394`. Port 0 takes
    /// one that is free.
    ///
    /// # Errors
    /// [`ListenError`]: not an address, not a loopback address, or in use.
    pub async fn on(address: &str) -> Result<Self, ListenError> {
        Self::take(parse(address)?).await
    }

    /// Takes an address as [`Listening::on`] does, and any other where everybody is asked for
    /// credentials.
    ///
    /// # Errors
    /// [`ListenError`]: not an address, open to others, or in use.
    pub async fn for_server(address: &str, access: &AccessOptions) -> Result<Self, ListenError> {
        let given = match parse(address) {
            Err(ListenError::Open { given }) if access.is_closed() => given,
            given => given?,
        };
        Self::take(given).await
    }

    async fn take(given: SocketAddr) -> Result<Self, ListenError> {
        let taken = async {
            let socket = TcpListener::bind(given).await?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        taken.await.map_err(|source| ListenError::Socket { given, source })
    }

    /// Returns the address with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the probes of a worker until `stop` resolves; what is under way then is finished
    /// within a second.
    pub async fn serve(
        self,
        monitor: Arc<Monitor>,
        client: Client,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        let limits = Limits { connections: PROBES_MAX, idle: PROBES_IDLE };
        self.answer(routes::router(monitor, client), limits, stop).await;
    }

    /// Answers as a whole server, with API and dashboard, until `stop` resolves. Who waits for a
    /// job or a result then is told at once that there is none yet.
    pub async fn serve_all(
        self,
        monitor: Arc<Monitor>,
        client: Client,
        options: Options,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        let stopping = CancellationToken::new();
        let router = serve::router(client, monitor, options, stopping.clone());
        let limits = Limits { connections: CONNECTIONS_MAX, idle: IDLE_MAX };
        let stop = async move {
            stop.await;
            stopping.cancel();
        };
        self.answer(router, limits, stop).await;
    }

    async fn answer(
        self,
        router: Router,
        limits: Limits,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        let room = Arc::new(Semaphore::new(limits.connections));
        let limited = Limited { socket: self.socket, room, idle: limits.idle };
        let (tell, told) = tokio::sync::oneshot::channel();
        let service = router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(limited, service).with_graceful_shutdown(async move {
            stop.await;
            // Nobody listens when the serving was dropped, and then it is over anyway.
            let _ = tell.send(());
        });
        let patience = async {
            let _ = told.await;
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            _ = serving => {}
            () = patience => {}
        }
    }
}

/// How many connections there may be, and how long each may be silent.
struct Limits {
    connections: usize,
    idle: Duration,
}

/// The system's own idea of `localhost` may be any address, so it is not asked.
fn parse(text: &str) -> Result<SocketAddr, ListenError> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let local = local.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let given = local.or_else(|| text.parse().ok());
    let given = given.ok_or_else(|| ListenError::Address { given: text.to_owned() })?;
    match is_loopback(given.ip()) {
        true => Ok(given),
        false => Err(ListenError::Open { given }),
    }
}

/// True when only this machine reaches the address.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// A listener that waits for room before it takes the next connection.
struct Limited {
    socket: TcpListener,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.room.clone().acquire_owned().await.expect("it is never closed");
        let (stream, from) = Listener::accept(&mut self.socket).await;
        let (longest, idle) = (self.idle, Box::pin(sleep(self.idle)));
        (Connection { stream, longest, idle, _permit: permit }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Connected<IncomingStream<'_, Limited>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection that ends when nothing moves on it.
struct Connection {
    stream: TcpStream,
    longest: Duration,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes on what the stream answered, or an error when it has been silent for too long.
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        answer: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            let until = Instant::now() + self.longest;
            self.idle.as_mut().reset(until);
            return answer;
        }
        self.idle.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.stream).poll_read(cx, into);
        self.watched(cx, answer)
    }
}

impl AsyncWrite for Connection {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn takes_loopback_addresses_only() {
        for good in
            ["127.0.0.1:9394", "127.8.9.10:1", "[::1]:0", "localhost:80", "[::ffff:127.0.0.1]:1"]
        {
            assert!(parse(good).is_ok(), "{good}");
        }
        for open in ["0.0.0.0:9394", "[::]:9394", "192.168.0.1:9394", "[::ffff:10.0.0.1]:1"] {
            let sentence = parse(open).unwrap_err().to_string();
            assert!(sentence.contains("`ssh -L`"), "{open}: {sentence}");
        }
        for wrong in ["", "9394", ":9394", "127.0.0.1", "localhost", "localhost:70000", "a.b:1"] {
            let sentence = parse(wrong).unwrap_err().to_string();
            assert!(sentence.contains("such as 127.0.0.1:9394"), "{wrong}: {sentence}");
        }
    }
}
