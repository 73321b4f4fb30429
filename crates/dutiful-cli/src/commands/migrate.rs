//! `dutiful migrate`: brings the store's schema to a version.

use std::process::ExitCode;

use dutiful::Client;

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A SQLite store is migrated whenever it is opened, so there this command only tells the version.
On Postgres `work` and `bench` migrate too; programs that only enqueue never do.

Examples:
  dutiful migrate
  dutiful migrate --to 1        back to version 1, before an older program is put back
  dutiful migrate --print       the SQL for Postgres, for tools of your own; connects to nothing
  dutiful migrate --print-roles the SQL that makes three roles with no more rights than they need

Version 0 is a file without tables: going there deletes every job, and needs --yes.")]
pub(crate) struct Args {
    /// The version to go to, up or down [default: the newest]
    #[arg(long, value_name = "VERSION")]
    to: Option<i64>,
    /// Go to version 0 and delete every job without asking
    #[arg(long)]
    yes: bool,
    /// Print the SQL for Postgres instead of running it, from version --from
    #[arg(long)]
    print: bool,
    /// The version that --print starts from
    #[arg(long, value_name = "VERSION", default_value_t = 0, requires = "print")]
    from: i64,
    /// Print the SQL that makes an owner, a runtime and a producer role, with their rights
    #[arg(long, conflicts_with_all = ["print", "to"])]
    print_roles: bool,
}

/// Migrates the store.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    if args.print {
        output::line(Client::migration_sql(&settings.store, args.from, args.to)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.print_roles {
        output::line(Client::roles_sql(&settings.store)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.to == Some(0) && !args.yes {
        let text = "migrate to version 0: every job would be deleted for good; \
                    make a backup, and add --yes if so";
        return Err(Failure::usage(text));
    }
    let client = settings.unmigrated().await?;
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
