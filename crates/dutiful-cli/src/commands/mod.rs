//! The commands, one file each, and which one runs.

use crate::cli::{Cli, Command};
use crate::failure::Answer;
use crate::settings::Settings;
use crate::{bench, demo, process};

pub(crate) mod change;
pub(crate) mod dead;
pub(crate) mod enqueue;
pub(crate) mod jobs;
pub(crate) mod migrate;
pub(crate) mod queues;
pub(crate) mod stats;
pub(crate) mod work;

/// Runs the command that was asked for.
pub(crate) async fn run(cli: Cli) -> Answer {
    // It serves a worker that read the settings already.
    if matches!(cli.command, Command::KeepGroups) {
        return process::keep().await;
    }
    let settings = Settings::load(cli.global)?;
    match cli.command {
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Work(args) => work::run(args, settings).await,
        Command::Enqueue(args) => enqueue::run(*args, settings).await,
        Command::Jobs(command) => jobs::run(command, settings).await,
        Command::Dead(command) => dead::run(command, settings).await,
        Command::Queues(command) => queues::run(command, settings).await,
        Command::Stats(args) => stats::run(args, settings).await,
        Command::Migrate(args) => migrate::run(args, settings).await,
        Command::Bench(args) => bench::run(args, settings).await,
        Command::KeepGroups => process::keep().await,
    }
}
