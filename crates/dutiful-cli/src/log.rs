//! What `dutiful work` tells people on stderr while it runs: failures and trouble, one line each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dutiful::{Context, Event, JobId, Observer, Run};

use crate::output;

/// Writes a line for what a person may have to look at; success is silent.
#[derive(Default)]
pub(crate) struct Log {
    /// The traces of the attempts under way, by job and attempt.
    traces: Mutex<HashMap<(JobId, u32), String>>,
}

impl Log {
    /// Takes note of the trace that an attempt is part of; called where its handler runs.
    pub(crate) fn begun<A>(&self, cx: &Context<A>) {
        let parent = dutiful::trace_parent();
        if let Some(trace) = parent.as_deref().and_then(|text| text.split('-').nth(1)) {
            self.traces().insert((cx.id(), cx.attempt()), trace.to_owned());
        }
    }

    fn traces(&self) -> MutexGuard<'_, HashMap<(JobId, u32), String>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the trace of the attempt that an event is about, and forgets it with its end.
    fn trace(&self, event: &Event<'_>) -> Option<String> {
        let key = |run: &Run<'_>| (run.fence.id, run.fence.attempt);
        match event {
            Event::Overdue { run, .. } => self.traces().get(&key(run)).cloned(),
            Event::Completed { run, .. }
            | Event::Failed { run, .. }
            | Event::Dead { run, .. }
            | Event::Snoozed { run, .. }
            | Event::Released { run }
            | Event::Cancelled { run }
            | Event::LeaseLost { run } => self.traces().remove(&key(run)),
            _ => None,
        }
    }
}

impl Observer for Log {
    fn event(&self, event: &Event<'_>) {
        let trace = self.trace(event);
        if let Some(line) = line(event, trace.as_deref()) {
            output::note(output::plain(&line));
        }
    }
}

fn line(event: &Event<'_>, trace: Option<&str>) -> Option<String> {
    let trace = trace.map(|trace| format!(", trace {trace}")).unwrap_or_default();
    let name = |run: &Run<'_>| {
        format!("{} job {} (attempt {}{trace})", run.job_type, run.fence.id, run.fence.attempt)
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
