//! Changes by id that several commands share: done for each job on its own, answered for each.

use std::process::ExitCode;

use dutiful::{Change, Client, JobId, State, Verb};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::deed;
use crate::failure::{Answer, Failure};
use crate::output;

/// Most ids in one call to the store.
const CHUNK: usize = 500;

#[derive(Serialize)]
struct Report<'a> {
    done: usize,
    requested: usize,
    refused: usize,
    results: Vec<One<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    id: JobId,
    #[serde(flatten)]
    change: &'a Change,
}

/// Changes these jobs and tells what became of each; exit 1 when one could not be changed.
pub(crate) async fn run(client: &Client, verb: Verb, ids: Vec<JobId>, json: bool) -> Answer {
    let bar = bar(ids.len() as u64);
    let changing = async {
        let mut changes = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            changes.extend(client.change_many(verb, chunk.to_vec()).await?);
            bar.inc(chunk.len() as u64);
        }
        Ok(changes)
    };
    let changes = deed::changed(client, verb, &ids, changing).await?;
    bar.finish_and_clear();
    if json {
        print_json(&changes)?
    } else {
        print_lines(verb, &changes)?
    }
    let refused: Vec<_> = changes.iter().filter(|(_, change)| !is_fine(change)).collect();
    match refused.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        [(id, change)] if changes.len() == 1 => {
            Err(Failure::failed(format!("{} job {id}: {}", infinitive(verb), reason(verb, change))))
        }
        [(id, change), ..] => Err(Failure::failed(format!(
            "{} {} of {} jobs; the first is {id}: {}",
            infinitive(verb),
            refused.len(),
            changes.len(),
            reason(verb, change)
        ))),
    }
}

/// Returns a progress bar that shows itself only for long work on a terminal.
fn bar(total: u64) -> ProgressBar {
    if total <= CHUNK as u64 { ProgressBar::hidden() } else { ProgressBar::new(total) }
}

fn print_json(changes: &[(JobId, Change)]) -> Result<(), Failure> {
    let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|(_, c)| wanted(c)).count();
    output::json(&Report {
        done: count(|change| matches!(change, Change::Done)),
        requested: count(|change| matches!(change, Change::Requested)),
        refused: count(|change| !is_fine(change)),
        results: changes.iter().map(|(id, change)| One { id: *id, change }).collect(),
    })
}

fn print_lines(verb: Verb, changes: &[(JobId, Change)]) -> Result<(), Failure> {
    if changes.is_empty() {
        return output::line("no such jobs");
    }
    for (id, change) in changes {
        match change {
            Change::Done => output::line(format!("{} {id}", participle(verb)))?,
            Change::Requested => {
                output::line(format!("asked the worker of {id} to stop it"))?;
            }
            // A single refusal is the sentence on stderr already.
            _ if changes.len() == 1 => {}
            refused => output::line(format!("left {id} as it is: {}", reason(verb, refused)))?,
        }
    }
    Ok(())
}

pub(crate) fn is_fine(change: &Change) -> bool {
    matches!(change, Change::Done | Change::Requested)
}

pub(crate) fn reason(verb: Verb, change: &Change) -> String {
    match change {
        Change::NotFound => {
            "the store does not know it (deleted, pruned, or another store)".to_owned()
        }
        Change::Refused { state: state @ State::Active } => match verb {
            Verb::Delete => format!("it is {state}; cancel it first"),
            _ => format!("it is {state}; wait for its end, or cancel it first"),
        },
        Change::Refused { state } => match verb {
            Verb::Cancel => format!("it is {state} and has ended already"),
            Verb::Retry => format!("it is {state}, and only dead, failed or cancelled jobs are"),
            Verb::Discard => format!("it is {state}, and only dead jobs are"),
            _ => format!("it is {state}, in which this is not possible"),
        },
        Change::Conflict { holder } => format!(
            "its unique key is taken by the live job {holder}; wait for that one or cancel it"
        ),
        Change::Done | Change::Requested => "it was changed".to_owned(),
    }
}

pub(crate) fn infinitive(verb: Verb) -> &'static str {
    match verb {
        Verb::Cancel => "cancel",
        Verb::Retry => "retry",
        Verb::Discard => "discard",
        Verb::Delete => "delete",
        Verb::Reschedule(_) => "reschedule",
    }
}

pub(crate) fn participle(verb: Verb) -> &'static str {
    match verb {
        Verb::Cancel => "cancelled",
        Verb::Retry => "retried",
        Verb::Discard => "discarded",
        Verb::Delete => "deleted",
        Verb::Reschedule(_) => "rescheduled",
    }
}
