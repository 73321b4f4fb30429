//! `dutiful completions`: what a shell needs to complete commands and flags, made from the flags.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde::Serialize;

use crate::cli::Cli;
use crate::failure::{Answer, Failure};
use crate::output;

/// The arguments of `dutiful completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful completions bash > ~/.local/share/bash-completion/completions/dutiful
  dutiful completions zsh > ~/.zfunc/_dutiful
  dutiful completions fish > ~/.config/fish/completions/dutiful.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

/// Prints the script; it needs neither a store nor settings.
pub(crate) fn run(args: &Args, json: bool) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(), "dutiful", &mut script);
    let script = String::from_utf8(script)
        .map_err(|error| Failure::failed(format!("write the completions: {error}")))?;
    if json {
        output::json(&Script { shell: args.shell.to_string(), script })?;
    } else {
        output::piece(script)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the commands that people type: some shells would be offered the hidden ones too.
fn shown() -> clap::Command {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    clap::Command::new("dutiful").args(whole.get_arguments().cloned()).subcommands(shown)
}
