//! Changes by id: cancel, retry, discard, reschedule, delete; clearing and pausing a queue. One
//! statement a batch: the functions in the schema lock the jobs and answer in the request's order.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::wire::Line;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{JobId, Name};
use crate::job::State;
use crate::store::Change;

/// Most jobs deleted by one clear: one transaction.
const CLEAR_MAX: usize = 1000;
/// Most jobs in one transaction of a change: locks are held until its end.
const CHANGE_MAX: usize = 1000;

impl Db {
    /// Cancels, retries, discards or deletes.
    pub(super) async fn change(
        &self,
        verb: &'static str,
        ids: &[JobId],
    ) -> Result<Vec<Change>, Trouble> {
        self.change_with(verb, ids, &[]).await
    }

    /// Gives waiting jobs another time.
    pub(super) async fn reschedule(
        &self,
        ids: &[JobId],
        at: Timestamp,
    ) -> Result<Vec<Change>, Trouble> {
        self.change_with("reschedule", ids, &[&at]).await
    }

    async fn change_with(
        &self,
        verb: &'static str,
        ids: &[JobId],
        more: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Change>, Trouble> {
        let mut changes = Vec::with_capacity(ids.len());
        for piece in ids.chunks(CHANGE_MAX) {
            let now = self.now();
            let mut params: Vec<&(dyn ToSql + Sync)> = vec![&piece, &now];
            params.extend_from_slice(more);
            let rows = self.query(Line::Look, verb, "all", &params).await?;
            if rows.len() != piece.len() {
                return Err(Trouble::Mistake("a change was not answered for each job"));
            }
            // A function answers row by row as it goes: in the order of the request.
            for row in &rows {
                changes.push(read(row)?);
            }
        }
        if matches!(verb, "retry" | "reschedule") && changes.contains(&Change::Done) {
            self.ring();
        }
        Ok(changes)
    }

    /// Deletes a piece of what waits in a queue; 0 when nothing does.
    pub(super) async fn clear(&self, queue: &Name, limit: usize) -> Result<usize, Trouble> {
        let most = limit.clamp(1, CLEAR_MAX) as i32;
        let rows = self.query(Line::Look, "clear", "piece", &[&queue.as_str(), &most]).await?;
        let gone: i32 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(gone.max(0) as usize)
    }

    /// Stops claims from a queue, or lets them go on; says whether that changed anything.
    pub(super) async fn pause(&self, queue: &Name, paused: bool) -> Result<bool, Trouble> {
        let now = self.now();
        let params: [&(dyn ToSql + Sync); 3] = [&queue.as_str(), &paused, &now];
        let changed = !self.query(Line::Look, "pause", "set", &params).await?.is_empty();
        if changed {
            self.ring();
        }
        Ok(changed)
    }
}

fn read(row: &Row) -> Result<Change, Trouble> {
    let (change, state, holder): (&str, Option<&str>, Option<JobId>) =
        (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let mistake = |text: String| Trouble::from(StoreError::Mistake(text));
    match (change, holder) {
        ("done", _) => Ok(Change::Done),
        ("requested", _) => Ok(Change::Requested),
        ("not_found", _) => Ok(Change::NotFound),
        ("conflict", Some(holder)) => Ok(Change::Conflict { holder }),
        ("refused", _) => {
            let state = state.unwrap_or_default().parse::<State>().map_err(mistake)?;
            Ok(Change::Refused { state })
        }
        (other, _) => Err(mistake(format!("\"{other}\" is not an answer to a change"))),
    }
}
