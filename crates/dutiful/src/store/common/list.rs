//! Which jobs a filter wants: first what the record decides, then what only the place does.

use std::time::{Duration, Instant};

use crate::clock::Timestamp;
use crate::id::JobId;
use crate::inspect::{EXAMINED_MAX, Filter, JobInfo, PAGE_MAX};
use crate::job::State;

/// Jobs on a page when nobody says how many.
const PAGE_DEFAULT: usize = 50;

/// Returns how many jobs the page of a filter has at most.
pub(in crate::store) fn limit(filter: &Filter) -> usize {
    filter.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
}

/// How long a search goes on: over so many rows, and for so long as whoever asks will wait.
pub(in crate::store) struct Search {
    begun: Instant,
    patience: Option<Duration>,
    examined: usize,
}

impl Search {
    pub(in crate::store) fn of(filter: &Filter) -> Self {
        Self { begun: Instant::now(), patience: filter.patience, examined: 0 }
    }

    /// Counts rows that were examined.
    pub(in crate::store) fn examined(&mut self, rows: usize) {
        self.examined += rows;
    }

    /// Returns how many more rows may be.
    pub(in crate::store) fn left(&self) -> usize {
        EXAMINED_MAX.saturating_sub(self.examined)
    }

    /// True when it has to end. The clock is looked at now and then only.
    pub(in crate::store) fn is_over(&self) -> bool {
        let is_late = |most| self.examined.is_multiple_of(50) && self.begun.elapsed() >= most;
        self.left() == 0 || self.patience.is_some_and(is_late)
    }
}

/// Returns the name of the statement in `list.sql` that walks the places of a filter.
pub(in crate::store) fn places(filter: &Filter) -> &'static str {
    filter.state.map_or(if filter.live { "live" } else { "any" }, State::as_str)
}

/// Returns the id below which a filter looks.
pub(in crate::store) fn before(filter: &Filter) -> JobId {
    filter.before.unwrap_or(JobId::from_bytes([0xFF; 16]))
}

/// True when a filter asks something that the record alone decides. Asking that first spares most
/// jobs of a long search the look at their places.
pub(in crate::store) fn asks_of_record(filter: &Filter) -> bool {
    filter.queue.is_some()
        || filter.job_type.is_some()
        || filter.group.is_some()
        || filter.tag.is_some()
        || filter.correlation_id.is_some()
        || filter.since.is_some()
        || filter.until.is_some()
}

/// The part of a record that a filter asks for.
pub(in crate::store) struct Asked {
    pub(in crate::store) job_type: Option<String>,
    pub(in crate::store) queue: Option<String>,
    pub(in crate::store) group: Option<String>,
    pub(in crate::store) tags: Vec<String>,
    pub(in crate::store) correlation_id: Option<String>,
    pub(in crate::store) created_at: Timestamp,
}

impl Asked {
    /// Says whether the record is one that the filter wants.
    pub(in crate::store) fn fits(&self, id: JobId, filter: &Filter) -> bool {
        let is = |has: &Option<String>, asked: Option<&str>| {
            asked.is_none_or(|asked| has.as_deref() == Some(asked))
        };
        is(&self.job_type, filter.job_type.as_ref().map(|name| name.as_str()))
            && is(&self.queue, filter.queue.as_ref().map(|name| name.as_str()))
            && is(&self.group, filter.group.as_deref())
            && filter.tag.as_ref().is_none_or(|asked| self.tags.contains(asked))
            && belongs(self.correlation_id.as_deref(), id, filter.correlation_id.as_deref())
            && filter.since.is_none_or(|since| self.created_at >= since)
            && filter.until.is_none_or(|until| self.created_at < until)
    }
}

/// A job that nobody gave a correlation id has its own id as one.
fn belongs(given: Option<&str>, id: JobId, asked: Option<&str>) -> bool {
    match (given, asked) {
        (_, None) => true,
        (Some(given), Some(asked)) => given == asked,
        (None, Some(asked)) => id.to_string() == asked,
    }
}

/// The part of a filter that only the job's place decides.
pub(in crate::store) fn fits(info: &JobInfo, filter: &Filter) -> bool {
    let ended = matches!(info.state, State::Completed | State::Cancelled | State::Dead);
    !(filter.live && ended)
        && filter.state.is_none_or(|state| state == info.state)
        && filter.error.as_ref().is_none_or(|text| failed_with(info, text))
}

fn failed_with(info: &JobInfo, text: &str) -> bool {
    let text = text.to_lowercase();
    info.last_error.as_ref().is_some_and(|error| {
        error.class.to_lowercase().contains(&text) || error.message.to_lowercase().contains(&text)
    })
}
