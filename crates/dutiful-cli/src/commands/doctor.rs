//! `dutiful doctor`: what is wrong with the store, its place and its workers, and what to do.

use std::process::ExitCode;

use dutiful::{Finding, Verdict};
use serde::Serialize;

use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// The arguments of `dutiful doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each check ends as ok, warning or bad. Exit code 1 when one is bad.

Examples:
  dutiful doctor
  dutiful doctor --full                  reads the whole store, which takes long for a large one
  dutiful doctor --json | jq '.findings[] | select(.verdict != \"ok\")'")]
pub(crate) struct Args {
    /// Compare all contents and indexes, and count the places of each job
    #[arg(long)]
    full: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    verdict: Verdict,
    findings: &'a [Finding],
}

/// Looks, and tells what was found.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let client = settings.existing().await?;
    let findings = client.doctor(args.full).await?;
    client.close().await?;
    let verdict = findings.iter().map(|one| one.verdict).max().unwrap_or(Verdict::Ok);
    if settings.json {
        output::json(&Report { verdict, findings: &findings })?;
    } else {
        print(&findings)?;
    }
    let bad: Vec<_> = findings.iter().filter(|one| one.verdict == Verdict::Bad).collect();
    match bad.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(Failure::failed(format!(
            "find the store well: {} of {} checks are bad; the first is {}: {}; {}",
            bad.len(),
            findings.len(),
            first.check,
            first.value,
            first.advice.as_deref().unwrap_or("look at it by hand")
        ))),
    }
}

fn print(findings: &[Finding]) -> Result<(), Failure> {
    let mut table = output::table(["check", "verdict", "found"]);
    for one in findings {
        let value = output::plain(&one.value);
        table.add_row([one.check.replace('_', " "), one.verdict.as_str().to_owned(), value]);
    }
    output::line(table)?;
    for one in findings {
        if let Some(advice) = &one.advice {
            let (check, verdict) = (one.check.replace('_', " "), one.verdict.as_str());
            output::line(format!("{check} ({verdict}): {}", output::plain(advice)))?;
        }
    }
    Ok(())
}
