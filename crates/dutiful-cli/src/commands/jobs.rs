//! `dutiful jobs list|show|cancel|retry|delete`: find jobs and change them by id.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use dutiful::{
    AttemptInfo, Client, Filter, JobId, JobInfo, Name, PAGE_MAX, Page, State, Timestamp, Verb,
};

use crate::commands::change;
use crate::failure::{Answer, Failure};
use crate::settings::Settings;
use crate::{input, output};

/// Characters of an error message in a table.
const MESSAGE_SHOWN: usize = 60;

/// The subcommands of `dutiful jobs`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List jobs, newest first
    #[command(after_help = "\
Examples:
  dutiful jobs list --state failed --queue mail
  dutiful jobs list --type send_email --limit 200 --json
  dutiful jobs list --state dead --error timeout --since 24h
  dutiful jobs list --tag import --group acme")]
    List(ListArgs),
    /// Show everything about one job: settings, payload, attempts, result
    #[command(after_help = "\
Example:
  dutiful jobs show 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show {
        /// The id
        #[arg(value_parser = input::job_id)]
        id: JobId,
    },
    /// Wait for the end of a job and print its result
    #[command(after_help = "\
Examples:
  dutiful jobs wait 01890a5d-ac96-774b-bcce-b302099a8057
  dutiful jobs wait 01890a5d-ac96-774b-bcce-b302099a8057 --timeout 5s --json")]
    Wait {
        /// The id
        #[arg(value_parser = input::job_id)]
        id: JobId,
        /// Wait at most so long
        #[arg(long, value_name = "TIME", default_value = "1m", value_parser = input::duration)]
        timeout: Duration,
    },
    /// Stop jobs: waiting ones at once, running ones as soon as their worker hears of it
    #[command(after_help = "\
Example:
  dutiful jobs cancel 01890a5d-ac96-774b-bcce-b302099a8057")]
    Cancel(Ids),
    /// Put dead, failed or cancelled jobs back into their queues, due now
    #[command(after_help = "\
Example:
  dutiful jobs retry 01890a5d-ac96-774b-bcce-b302099a8057")]
    Retry(Ids),
    /// Remove every trace of jobs that are not running
    #[command(after_help = "\
Example:
  dutiful jobs delete 01890a5d-ac96-774b-bcce-b302099a8057")]
    Delete(Ids),
}

/// Some jobs.
#[derive(Debug, clap::Args)]
pub(crate) struct Ids {
    /// The ids
    #[arg(required = true, value_name = "ID", value_parser = input::job_id)]
    pub(crate) ids: Vec<JobId>,
}

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only jobs in this state
    #[arg(long, value_parser = input::StateParser)]
    state: Option<State>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    paging: Paging,
}

/// Which page of a list.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Paging {
    /// Only jobs older than this one (`next` of the page before)
    #[arg(long, value_name = "ID", value_parser = input::job_id)]
    before: Option<JobId>,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

/// Filters that every list knows.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// Only jobs of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only jobs of this type
    #[arg(long = "type", value_name = "TYPE")]
    job_type: Option<String>,
    /// Only jobs of this group
    #[arg(long)]
    group: Option<String>,
    /// Only jobs with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only jobs with this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Only jobs enqueued at this time or later (RFC 3339, or so long ago: 2h)
    #[arg(long, value_name = "TIME", value_parser = input::past)]
    since: Option<Timestamp>,
    /// Only jobs enqueued before this time (RFC 3339, or so long ago: 2h)
    #[arg(long, value_name = "TIME", value_parser = input::past)]
    until: Option<Timestamp>,
    /// Only jobs whose last error has this text in it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

impl Which {
    /// True when a filter leaves jobs out.
    pub(crate) fn is_narrow(&self) -> bool {
        let texts = [
            &self.queue,
            &self.job_type,
            &self.group,
            &self.tag,
            &self.correlation_id,
            &self.error,
        ];
        texts.iter().any(|text| text.is_some()) || self.since.is_some() || self.until.is_some()
    }

    /// Returns the filter for jobs in this state, a page at a time.
    pub(crate) fn filter(
        &self,
        state: Option<State>,
        paging: Option<&Paging>,
    ) -> Result<Filter, Failure> {
        let name = |what, text: &Option<String>| {
            text.as_deref().map(|text| Name::new(what, text)).transpose()
        };
        Ok(Filter {
            state,
            queue: name("queue", &self.queue)?,
            job_type: name("type", &self.job_type)?,
            group: self.group.clone(),
            tag: self.tag.clone(),
            correlation_id: self.correlation_id.clone(),
            since: self.since,
            until: self.until,
            error: self.error.clone(),
            before: paging.and_then(|page| page.before),
            limit: Some(paging.map_or(PAGE_MAX, |page| usize::from(page.limit))),
            ..Filter::default()
        })
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command, settings: Settings) -> Answer {
    let client = settings.existing().await?;
    let json = settings.json;
    let answer = match command {
        Command::List(args) => {
            let filter = args.which.filter(args.state, Some(&args.paging))?;
            list(&client, filter, json).await
        }
        Command::Show { id } => show(&client, id, json).await,
        Command::Wait { id, timeout } => wait(&client, id, timeout, json).await,
        Command::Cancel(ids) => change::run(&client, Verb::Cancel, ids.ids, json).await,
        Command::Retry(ids) => change::run(&client, Verb::Retry, ids.ids, json).await,
        Command::Delete(ids) => change::run(&client, Verb::Delete, ids.ids, json).await,
    };
    client.close().await?;
    answer
}

/// Prints one page of jobs.
pub(crate) async fn list(client: &Client, filter: Filter, json: bool) -> Answer {
    let page = client.jobs(filter).await?;
    if json {
        output::json(&page)?
    } else {
        print_page(&page)?
    }
    Ok(ExitCode::SUCCESS)
}

fn print_page(page: &Page) -> Result<(), Failure> {
    if page.jobs.is_empty() && page.next.is_none() {
        return output::line("no such jobs");
    }
    let heads =
        ["id", "type", "queue", "state", "attempt", "failed", "scheduled for", "last error"];
    let mut table = output::table(heads);
    for job in &page.jobs {
        let error = job.last_error.as_ref();
        let error =
            error.map(|e| output::short(&format!("{}: {}", e.class, e.message), MESSAGE_SHOWN));
        table.add_row([
            Cell::new(job.id),
            Cell::new(&job.job_type),
            Cell::new(&job.queue),
            Cell::new(job.state),
            output::count(job.attempt.into()),
            Cell::new(format!("{} of {}", job.failures, job.max_attempts)),
            Cell::new(job.scheduled_for),
            Cell::new(error.unwrap_or_default()),
        ]);
    }
    output::line(table)?;
    match page.next {
        Some(next) => output::line(format!("more with --before {next}")),
        None => Ok(()),
    }
}

async fn wait(client: &Client, id: JobId, timeout: Duration, json: bool) -> Answer {
    let ended = client.result(id).timeout(timeout).await?;
    if json {
        output::json(&ended)?;
    } else if ended.state == State::Completed {
        output::line(ended.result.as_ref().map_or("null", |json| json.get()))?;
    }
    // Anything but a completion is this command's failure, and says what it was.
    ended.decode::<serde::de::IgnoredAny>()?;
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, id: JobId, json: bool) -> Answer {
    let job = client.job(id).await?.ok_or(dutiful::Error::NotFound(id))?;
    if json {
        output::json(&job)?
    } else {
        print_job(&job)?
    }
    Ok(ExitCode::SUCCESS)
}

fn print_job(job: &JobInfo) -> Result<(), Failure> {
    let mut facts = vec![
        ("id", job.id.to_string()),
        ("type", job.job_type.to_string()),
        ("queue", job.queue.to_string()),
        ("state", job.state.to_string()),
        ("priority", job.priority.to_string()),
        ("created at", job.created_at.to_string()),
        ("scheduled for", job.scheduled_for.to_string()),
        ("attempt", format!("{} ({} failed of {})", job.attempt, job.failures, job.max_attempts)),
        ("crashes", job.crashes.to_string()),
        ("timeout", span(job.timeout_ms)),
        ("correlation id", output::plain(&job.correlation_id)),
    ];
    let optional = [
        ("trace parent", job.trace_parent.as_deref().map(output::plain)),
        ("group", job.group.as_deref().map(output::plain)),
        ("unique key", job.unique_key.as_deref().map(output::plain)),
        ("tags", (!job.tags.is_empty()).then(|| output::plain(&job.tags.join(", ")))),
        ("last attempt at", job.last_attempt_at.map(|at| at.to_string())),
        ("finished at", job.finished_at.map(|at| at.to_string())),
        (
            "last error",
            job.last_error.as_ref().map(|e| output::plain(&format!("{}: {}", e.class, e.message))),
        ),
        ("progress", job.progress.as_ref().map(progress)),
        ("checkpoint", job.checkpoint.as_ref().map(|json| output::plain(json.get()))),
        ("payload", job.payload.as_ref().map(|json| output::plain(json.get()))),
        ("result", job.result.as_ref().map(|json| output::plain(json.get()))),
    ];
    facts.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    for (name, value) in facts {
        output::line(format!("{name:<16}{value}"))?;
    }
    job.attempts.iter().try_for_each(print_attempt)
}

/// Returns a time as the flags take it.
fn span(ms: u64) -> String {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let whole = units.iter().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{ms}ms"), |(name, unit)| format!("{}{name}", ms / unit))
}

fn progress(progress: &dutiful::Progress) -> String {
    let note = output::plain(progress.note.as_deref().unwrap_or_default());
    format!("{} % {note}", progress.percent)
}

fn print_attempt(attempt: &AttemptInfo) -> Result<(), Failure> {
    let worker = attempt.worker_name.as_deref().unwrap_or("an unknown worker");
    let outcome = serde_json::to_value(attempt.outcome).unwrap_or_default();
    let error = attempt.error.as_ref().map(|e| match &e.class {
        class if outcome.as_str() == Some(class.as_str()) => format!(": {}", e.message),
        class => format!(": {class}: {}", e.message),
    });
    output::line(format!(
        "attempt {:<8}{} on {}, {}{}",
        attempt.number,
        attempt.started_at,
        output::plain(worker),
        outcome.as_str().unwrap_or_default(),
        output::plain(&error.unwrap_or_default()),
    ))?;
    for line in &attempt.log {
        output::line(format!("  {} {}", line.at, output::plain(&line.text)))?;
    }
    Ok(())
}
