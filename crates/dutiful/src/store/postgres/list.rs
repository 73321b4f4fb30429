//! Lists jobs, newest first: walks the places that the filter names, a slice of ids at a time, and
//! examines a bounded number.
//!
//! A slice is one statement and the look at its jobs is another. A job that moved between them is
//! told where it stands at the second look, and is on the page if the filter wants it there.

use std::collections::HashMap;

use super::Db;
use super::errors::Trouble;
use super::rows::get;
use super::wire::Line;
use crate::id::JobId;
use crate::inspect::{Filter, Page};
use crate::job::State;
use crate::store::common::list::{self as wanted, Asked, Search};
use crate::store::common::stored::split_tags;

/// Ids in one statement, and in one of a search that may have to end soon.
const SLICE: usize = 1000;
const SLICE_HURRIED: usize = 250;

/// The next ids of a walk.
struct Slice {
    /// Each with whether its row is in the asked state.
    ids: Vec<(JobId, bool)>,
    /// Whether others follow.
    more: bool,
}

impl Db {
    pub(super) async fn list(&self, filter: &Filter) -> Result<Page, Trouble> {
        let limit = wanted::limit(filter);
        // Without a search the first slice is the page.
        let searches = wanted::asks_of_record(filter) || filter.error.is_some();
        let slice = if filter.patience.is_some() { SLICE_HURRIED } else { SLICE };
        let size = if searches { slice } else { limit.min(SLICE) };
        let mut page = Page { jobs: Vec::with_capacity(limit), next: None };
        let (mut before, mut search) = (wanted::before(filter), Search::of(filter));
        loop {
            let slice = self.slice(filter, before, size.min(search.left())).await?;
            let Some((last, _)) = slice.ids.last().copied() else { return Ok(page) };
            search.examined(slice.ids.len());
            if let Some(full) = self.fill(&mut page, limit, filter, &slice).await? {
                page.next = (full != last || slice.more).then_some(full);
                return Ok(page);
            }
            if !slice.more || search.is_over() {
                page.next = slice.more.then_some(last);
                return Ok(page);
            }
            before = last;
        }
    }

    async fn slice(&self, filter: &Filter, before: JobId, size: usize) -> Result<Slice, Trouble> {
        let asks_time = matches!(filter.state, Some(State::Active | State::Stalled));
        // One more than is examined tells whether others follow.
        let (at_most, now) = (size as i64 + 1, self.now());
        let from = wanted::places(filter);
        let rows = match asks_time {
            true => self.query(Line::Look, "list", from, &[&before, &at_most, &now]).await?,
            false => self.query(Line::Look, "list", from, &[&before, &at_most]).await?,
        };
        let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        let ids = rows.iter().take(size).map(read).collect::<Result<_, Trouble>>()?;
        Ok(Slice { ids, more: rows.len() > size })
    }

    /// Puts the jobs of a slice on the page; returns the one that filled it.
    async fn fill(
        &self,
        page: &mut Page,
        limit: usize,
        filter: &Filter,
        slice: &Slice,
    ) -> Result<Option<JobId>, Trouble> {
        let mut ids: Vec<_> = slice.ids.iter().filter(|(_, is)| *is).map(|(id, _)| *id).collect();
        if wanted::asks_of_record(filter) {
            self.keep_wanted(&mut ids, filter).await?;
        }
        // Whoever asks for an error may look at many for one.
        let at_once = if filter.error.is_some() { SLICE } else { limit };
        while !ids.is_empty() {
            let rest = ids.split_off(ids.len().min(at_once));
            for info in self.jobs(&ids, false).await? {
                if !wanted::fits(&info, filter) {
                    continue;
                }
                let id = info.id;
                page.jobs.push(info);
                if page.jobs.len() == limit {
                    return Ok(Some(id));
                }
            }
            ids = rest;
        }
        Ok(None)
    }

    /// Leaves those whose record is wanted. It spares the others the look at their places.
    async fn keep_wanted(&self, ids: &mut Vec<JobId>, filter: &Filter) -> Result<(), Trouble> {
        let rows = self.query(Line::Look, "list", "record", &[&*ids]).await?;
        let mut fits = HashMap::with_capacity(rows.len());
        for row in &rows {
            let asked = Asked {
                job_type: get(row, "type")?,
                queue: get(row, "queue")?,
                group: get(row, "group_key")?,
                tags: split_tags(get(row, "tags")?),
                correlation_id: get(row, "correlation_id")?,
                created_at: get(row, "created_at")?,
            };
            let id: JobId = get(row, "id")?;
            fits.insert(id, asked.fits(id, filter));
        }
        ids.retain(|id| fits.get(id).copied().unwrap_or(false));
        Ok(())
    }
}
