//! The real binary, run as people and scripts run it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod alerts;
mod bad_input;
#[path = "../../../dutiful/tests/conformance/corpus.rs"]
mod corpus;
mod enqueue;
mod export;
mod hostile;
mod operate;
mod pictures;
mod place;
mod push;
mod safekeeping;
mod serve;
mod terminal;
mod top;
mod traces;
mod watch;
mod work;
mod work_crash;
mod work_listen;
mod work_safety;
mod workers;
