//! `dutiful dead list|retry|discard`: the jobs that gave up and wait for a person.

use dutiful::{Client, JobId, State, Verb};

use crate::commands::{change, jobs};
use crate::failure::{Answer, Failure};
use crate::input;
use crate::settings::Settings;

/// The subcommands of `dutiful dead`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List dead jobs, newest first
    #[command(after_help = "\
Examples:
  dutiful dead list
  dutiful dead list --type send_email --json")]
    List(ListArgs),
    /// Put dead jobs back into their queues, with their failures forgotten
    #[command(after_help = "\
Examples:
  dutiful dead retry 01890a5d-ac96-774b-bcce-b302099a8057
  dutiful dead retry --all --type send_email
  dutiful dead retry --all --error timeout --since 24h")]
    Retry(Chosen),
    /// Take jobs out of the dead letter queue; they stay on record as cancelled
    #[command(after_help = "\
Examples:
  dutiful dead discard 01890a5d-ac96-774b-bcce-b302099a8057
  dutiful dead discard --all --queue mail")]
    Discard(Chosen),
}

/// Which dead jobs to list.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    which: jobs::Which,
    #[command(flatten)]
    paging: jobs::Paging,
}

/// Dead jobs by id, or all of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// The ids
    #[arg(value_name = "ID", value_parser = input::job_id)]
    ids: Vec<JobId>,
    /// All dead jobs, or all that the filters leave
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    which: jobs::Which,
}

/// Runs one of them.
pub(crate) async fn run(command: Command, settings: Settings) -> Answer {
    let client = settings.existing().await?;
    let json = settings.json;
    let answer = match command {
        Command::List(args) => {
            let filter = args.which.filter(Some(State::Dead), Some(&args.paging))?;
            jobs::list(&client, filter, json).await
        }
        Command::Retry(chosen) => apply(&client, Verb::Retry, chosen, json).await,
        Command::Discard(chosen) => apply(&client, Verb::Discard, chosen, json).await,
    };
    client.close().await?;
    answer
}

async fn apply(client: &Client, verb: Verb, chosen: Chosen, json: bool) -> Answer {
    if !chosen.all && (chosen.ids.is_empty() || chosen.which.is_narrow()) {
        let text = "know which dead jobs are meant: name their ids, or add --all to change every one \
                    that the filters leave; see dutiful dead retry --help";
        return Err(Failure::usage(text));
    }
    let ids = if chosen.all { all(client, chosen).await? } else { chosen.ids };
    change::run(client, verb, ids, json).await
}

/// Returns the ids of all dead jobs that the filters leave.
async fn all(client: &Client, chosen: Chosen) -> Result<Vec<JobId>, Failure> {
    let mut ids = Vec::new();
    let mut filter = chosen.which.filter(Some(State::Dead), None)?;
    loop {
        let page = client.jobs(filter.clone()).await?;
        ids.extend(page.jobs.iter().map(|job| job.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return Ok(ids),
        }
    }
}
