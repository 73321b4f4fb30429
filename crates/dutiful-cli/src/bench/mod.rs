//! `dutiful bench`: how fast a store enqueues, drains and picks up jobs.

use crate::failure::{Answer, Failure};
use crate::settings::Settings;

/// The arguments of `dutiful bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the load test.
pub(crate) async fn run(_args: Args, _settings: Settings) -> Answer {
    Err(Failure::failed("run the load test: this build comes without it"))
}
