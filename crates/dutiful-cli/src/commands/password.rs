//! `dutiful password`: the hash that lets people sign in to the dashboard.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful password`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The password is read from standard input, so that it stands in no history of a shell; what is
printed is its hash. Put that into dutiful.toml, or into DUTIFUL_PASSWORD_HASH:

  [serve]
  password_hash = \"$argon2id$…\"

Whoever signs in with it may do everything.

Examples:
  dutiful password
  pass show jobs | dutiful password --json")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Hash {
    password_hash: String,
}

/// Reads a password and prints its hash.
pub(crate) fn run(_: &Args, settings: &Settings) -> Answer {
    if std::io::stdin().is_terminal() {
        output::note("type the password (it is shown), then Enter:");
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("read the password from stdin: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    let hash = dutiful_server::hash_password(password);
    let password_hash = hash.map_err(|why| Failure::usage(format!("hash the password: {why}")))?;
    match settings.json {
        true => output::json(&Hash { password_hash })?,
        false => output::line(password_hash)?,
    }
    Ok(ExitCode::SUCCESS)
}
