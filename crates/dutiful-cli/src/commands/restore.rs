//! `dutiful restore`: a backup becomes the store.

use std::path::PathBuf;
use std::process::ExitCode;

use dutiful::{Client, Restored};

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stop the workers first. Attempts that were active in the backup end as stalled and their jobs run
again, and so do jobs that were completed after the backup. What was enqueued after it is not there.
A worker from before the restore can change nothing in the restored store.

Examples:
  dutiful restore jobs-2026-12-31.db
  dutiful restore jobs-2026-12-31.db --store sqlite:/var/lib/shop/jobs.db --replace")]
pub(crate) struct Args {
    /// The backup, as `dutiful backup` wrote it
    file: PathBuf,
    /// Where a store stands already: move its file aside, and say where to
    #[arg(long)]
    replace: bool,
}

/// Restores the store.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let builder = Client::builder();
    let restored = if args.replace {
        builder.restore_over(&settings.store, &args.file).await?
    } else {
        builder.restore(&settings.store, &args.file).await?
    };
    if settings.json {
        output::json(&restored)?
    } else {
        print(&restored)?
    }
    Ok(ExitCode::SUCCESS)
}

fn print(restored: &Restored) -> Result<(), Failure> {
    let shown = |path: &PathBuf| output::plain(&path.display().to_string());
    if let Some(aside) = &restored.aside {
        output::line(format!("moved what was there to {}", shown(aside)))?;
    }
    let Restored { path, jobs, leases_ended, .. } = restored;
    let path = shown(path);
    output::line(format!(
        "restored {jobs} jobs to {path}; {leases_ended} of them were active and wait again"
    ))
}
