//! What answers over HTTP beside a worker, from before its first job to its end: the probes and
//! metrics of `dutiful work --listen`, or the whole of `dutiful serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dutiful::{Client, Observer};
use dutiful_server::{ListenError, Listening, Monitor, Options, STUCK_AFTER, Served};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// A socket that was asked for, and what listens to the worker for it.
pub(crate) struct Probes {
    listening: Listening,
    monitor: Arc<Monitor>,
}

/// Probes that are answered, until they are told to end or this is dropped.
pub(crate) struct Answering {
    pub(crate) address: SocketAddr,
    pub(crate) monitor: Arc<Monitor>,
    over: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Probes {
    /// Takes the address before anything else happens: one that is in use ends the command.
    pub(crate) async fn on(
        address: &str,
        served: Served,
        poll: Option<Duration>,
    ) -> Result<Self, Failure> {
        let listening = Listening::on(address).await.map_err(refused)?;
        Ok(Self::of(listening, served, poll))
    }

    /// Takes the address of a whole server.
    pub(crate) async fn on_all(
        address: &str,
        served: Served,
        poll: Option<Duration>,
        options: &Options,
    ) -> Result<Self, Failure> {
        let listening = Listening::for_server(address, &options.access).await.map_err(refused)?;
        Ok(Self::of(listening, served, poll))
    }

    fn of(listening: Listening, served: Served, poll: Option<Duration>) -> Self {
        // A worker that looks rarely, and whose bell was not heard, is not stuck yet.
        let stuck_after = poll.map_or(STUCK_AFTER, |poll| STUCK_AFTER.max(poll.saturating_mul(4)));
        let monitor = Monitor::new(served).stuck_after(stuck_after);
        Self { listening, monitor: Arc::new(monitor) }
    }

    /// Returns what is to hear of everything that happens in this process.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        self.monitor.clone()
    }

    /// Begins to answer the probes.
    pub(crate) fn answer(self, client: &Client) -> Answering {
        let (over, until_over) = end();
        let (address, monitor) = (self.listening.address(), self.monitor);
        let serving = self.listening.serve(monitor.clone(), client.clone(), until_over);
        Answering { address, monitor, over, serving: tokio::spawn(serving) }
    }

    /// Begins to answer as a whole server.
    pub(crate) fn answer_all(self, client: &Client, options: Options) -> Answering {
        let (over, until_over) = end();
        let (address, monitor) = (self.listening.address(), self.monitor);
        let serving =
            self.listening.serve_all(monitor.clone(), client.clone(), options, until_over);
        Answering { address, monitor, over, serving: tokio::spawn(serving) }
    }
}

fn refused(error: ListenError) -> Failure {
    match error {
        ListenError::Socket { .. } => Failure::failed(error.to_string()),
        _ => Failure::usage(error.to_string()),
    }
}

/// Told or forgotten, it is over.
fn end() -> (oneshot::Sender<()>, impl Future<Output = ()> + Send + 'static) {
    let (over, until_over) = oneshot::channel();
    (over, async {
        let _ = until_over.await;
    })
}

impl Answering {
    /// Waits until the answers under way are given, for a second at most.
    pub(crate) async fn end(self) {
        drop(self.over);
        // A panic in there was reported where it happened, and the worker's own end goes on.
        let _ = self.serving.await;
    }
}
