//! `dutiful demo`: a small shop on an embedded store, with a real crash in the middle.

use crate::failure::{Answer, Failure};
use crate::settings::Settings;

/// The arguments of `dutiful demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the demo.
pub(crate) async fn run(_args: Args, _settings: Settings) -> Answer {
    Err(Failure::failed("run the demo: this build comes without it"))
}
