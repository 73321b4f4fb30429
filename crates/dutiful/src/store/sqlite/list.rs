//! Lists jobs, newest first: walks the places that the filter names, and examines a bounded number.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::errors::Trouble;
use super::look::look;
use super::rows::{some_text, whole_id};
use super::statements::prepare;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::inspect::{Filter, Page};
use crate::store::common::list::{self as wanted, Asked, Search};
use crate::store::common::stored::split_tags;

pub(super) fn list(conn: &Connection, filter: &Filter, now: Timestamp) -> Result<Page, Trouble> {
    let limit = wanted::limit(filter);
    let mut ids = prepare(conn, "list", wanted::places(filter))?;
    // Statements that do not ask the time have one parameter.
    let asks_time = ids.parameter_count() == 2;
    ids.raw_bind_parameter(1, wanted::before(filter))?;
    if asks_time {
        ids.raw_bind_parameter(2, now.us())?;
    }
    let mut rows = ids.raw_query();
    let mut record = RecordFilter::of(conn, filter)?;
    let (mut page, mut search) = (Page { jobs: Vec::new(), next: None }, Search::of(filter));
    while let Some(row) = rows.next()? {
        let Some(id) = whole_id(row, 0)? else { continue };
        search.examined(1);
        if row.get::<_, bool>(1)?
            && record.fits(id)?
            && let Some(info) = look(conn, id, now, false)?
            && wanted::fits(&info, filter)
        {
            page.jobs.push(info);
        }
        if page.jobs.len() == limit || search.is_over() {
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
        let asks = wanted::asks_of_record(filter);
        let record = asks.then(|| prepare(conn, "list", "record")).transpose()?;
        Ok(Self { filter, record })
    }

    fn fits(&mut self, id: JobId) -> Result<bool, Trouble> {
        let (Some(record), filter) = (&mut self.record, self.filter) else { return Ok(true) };
        let asked = record.query_row(params![id], |row| {
            let tags = if filter.tag.is_some() { some_text(row, 3)? } else { None };
            Ok(Asked {
                job_type: some_text(row, 0)?,
                queue: some_text(row, 1)?,
                group: some_text(row, 2)?,
                tags: split_tags(tags),
                correlation_id: some_text(row, 4)?,
                created_at: Timestamp::from_us(row.get(5)?),
            })
        });
        Ok(asked.optional()?.is_some_and(|asked| asked.fits(id, filter)))
    }
}
