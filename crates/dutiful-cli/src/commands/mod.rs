//! The commands, one file each, and which one runs.

use crate::cli::{Cli, Command};
use crate::failure::Answer;
use crate::settings::Settings;
use crate::{bench, demo, process};

pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod change;
pub(crate) mod completions;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod enqueue;
pub(crate) mod export;
pub(crate) mod jobs;
pub(crate) mod migrate;
pub(crate) mod password;
pub(crate) mod queues;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod stats;
pub(crate) mod tokens;
pub(crate) mod top;
pub(crate) mod work;
pub(crate) mod workers;

/// Runs the command that was asked for.
pub(crate) async fn run(cli: Cli) -> Answer {
    let Cli { global, command } = cli;
    // The hidden commands serve a process that read the settings already, and a shell that starts
    // needs none.
    let command = match command {
        Command::KeepGroups => return process::keep().await,
        Command::DemoWorker(args) => return demo::worker::run(args).await,
        Command::Completions(args) => return completions::run(&args, global.json),
        Command::Export(command) => return export::run(command, global.json),
        command => command,
    };
    let settings = Settings::load(global)?;
    match command {
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Serve(args) => serve::run(args, settings).await,
        Command::Work(args) => work::run(args, settings).await,
        Command::Enqueue(args) => enqueue::run(*args, settings).await,
        Command::Jobs(command) => jobs::run(command, settings).await,
        Command::Dead(command) => dead::run(command, settings).await,
        Command::Queues(command) => queues::run(command, settings).await,
        Command::Tokens(command) => tokens::run(command, settings).await,
        Command::Password(args) => password::run(&args, &settings),
        Command::Alerts(args) => alerts::run(args, settings).await,
        Command::Stats(args) => stats::run(args, settings).await,
        Command::Top(args) => top::run(args, settings).await,
        Command::Migrate(args) => migrate::run(args, settings).await,
        Command::Bench(args) => bench::run(args, settings).await,
        Command::Workers(command) => workers::run(command, settings).await,
        Command::Doctor(args) => doctor::run(args, settings).await,
        Command::Backup(args) => backup::run(args, settings).await,
        Command::Restore(args) => restore::run(args, settings).await,
        Command::Completions(args) => completions::run(&args, settings.json),
        Command::Export(command) => export::run(command, settings.json),
        Command::KeepGroups => process::keep().await,
        Command::DemoWorker(args) => demo::worker::run(args).await,
    }
}
