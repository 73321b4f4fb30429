//! The chores of whoever leads: promote, rescue, prune, fold; and the leadership itself.

use std::time::Duration;

use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::wire::Line;
use crate::clock::micros;
use crate::id::{Fence, Name, WorkerId};
use crate::store::tally::BUCKETS;
use crate::store::{Leadership, Promoted, RescueRequest, Rescued, Retention};

/// No leader's term lasts longer without being renewed: a later end is of a clock that went back.
const TTL_MAX: Duration = Duration::from_secs(60);
/// No lease lasts longer without being renewed.
const LEASE_MAX: Duration = Duration::from_secs(25 * 60 * 60);
/// Most jobs moved by one promotion, or taken back by one rescue.
const ROWS_MAX: usize = 100_000;
/// Most jobs, and remembered effects, deleted by one prune.
const PRUNE_ROWS: i32 = 1000;
/// Most rows of the tally folded at once.
const FOLD_ROWS: i32 = 5000;

impl Db {
    pub(super) async fn lead(
        &self,
        worker: WorkerId,
        ttl: Duration,
    ) -> Result<Leadership, Trouble> {
        let (ttl, beyond) = (micros(ttl), micros(ttl.max(TTL_MAX)));
        let now = self.now();
        let params: [&(dyn ToSql + Sync); 4] = [&worker.0, &ttl, &beyond, &now];
        let rows = self.query(Line::Upkeep, "lead", "take", &params).await?;
        let row = rows.first().ok_or(Trouble::Mistake("nobody leads after a candidate asked"))?;
        Ok(Leadership { leader: WorkerId(row.try_get(0)?), term: row.try_get(1)? })
    }

    pub(super) async fn abdicate(&self, worker: WorkerId, term: i64) -> Result<(), Trouble> {
        self.query(Line::Upkeep, "abdicate", "end", &[&worker.0, &term]).await?;
        Ok(())
    }

    pub(super) async fn promote(&self, term: i64, at_most: usize) -> Result<Promoted, Trouble> {
        let at_most = at_most.clamp(1, ROWS_MAX) as i32;
        let now = self.now();
        let rows = self.query(Line::Upkeep, "promote", "due", &[&term, &at_most, &now]).await?;
        let row = rows.first().ok_or(Trouble::Mistake("a promotion said nothing"))?;
        let (moved, next): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        if moved > 0 {
            self.ring();
        }
        let next = next.map(|us| Duration::from_micros(us.max(0) as u64));
        Ok(Promoted { moved: moved.max(0) as usize, next })
    }

    /// The patience of a request is for stores whose owner may be unable to write while the rescuer
    /// is not: here both reach the same server, or the owner's lease is not its own any more.
    pub(super) async fn rescue(
        &self,
        term: i64,
        ask: RescueRequest,
    ) -> Result<Vec<Rescued>, Trouble> {
        let (crashes_max, at_most) = (i64::from(ask.crashes_max), ask.limit.min(ROWS_MAX) as i32);
        let (beyond, now) = (micros(LEASE_MAX), self.now());
        let params: [&(dyn ToSql + Sync); 5] = [&term, &crashes_max, &at_most, &beyond, &now];
        let rows = self.query(Line::Upkeep, "rescue", "stalled", &params).await?;
        let mut rescued = Vec::with_capacity(rows.len());
        for row in &rows {
            rescued.push(Rescued {
                fence: Fence {
                    id: row.try_get(0)?,
                    attempt: row.try_get::<_, i32>(1)?.max(0) as u32,
                    nonce: row.try_get(2)?,
                },
                queue: Name::stored(row.try_get(3)?),
                job_type: Name::stored(row.try_get(4)?),
                crashes: u32::try_from(row.try_get::<_, i64>(5)?).unwrap_or(u32::MAX),
                dead: row.try_get(6)?,
            });
        }
        if rescued.iter().any(|one| !one.dead) {
            self.ring();
        }
        Ok(rescued)
    }

    /// Rows first, then days: dropping one locks a table, so it is a transaction of its own.
    pub(super) async fn prune(&self, term: i64, keep: Retention) -> Result<usize, Trouble> {
        let (done, dead) = (micros(keep.completed), micros(keep.dead));
        let now = self.now();
        let params: [&(dyn ToSql + Sync); 5] = [&term, &done, &dead, &PRUNE_ROWS, &now];
        let rows = self.query(Line::Upkeep, "prune", "rows", &params).await?;
        let mut gone: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        let rows = self.query(Line::Upkeep, "prune", "days", &[&term, &done, &now]).await?;
        gone += rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
        Ok(gone.max(0) as usize)
    }

    pub(super) async fn fold(&self, term: i64) -> Result<usize, Trouble> {
        let buckets = BUCKETS as i32;
        let rows = self.query(Line::Upkeep, "fold", "rows", &[&term, &buckets, &FOLD_ROWS]).await?;
        let folded: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(folded.max(0) as usize)
    }
}
