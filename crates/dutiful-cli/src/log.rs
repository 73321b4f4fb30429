//! What `dutiful work` tells people on stderr while it runs: failures and trouble, one line each.

use dutiful::{Event, Observer};

use crate::output;

/// Writes a line for what a person may have to look at; success is silent.
pub(crate) struct Log;

impl Observer for Log {
    fn event(&self, event: &Event<'_>) {
        if let Some(line) = line(event) {
            output::note(output::plain(&line));
        }
    }
}

fn line(event: &Event<'_>) -> Option<String> {
    let name = |run: &dutiful::Run<'_>| {
        format!("{} job {} (attempt {})", run.job_type, run.fence.id, run.fence.attempt)
    };
    Some(match event {
        Event::Failed { run, failure, retry_in, .. } => format!(
            "{} failed, again in {:.1} s: {}: {}",
            name(run),
            retry_in.as_secs_f64(),
            failure.class,
            failure.message
        ),
        Event::Dead { run, failure, .. } => {
            format!("{} is dead: {}: {}", name(run), failure.class, failure.message)
        }
        Event::LeaseLost { run } => format!("{} lost its lease and was stopped", name(run)),
        Event::Rescued { run, dead: true, .. } => {
            format!("{} crashed too many workers and is dead", name(run))
        }
        Event::Rescued { run, .. } => format!("{} stalled and was put back", name(run)),
        Event::SelfFenced { leases } => {
            format!(
                "could not renew leases in time; stopped {leases} jobs, which others may run now"
            )
        }
        Event::Overdue { run, .. } => format!("{} does not end after its timeout", name(run)),
        Event::StoreTrouble { verb, error } => format!("{verb} will be tried again: {error}"),
        _ => return None,
    })
}
