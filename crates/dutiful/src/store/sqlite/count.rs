//! The numbers: queues and stats. Live places are counted, finished jobs come from the tally.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::errors::Trouble;
use super::operate::SILENT;
use super::statements::prepare;
use super::tally::Event;
use crate::clock::Timestamp;
use crate::id::Name;
use crate::inspect::{Counts, QueueInfo, Stats, seconds};

#[derive(Default)]
struct Tallied {
    counts: Counts,
    oldest: Option<i64>,
    paused: bool,
}

pub(super) fn queues(conn: &Connection, now: Timestamp) -> Result<Vec<QueueInfo>, Trouble> {
    let mut all: BTreeMap<String, Tallied> = BTreeMap::new();
    each(conn, "pending", |queue, row| {
        let one = all.entry(queue).or_default();
        one.counts.pending += row.get::<_, u64>(1)?;
        one.oldest = row.get(2)?;
        Ok(())
    })?;
    each(conn, "scheduled", |queue, row| {
        let counts = &mut all.entry(queue).or_default().counts;
        let n: u64 = row.get(2)?;
        match row.get::<_, i64>(1)? {
            1 => counts.failed += n,
            3 => counts.pending += n,
            _ => counts.scheduled += n,
        }
        Ok(())
    })?;
    each(conn, "active", |queue, row| {
        all.entry(queue).or_default().counts.active += row.get::<_, u64>(1)?;
        Ok(())
    })?;
    each(conn, "dead", |queue, row| {
        all.entry(queue).or_default().counts.dead += row.get::<_, u64>(1)?;
        Ok(())
    })?;
    each(conn, "tally", |queue, row| {
        add_event(&mut all.entry(queue).or_default().counts, row.get(1)?, row.get(2)?);
        Ok(())
    })?;
    each(conn, "paused", |queue, _| {
        all.entry(queue).or_default().paused = true;
        Ok(())
    })?;
    let age =
        |since: Option<i64>| since.map_or(0.0, |us| seconds(now.since(Timestamp::from_us(us))));
    let info = |(queue, one): (String, Tallied)| QueueInfo {
        queue: Name::stored(&queue),
        counts: one.counts,
        oldest_pending_s: age(one.oldest),
        paused: one.paused,
    };
    Ok(all.into_iter().map(info).collect())
}

fn each(
    conn: &Connection,
    name: &'static str,
    mut add: impl FnMut(String, &Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), Trouble> {
    let mut statement = prepare(conn, "queues", name)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        add(row.get(0)?, row)?;
    }
    Ok(())
}

fn add_event(counts: &mut Counts, event: i64, n: i64) {
    let add = |field: &mut u64, n: i64| *field = field.saturating_add_signed(n);
    const COMPLETED: i64 = Event::Completed as i64;
    const COMPLETED_GONE: i64 = Event::CompletedGone as i64;
    const CANCELLED: i64 = Event::Cancelled as i64;
    const CANCELLED_GONE: i64 = Event::CancelledGone as i64;
    const STALLED: i64 = Event::Stalled as i64;
    match event {
        COMPLETED => add(&mut counts.completed, n),
        COMPLETED_GONE => add(&mut counts.completed, -n),
        CANCELLED => add(&mut counts.cancelled, n),
        CANCELLED_GONE => add(&mut counts.cancelled, -n),
        STALLED => add(&mut counts.stalled_total, n),
        _ => {}
    }
}

pub(super) fn stats(conn: &Connection, now: Timestamp) -> Result<Stats, Trouble> {
    let mut stats = Stats { queues: queues(conn, now)?, ..Stats::default() };
    for queue in &stats.queues {
        stats.totals.add(&queue.counts);
    }
    stats.warnings = warnings(conn, now, &stats)?;
    Ok(stats)
}

fn warnings(conn: &Connection, now: Timestamp, stats: &Stats) -> Result<Vec<String>, Trouble> {
    let mut warnings = Vec::new();
    let mut foreign = prepare(conn, "stats", "foreign")?;
    let mut rows = foreign.query(params![now.minus(SILENT).us()])?;
    while let Some(row) = rows.next()? {
        let job_type: String = row.get(0)?;
        warnings.push(format!("no running worker serves type {job_type}, and jobs of it wait"));
    }
    let stalled: u64 =
        prepare(conn, "stats", "stalled")?.query_row(params![now.us()], |row| row.get(0))?;
    if stalled > 0 {
        warnings.push(format!("{stalled} jobs are stalled and wait for their rescue"));
    }
    let leaders: u64 =
        prepare(conn, "stats", "leader")?.query_row(params![now.us()], |row| row.get(0))?;
    let waits = stats.totals.scheduled + stats.totals.failed + stalled;
    if leaders == 0 && waits > 0 {
        warnings.push("no worker leads, so scheduled, failed and stalled jobs wait".into());
    }
    for queue in &stats.queues {
        if queue.paused && queue.counts.pending > 0 {
            let n = queue.counts.pending;
            warnings.push(format!("queue {} is paused while {n} jobs wait in it", queue.queue));
        }
    }
    if stats.totals.dead > 0 {
        let n = stats.totals.dead;
        warnings.push(format!("{n} dead jobs wait for a person (dutiful dead list)"));
    }
    Ok(warnings)
}
