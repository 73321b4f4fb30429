//! The socket: loopback addresses only, so many connections, and an end to which all come.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use dutiful::Client;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Socket, converse};
use crate::history::Recorder;
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
/// The part of the files that the system lets this process open which connections may take; the
/// store and others need some, too.
const FILES_PART: (u64, u64) = (3, 4);
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
        let recorder = Recorder::new(client.clone(), options.clock.clone());
        let recording = recorder.run(stopping.clone());
        let router = serve::whole(client, monitor, options, stopping.clone());
        let limits = Limits { connections: CONNECTIONS_MAX, idle: IDLE_MAX };
        let stop = async move {
            stop.await;
            stopping.cancel();
        };
        // What is recorded ends with the answers, however they end.
        tokio::select! {
            () = self.answer(router, limits, stop) => {}
            () = async { recording.await; std::future::pending().await } => {}
        }
    }

    async fn answer(
        self,
        router: Router,
        limits: Limits,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        let Self { mut socket, .. } = self;
        let room = Arc::new(Semaphore::new(limits.connections.min(files())));
        let (over, gone) = (CancellationToken::new(), CancellationToken::new());
        // However this ends, no connection outlives it.
        let _ended = gone.clone().drop_guard();
        let conversations = TaskTracker::new();
        tokio::pin!(stop);
        loop {
            let taken = tokio::select! {
                () = &mut stop => break,
                taken = take(&mut socket, &room, limits.idle) => taken,
            };
            let talk = converse(taken, router.clone(), over.clone());
            conversations.spawn(gone.clone().run_until_cancelled_owned(talk));
        }
        drop(socket);
        over.cancel();
        conversations.close();
        // Those who are not done by then are left to `_ended`.
        let _ = timeout(LAST_WORDS, conversations.wait()).await;
    }
}

/// Waits for room, and takes the next connection.
async fn take(socket: &mut TcpListener, room: &Arc<Semaphore>, idle: Duration) -> Socket {
    let permit = room.clone().acquire_owned().await.expect("it is never closed");
    let (stream, peer) = Listener::accept(socket).await;
    // Answers are written whole: to wait for more of them gains nothing. A socket that refuses is
    // one that has ended.
    let _ = stream.set_nodelay(true);
    Socket::new(stream, peer, idle, permit)
}

/// Connections for which there are files: one too many, and whoever opens one fails.
fn files() -> usize {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let part = most.map(|most| most.saturating_mul(FILES_PART.0) / FILES_PART.1);
    part.and_then(|part| usize::try_from(part).ok()).unwrap_or(usize::MAX).max(1)
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
