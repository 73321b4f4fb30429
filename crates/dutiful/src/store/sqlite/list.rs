//! Lists jobs, newest first: walks the places that the filter names, and examines a bounded number.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::enqueue::split_tags;
use super::errors::Trouble;
use super::look::look;
use super::rows::{some_text, whole_id};
use super::statements::prepare;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::inspect::{EXAMINED_MAX, Filter, JobInfo, PAGE_MAX, Page};
use crate::job::State;

/// Jobs on a page when nobody says how many.
const PAGE_DEFAULT: usize = 50;

pub(super) fn list(conn: &Connection, filter: &Filter, now: Timestamp) -> Result<Page, Trouble> {
    let limit = filter.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let from = filter.state.map_or(if filter.live { "live" } else { "any" }, State::as_str);
    let before = filter.before.unwrap_or(JobId::from_bytes([0xFF; 16]));
    let mut ids = prepare(conn, "list", from)?;
    // Statements that do not ask the time have one parameter.
    let asks_time = ids.parameter_count() == 2;
    ids.raw_bind_parameter(1, before)?;
    if asks_time {
        ids.raw_bind_parameter(2, now.us())?;
    }
    let mut rows = ids.raw_query();
    let mut record = RecordFilter::of(conn, filter)?;
    let (mut page, mut examined) = (Page { jobs: Vec::new(), next: None }, 0);
    while let Some(row) = rows.next()? {
        let Some(id) = whole_id(row, 0)? else { continue };
        examined += 1;
        if row.get::<_, bool>(1)?
            && record.fits(id)?
            && let Some(info) = look(conn, id, now, false)?
            && fits(&info, filter)
        {
            page.jobs.push(info);
        }
        if page.jobs.len() == limit || examined == EXAMINED_MAX {
            page.next = rows.next()?.map(|_| id);
            break;
        }
    }
    Ok(page)
}

/// The part of a filter that the record alone decides. It spares most jobs of a long search the
/// look at their places.
struct RecordFilter<'a> {
    filter: &'a Filter,
    /// `None` when the filter asks nothing of the record.
    record: Option<CachedStatement<'a>>,
}

impl<'a> RecordFilter<'a> {
    fn of(conn: &'a Connection, filter: &'a Filter) -> Result<Self, Trouble> {
        let asks = filter.queue.is_some()
            || filter.job_type.is_some()
            || filter.group.is_some()
            || filter.tag.is_some()
            || filter.correlation_id.is_some()
            || filter.since.is_some()
            || filter.until.is_some();
        let record = asks.then(|| prepare(conn, "list", "record")).transpose()?;
        Ok(Self { filter, record })
    }

    fn fits(&mut self, id: JobId) -> Result<bool, Trouble> {
        let (Some(record), filter) = (&mut self.record, self.filter) else { return Ok(true) };
        let fits = record.query_row(params![id], |row| {
            let is = |column, asked: Option<&str>| -> rusqlite::Result<bool> {
                let Some(asked) = asked else { return Ok(true) };
                Ok(some_text(row, column)?.is_some_and(|text| text == asked))
            };
            let created_at = Timestamp::from_us(row.get(5)?);
            Ok(is(0, filter.job_type.as_ref().map(|name| name.as_str()))?
                && is(1, filter.queue.as_ref().map(|name| name.as_str()))?
                && is(2, filter.group.as_deref())?
                && has_tag(some_text(row, 3)?, filter.tag.as_deref())
                && belongs(some_text(row, 4)?, id, filter.correlation_id.as_deref())
                && filter.since.is_none_or(|since| created_at >= since)
                && filter.until.is_none_or(|until| created_at < until))
        });
        Ok(fits.optional()?.unwrap_or(false))
    }
}

fn has_tag(tags: Option<String>, asked: Option<&str>) -> bool {
    asked.is_none_or(|asked| split_tags(tags).iter().any(|tag| tag == asked))
}

/// A job that nobody gave a correlation id has its own id as one.
fn belongs(given: Option<String>, id: JobId, asked: Option<&str>) -> bool {
    match (given, asked) {
        (_, None) => true,
        (Some(given), Some(asked)) => given == asked,
        (None, Some(asked)) => id.to_string() == asked,
    }
}

/// The part of a filter that only the job's place decides.
fn fits(info: &JobInfo, filter: &Filter) -> bool {
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
