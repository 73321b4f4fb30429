//! What a process with a worker answers over HTTP: `/healthz`, `/readyz` and `/metrics`.
//!
//! A [`Monitor`] listens to the worker as its observer; [`Listening`] is the socket, taken before
//! any job is claimed; [`Listening::serve`] answers until it is told to stop. Only loopback
//! addresses are listened on, and only requests for a loopback host are answered, because nobody
//! is asked who they are.
//!
//! ```
//! use std::sync::Arc;
//! use dutiful::{Client, Worker};
//! use dutiful_server::{Listening, Monitor, Served};
//!
//! # #[derive(serde::Serialize, serde::Deserialize)] struct Greet {}
//! # impl dutiful::Job for Greet { const TYPE: &'static str = "greet"; }
//! # async fn greet(_: Greet, _: dutiful::Context<()>) -> dutiful::Result<()> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listening = Listening::on("127.0.0.1:0").await?;
//! let monitor = Arc::new(Monitor::new(Served {
//!     queues: vec![("default".into(), 10)],
//!     types: vec![("default".into(), "greet".into())],
//!     slots: None,
//! }));
//! let client = Client::builder().observer(monitor.clone()).connect("sqlite::memory:").await?;
//! let worker = Worker::new(&client, ()).job(greet).observer(monitor.clone());
//! let (over, until_over) = tokio::sync::oneshot::channel::<()>();
//! let answering = tokio::spawn(listening.serve(monitor.clone(), client, async move {
//!     let _ = until_over.await;
//! }));
//! # let stop = std::future::ready(());
//! # /*
//! let stop = dutiful::shutdown_signal();
//! # */
//! worker.run_until(monitor.working_until(stop)).await?; // ready until the first signal
//! drop(over);
//! answering.await?;
//! # Ok(()) }
//! ```

mod access;
pub mod alerts;
mod api;
mod assets;
pub mod audit;
mod connection;
mod counts;
mod fleet;
mod gauges;
mod handlers;
mod health;
mod history;
mod labels;
mod listen;
mod look;
mod monitor;
mod notify;
mod options;
pub mod push;
mod redact;
mod routes;
mod rows;
mod serve;
mod shelf;
mod shown;

pub use access::password::hash_password;
pub use access::tokens;
pub use api::dead::{DeadGroup, DeadGroups, dead_groups, died_of};
pub use handlers::{HandlerOptions, Registered, registered};
pub use listen::{ListenError, Listening};
pub use monitor::{Monitor, STUCK_AFTER, Served};
pub use notify::{
    EmailSettings, Hidden, NOTIFY_QUEUE, NOTIFY_SLOTS, NotifySettings, NotifySeverity,
    NotifyTargetError, NotifyTargets, RunCommand, try_notifications, with_notifications,
};
pub use options::{AccessOptions, Options, ProxyOptions};
pub use serve::{OWN_QUEUE, router, with_operations};
