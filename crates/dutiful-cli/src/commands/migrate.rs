//! `dutiful migrate`: brings the store's schema to a version.

use std::process::ExitCode;

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A SQLite store is migrated whenever it is opened, so there this command only tells the version.

Examples:
  dutiful migrate
  dutiful migrate --to 1        back to version 1, before an older program is put back

Version 0 is a file without tables: going there deletes every job, and needs --yes.")]
pub(crate) struct Args {
    /// The version to go to, up or down [default: the newest]
    #[arg(long, value_name = "VERSION")]
    to: Option<i64>,
    /// Go to version 0 and delete every job without asking
    #[arg(long)]
    yes: bool,
}

/// Migrates the store.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    if args.to == Some(0) && !args.yes {
        let text = "migrate to version 0: every job would be deleted for good; \
                    make a backup, and add --yes if so";
        return Err(Failure::usage(text));
    }
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
