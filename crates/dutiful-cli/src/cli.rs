//! The command line: commands, their help, and usage errors as one sentence.

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::commands::{
    alerts, backup, completions, dead, doctor, enqueue, export, jobs, migrate, password, queues,
    restore, serve, stats, tokens, top, work, workers,
};
use crate::failure::Failure;
use crate::settings::Global;
use crate::{bench, demo};

/// Background jobs that survive kill -9, on an embedded SQLite file
#[derive(Debug, Parser)]
#[command(name = "dutiful", version, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch real jobs survive a crash: a small shop on an embedded store
    Demo(demo::Args),
    /// Serve the HTTP API and the dashboard, and run the handlers of dutiful.toml
    Serve(serve::Args),
    /// Run the handlers that dutiful.toml declares
    Work(work::Args),
    /// Put one job, or many from NDJSON, into a queue
    Enqueue(Box<enqueue::Args>),
    /// List, show, cancel, retry and delete jobs
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// List, retry and discard dead jobs
    #[command(subcommand)]
    Dead(dead::Command),
    /// List, pause, resume and clear queues
    #[command(subcommand)]
    Queues(queues::Command),
    /// List workers, what they serve and whether they are heard of
    #[command(subcommand)]
    Workers(workers::Command),
    /// Make, list and revoke tokens for the HTTP API
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Print the hash of an operators' password for dutiful.toml
    Password(password::Args),
    /// Count jobs by state and queue
    Stats(stats::Args),
    /// Watch queues, jobs, dead letters and workers in the terminal, and act on them
    Top(top::Args),
    /// Show what fires, and say that you know of it
    Alerts(alerts::Args),
    /// Look for what is wrong with the store, its place and its workers
    Doctor(doctor::Args),
    /// Write a whole copy of the store to a new file, while workers go on
    Backup(backup::Args),
    /// Make a store of a backup
    Restore(restore::Args),
    /// Bring the store's schema to this program's version
    Migrate(migrate::Args),
    /// Measure how fast this store takes, runs and picks up jobs
    Bench(bench::Args),
    /// Print alert rules for Prometheus, or a dashboard for Grafana
    #[command(subcommand)]
    Export(export::Command),
    /// Print what a shell needs to complete these commands
    Completions(completions::Args),
    /// Started by `work` for itself: kills the commands of a worker that died
    #[command(hide = true)]
    KeepGroups,
    /// Started by `demo` for itself: one of its workers
    #[command(hide = true)]
    DemoWorker(demo::worker::Args),
}

const EXAMPLES: &str = "\
Examples:
  dutiful enqueue send_email '{\"to\":\"ann@example.com\"}'
  dutiful work
  dutiful stats --json

`dutiful <command> --help` has examples for each command. Settings come from flags, then the
environment (DUTIFUL_STORE, DUTIFUL_CONFIG, DUTIFUL_LISTEN), then dutiful.toml, then defaults. Exit
codes: 0 fine, 1 failed, 2 wrong usage, a bad value or a bad dutiful.toml; of `dutiful alerts` also
2 when something critical fires.";

/// Reads the command line; help goes to stdout, a usage error to stderr as one sentence.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell when the terminal went away.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        _ => Failure::usage(sentence(&error)).report(),
    })
}

/// Makes one sentence of clap's paragraphs: what is wrong, its tips, and where help is.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let wanted = |line: &&str| !line.is_empty() && !line.starts_with("For more information");
    // The usage comes last and may have several lines; help shows it better.
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage: "));
    let parts: Vec<_> = lines.filter(wanted).collect();
    let what = parts.join("; ");
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    // What follows a colon in clap's list is part of its sentence.
    let what = what.replace(":;", ":").replace("'; [", "' [");
    format!("read the command line: {what}; see {} --help", asked_for().join(" "))
}

/// Returns the names of the command that the arguments ask for, as far as there is such a one.
fn asked_for() -> Vec<String> {
    use clap::CommandFactory as _;
    let mut command = Cli::command();
    let mut names = vec![command.get_name().to_owned()];
    for argument in std::env::args().skip(1) {
        if let Some(sub) = command.find_subcommand(&argument).cloned() {
            names.push(argument);
            command = sub;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        fn check(command: &clap::Command) {
            if command.get_subcommands().next().is_some() {
                return command.get_subcommands().for_each(check);
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("dutiful "), "{} has no example", command.get_name());
        }
        for command in Cli::command().get_subcommands() {
            if !["demo", "bench", "help", "keep-groups"].contains(&command.get_name()) {
                check(command);
            }
        }
    }
}
