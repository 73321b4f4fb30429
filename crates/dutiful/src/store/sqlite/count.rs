//! The numbers: queues and stats. Live places are counted, finished jobs come from the tally.

use rusqlite::{Connection, Row, params};

use super::errors::Trouble;
use super::rows::{some_text, text};
use super::statements::prepare;
use super::tally::Histogram;
use crate::clock::Timestamp;
use crate::inspect::{QueueInfo, Stats};
use crate::store::common::count::{self, Counted, Seen};
use crate::store::common::presence::SILENT;
use crate::store::common::totals::{self, Summed};
use crate::totals::{Spread, TypeTotals};

pub(super) fn queues(conn: &Connection, now: Timestamp) -> Result<Vec<QueueInfo>, Trouble> {
    let mut all = Counted::default();
    each(conn, "pending", |queue, row| {
        let oldest = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_us);
        all.pending(queue, row.get(1)?, oldest);
        Ok(())
    })?;
    each(conn, "scheduled", |queue, row| {
        let soonest = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_us);
        all.scheduled(queue, row.get(1)?, row.get(2)?, soonest);
        Ok(())
    })?;
    each(conn, "active", |queue, row| {
        all.active(queue, row.get(1)?);
        Ok(())
    })?;
    each(conn, "dead", |queue, row| {
        all.dead(queue, row.get(1)?);
        Ok(())
    })?;
    each(conn, "tally", |queue, row| {
        all.event(queue, row.get(1)?, row.get(2)?);
        Ok(())
    })?;
    each(conn, "paused", |queue, _| {
        all.paused(queue);
        Ok(())
    })?;
    Ok(all.queues(now))
}

fn each(
    conn: &Connection,
    name: &'static str,
    mut add: impl FnMut(String, &Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), Trouble> {
    let mut statement = prepare(conn, "queues", name)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        add(text(row, 0)?.into_owned(), row)?;
    }
    Ok(())
}

/// Returns what was counted by queue and type.
pub(super) fn totals(conn: &Connection) -> Result<Vec<TypeTotals>, Trouble> {
    let mut all = Summed::default();
    let mut statement = prepare(conn, "totals", "all")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        all.add(totals::Row {
            queue: text(row, 0)?.into_owned(),
            job_type: text(row, 1)?.into_owned(),
            event: row.get(2)?,
            n: row.get(3)?,
            ran: spread(row, 4)?,
            waited: spread(row, 5)?,
            class: some_text(row, 6)?,
            folded: true,
        });
    }
    Ok(all.totals())
}

fn spread(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Spread>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    Ok(bytes.as_deref().and_then(Histogram::from_bytes).map(|histogram| histogram.spread()))
}

pub(super) fn stats(conn: &Connection, now: Timestamp) -> Result<Stats, Trouble> {
    let seen =
        Seen { foreign: foreign(conn, now)?, stalled: stalled(conn, now)?, led: led(conn, now)? };
    Ok(count::stats(queues(conn, now)?, &seen))
}

/// Returns types of which jobs wait, and that no worker alive serves.
pub(super) fn foreign(conn: &Connection, now: Timestamp) -> Result<Vec<String>, Trouble> {
    let mut foreign = prepare(conn, "stats", "foreign")?;
    let names =
        foreign.query_map(params![now.minus(SILENT).us()], |row| Ok(text(row, 0)?.into_owned()))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn stalled(conn: &Connection, now: Timestamp) -> Result<u64, Trouble> {
    Ok(prepare(conn, "stats", "stalled")?.query_row(params![now.us()], |row| row.get(0))?)
}

/// Says whether somebody leads.
pub(super) fn led(conn: &Connection, now: Timestamp) -> Result<bool, Trouble> {
    let leaders: u64 =
        prepare(conn, "stats", "leader")?.query_row(params![now.us()], |row| row.get(0))?;
    Ok(leaders > 0)
}
