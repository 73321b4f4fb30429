//! Background jobs that are done exactly as often as promised, whatever crashes in between.
//!
//! A job is a piece of work with a type and a payload. A [`Client`] enqueues it, best in the same
//! transaction as the data it belongs to; a [`Worker`] claims it under a lease and runs its
//! handler; failures are retried with backoff, crashes are found by heartbeat, and what cannot be
//! done waits in the dead letter queue for a person.
//!
//! ```
//! use dutiful::{Client, Context, Job, Result, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendWelcome { user: i64 }
//!
//! impl Job for SendWelcome {
//!     const TYPE: &'static str = "send_welcome";
//!     const QUEUE: &'static str = "mail";
//! }
//!
//! async fn send_welcome(job: SendWelcome, cx: Context<Mailer>) -> Result<()> {
//!     cx.app.send(job.user, &cx.idempotency_key()).await?; // any error: retried with backoff
//!     Ok(())
//! }
//!
//! # struct Mailer;
//! # impl Mailer {
//! #     async fn send(&self, _: i64, _: &str) -> std::io::Result<()> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
//! let client = Client::connect(&url).await?;
//! client.enqueue(SendWelcome { user: 7 }).await?;
//!
//! let worker = Worker::new(&client, Mailer).job(send_welcome).queue("mail", 20);
//! # let worker = worker.until_empty(true);
//! worker.run_until(dutiful::shutdown_signal()).await?;
//! # Ok(()) }
//! ```
//!
//! The [`guide`] has a page for each thing that comes next: [errors and retries], effects that
//! happen [exactly once], [several processes], [testing], [operating]; and one for those who come
//! [from Sidekiq, Celery or BullMQ][coming_from].
//!
//! [errors and retries]: guide::errors_and_retries
//! [exactly once]: guide::exactly_once
//! [several processes]: guide::several_processes
//! [testing]: guide::testing
//! [operating]: guide::operating
//! [coming_from]: guide::coming_from

#![cfg_attr(bug = "any", allow(dead_code, reason = "mutants leave code unused"))]

pub mod blocking;
mod builder;
mod client;
mod clock;
mod context;
mod enqueue;
mod error;
#[cfg(any(doc, doctest))]
pub mod guide;
mod id;
mod inspect;
mod job;
mod known;
mod notes;
mod operate;
mod outcome;
mod payload;
mod result;
mod retry;
pub mod store;
mod telemetry;
pub mod testing;
mod totals;
mod within;
mod worker;

pub use builder::ClientBuilder;
pub use client::{Client, Verb};
pub use clock::{Clock, Timestamp};
pub use context::Context;
pub use enqueue::{Enqueue, EnqueueAll, NewJob, Outgoing};
pub use error::{Error, InvalidJob, StoreError};
pub use id::{Fence, JobId, NAME_BYTES_MAX, Name, WorkerId};
pub use inspect::{
    AttemptInfo, AttemptOutcome, Backup, Counts, EXAMINED_MAX, Filter, Finding, JobInfo, JobResult,
    LOG_ATTEMPTS_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LogLine, PAGE_MAX, Page, Progress,
    QueueInfo, Restored, Stats, Verdict, Vitals, WorkerInfo, WorkerState,
};
pub use job::{
    ATTEMPTS_MAX, Delivery, Job, PRIORITY_MAX, Record, Settings, State, TAGS_MAX, TEXT_BYTES_MAX,
    TIMEOUT_MAX, TypeDefaults,
};
pub use outcome::{
    Answer, Completed, Decision, HandlerError, IntoOutcome, MESSAGE_BYTES_MAX, OrDecide, Outcome,
    RESULT_BYTES_MAX, Result,
};
pub use payload::{DEPTH_MAX, PAYLOAD_BYTES_MAX};
pub use result::{Awaiting, RESULT_WAIT};
pub use retry::{RETRY_MAX, RETRY_MIN, Retry};
#[cfg(feature = "postgres")]
pub use store::postgres::{Answer as WithinAnswer, Asked, Transaction, TransactionError};
pub use store::{
    Change, DeadReason, EnqueueOutcome, Enqueued, Facts, Failure, Migrated, Retention,
};
pub use telemetry::{Event, Observer, Run, correlate, trace_parent};
pub use totals::{ERROR_CLASS_OTHER, ERROR_CLASSES_MAX, SPREAD_MS, Spread, TypeTotals};
#[doc(hidden)]
pub use within::Ending;
pub use within::Within;
pub use worker::{Next, Report, Worker, WorkerHandle, quiet_signals, shutdown_signal};

/// The README's program, compiled with the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
