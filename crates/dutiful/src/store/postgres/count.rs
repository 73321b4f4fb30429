//! The numbers: queues and stats. Live places are counted, finished jobs come from the tally.

use std::time::Duration;

use super::Db;
use super::errors::Trouble;
use super::rows::{get, many};
use super::wire::Line;
use crate::clock::Timestamp;
use crate::inspect::{QueueInfo, Stats};
use crate::store::common::count::{self, Counted, Seen};
use crate::store::common::presence::SILENT;
use crate::store::common::totals::{self, Summed};
use crate::totals::{Spread, TypeTotals};

impl Db {
    pub(super) async fn queues(&self) -> Result<Vec<QueueInfo>, Trouble> {
        let rows = self.query(Line::Count, "queues", "all", &[&self.now()]).await?;
        let (mut all, mut now) = (Counted::default(), None);
        for row in &rows {
            let (what, queue): (i32, String) = (get(row, "what")?, get(row, "queue")?);
            let code = i64::from(get::<i32>(row, "code")?);
            // It stands beside what waits, whose age is asked for.
            now = get::<Option<Timestamp>>(row, "now")?.or(now);
            match what {
                1 => all.pending(queue, many(row, "n")?, get(row, "oldest")?),
                2 => all.scheduled(queue, code, many(row, "n")?, get(row, "oldest")?),
                3 => all.active(queue, many(row, "n")?),
                5 => all.dead(queue, many(row, "n")?),
                6 => all.event(queue, code, get(row, "n")?),
                _ => all.paused(queue),
            }
        }
        Ok(all.queues(now.unwrap_or(Timestamp::from_us(0))))
    }

    /// Returns what was counted by queue and type.
    pub(super) async fn totals(&self) -> Result<Vec<TypeTotals>, Trouble> {
        let rows = self.query(Line::Look, "totals", "all", &[]).await?;
        let mut all = Summed::default();
        for row in &rows {
            let folded = get(row, "folded")?;
            all.add(totals::Row {
                queue: get(row, "queue")?,
                job_type: get(row, "type")?,
                event: i64::from(get::<i16>(row, "event")?),
                n: get(row, "n")?,
                ran: spread(get(row, "ran")?, get(row, "ran_us")?, folded),
                waited: spread(get(row, "waited")?, get(row, "waited_us")?, folded),
                class: get(row, "class")?,
                folded,
            });
        }
        Ok(all.totals())
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

/// Reads how durations are spread: how often each bucket occurred, or the bucket of each.
fn spread(numbers: Option<Vec<i64>>, sum_us: Option<i64>, folded: bool) -> Option<Spread> {
    let sum = Duration::from_micros(sum_us.unwrap_or(0).max(0) as u64);
    let mut spread = Spread { sum, ..Spread::default() };
    for (at, number) in numbers?.into_iter().enumerate() {
        let (bucket, n) = if folded { (at, number) } else { (number.max(0) as usize, 1) };
        if let Some(bucket) = spread.buckets.get_mut(bucket) {
            *bucket += n.max(0) as u64;
        }
    }
    Some(spread)
}
