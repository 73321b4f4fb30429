//! `dutiful migrate`: brings the store's schema to a version.

use std::process::ExitCode;

use crate::failure::Answer;
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A SQLite store is migrated whenever it is opened, so there this command only tells the version.

Examples:
  dutiful migrate
  dutiful migrate --to 1        back to version 1, before an older program is put back")]
pub(crate) struct Args {
    /// The version to go to, up or down [default: the newest]
    #[arg(long, value_name = "VERSION")]
    to: Option<i64>,
}

/// Migrates the store.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let client = settings.client().await?;
    let migrated = client.migrate(args.to).await?;
    if settings.json {
        output::json(&migrated)?;
    } else if migrated.from == migrated.to {
        output::line(format!("the schema is at version {} already", migrated.to))?;
    } else {
        output::line(format!("the schema went from version {} to {}", migrated.from, migrated.to))?;
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}
