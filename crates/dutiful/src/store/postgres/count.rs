//! The numbers: queues and stats. Live places are counted, finished jobs come from the tally.

use super::Db;
use super::errors::Trouble;
use super::rows::{get, many};
use super::wire::Line;
use crate::clock::Timestamp;
use crate::inspect::{QueueInfo, Stats};
use crate::store::common::count::{self, Counted, Seen};
use crate::store::common::presence::SILENT;

impl Db {
    pub(super) async fn queues(&self) -> Result<Vec<QueueInfo>, Trouble> {
        let rows = self.query(Line::Look, "queues", "all", &[&self.now()]).await?;
        let (mut all, mut now) = (Counted::default(), None);
        for row in &rows {
            let (what, queue): (i32, String) = (get(row, "what")?, get(row, "queue")?);
            let code = i64::from(get::<i32>(row, "code")?);
            // It stands beside what is pending, whose age is asked for.
            now = get::<Option<Timestamp>>(row, "now")?.or(now);
            match what {
                1 => all.pending(queue, many(row, "n")?, get(row, "oldest")?),
                2 => all.scheduled(queue, code, many(row, "n")?),
                3 => all.active(queue, many(row, "n")?),
                5 => all.dead(queue, many(row, "n")?),
                6 => all.event(queue, code, get(row, "n")?),
                _ => all.paused(queue),
            }
        }
        Ok(all.queues(now.unwrap_or(Timestamp::from_us(0))))
    }

    pub(super) async fn stats(&self) -> Result<Stats, Trouble> {
        let (queues, (seen, _)) = (self.queues().await?, self.seen().await?);
        let mut stats = count::stats(queues, &seen);
        stats.warnings.extend(self.server().await?.warnings());
        stats.warnings.extend(self.warnings());
        Ok(stats)
    }

    /// Looks at types that nobody serves, stalled leases and the leader; returns its time too.
    pub(super) async fn seen(&self) -> Result<(Seen, Timestamp), Trouble> {
        let silent = SILENT.as_secs() as i64;
        let rows = self.query(Line::Look, "stats", "seen", &[&self.now(), &silent]).await?;
        let row = rows.first().ok_or(Trouble::Mistake("a look without an answer"))?;
        let (foreign, led) = (get(row, "foreign_types")?, get(row, "led")?);
        Ok((Seen { foreign, stalled: many(row, "stalled")?, led }, get(row, "now")?))
    }
}
