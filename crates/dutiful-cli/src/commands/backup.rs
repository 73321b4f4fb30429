//! `dutiful backup`: a whole copy of the store at one moment, while workers go on.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::Answer;
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every job acknowledged before the command began is in it. The file can be read by its owner alone,
holds payloads as they are, and is there only when it is whole and on the disk. An existing file is
never overwritten.

Examples:
  dutiful backup jobs-2026-12-31.db
  dutiful backup \"/mnt/other-disk/jobs-$(date +%F).db\" --json")]
pub(crate) struct Args {
    /// The new file
    file: PathBuf,
}

/// Writes the backup.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let client = settings.existing().await?;
    let backup = client.backup(&args.file).await?;
    client.close().await?;
    if settings.json {
        output::json(&backup)?;
    } else {
        let path = output::plain(&backup.path.display().to_string());
        let (jobs, bytes) = (backup.jobs, backup.bytes);
        output::line(format!("backed up {jobs} jobs in {bytes} bytes to {path}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
