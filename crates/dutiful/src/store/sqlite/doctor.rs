//! Looks at a store's health: its settings, its place, its contents, and who works on it.

use std::path::PathBuf;

use rusqlite::{Connection, params};

use super::errors::Trouble;
use super::statements::prepare;
use super::writer::lock;
use super::{SqliteStore, migrate, open};
use super::{count, disk, operate};
use crate::clock::{BootTime, Timestamp};
use crate::error::StoreError;
use crate::inspect::{Finding, WorkerInfo};
use crate::store::common::health::{self, STALLED_MAX, bad, ok, warning};
use crate::store::common::presence::SILENT;
use crate::store::connect::apart;
use crate::store::{Facts, Reply};

/// What is known of a store before its file is asked.
struct Subject {
    path: Option<PathBuf>,
    facts: Facts,
    max_bytes: Option<i64>,
    full: bool,
}

/// Looks on a thread and connection of its own, so that a long look holds up no other reader.
pub(super) fn doctor(store: &SqliteStore, full: bool) -> Reply<'_, Vec<Finding>> {
    let subject = Subject {
        path: store.path.clone(),
        facts: store.facts.clone(),
        max_bytes: store.max_bytes,
        full,
    };
    // Asked first, so that a closed or forked store says so.
    let open = store.read(|_, now| Ok(now));
    let time = || lock(&store.time).now();
    Box::pin(async move {
        open.await?;
        let Some(path) = subject.path.clone() else {
            return store.read(move |conn, now| look(conn, now, &subject)).await;
        };
        if let Some(file) = &store.file {
            file.check()?;
        }
        let now = time();
        apart("dutiful-doctor", move || {
            let conn = open::reader(&path)?;
            look(&conn, now, &subject).map_err(StoreError::from)
        })
        .await
    })
}

fn look(conn: &Connection, now: Timestamp, subject: &Subject) -> Result<Vec<Finding>, Trouble> {
    let mut found = vec![ok("library", format!("SQLite {}", subject.facts.version))];
    found.push(health::schema(migrate::version(conn)?, migrate::NEWEST));
    found.push(durability(&subject.facts));
    match &subject.path {
        Some(path) => found.extend(disk::look(path)),
        None => found.push(disk::none()),
    }
    if let Some(max) = subject.max_bytes {
        found.push(disk::room(used(conn)?, max.max(0) as u64));
    }
    found.push(clock(conn, now)?);
    let workers = operate::workers(conn, now)?;
    found.push(health::presence(&workers));
    found.push(health::leader(count::led(conn, now)?, &workers));
    found.push(stalled(conn, now, &workers)?);
    found.push(health::types(&count::foreign(conn, now)?, &workers));
    found.push(queues(conn, now, &workers)?);
    found.push(integrity(conn, subject.full));
    if subject.full {
        found.push(places(conn)?);
    }
    Ok(found)
}

fn durability(facts: &Facts) -> Finding {
    let value = facts.durability.clone();
    if ["wal, synchronous=full", "wal, synchronous=extra"].contains(&value.as_str()) {
        return ok("durability", value);
    }
    let advice = "an acknowledged job may not survive a crash; keep jobs that matter in a file";
    warning("durability", value, advice)
}

fn used(conn: &Connection) -> Result<u64, Trouble> {
    let number = |pragma: &str| conn.query_row(pragma, [], |row| row.get::<_, u64>(0));
    let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
    Ok(pages * number("PRAGMA page_size")?)
}

fn clock(conn: &Connection, now: Timestamp) -> Result<Finding, Trouble> {
    let newest: Option<i64> = prepare(conn, "doctor", "newest")?.query_row([], |row| row.get(0))?;
    Ok(health::clock(newest.map(Timestamp::from_us), now))
}

fn stalled(conn: &Connection, now: Timestamp, workers: &[WorkerInfo]) -> Result<Finding, Trouble> {
    let before = now.minus(STALLED_MAX).us();
    let (count, oldest): (u64, i64) = prepare(conn, "doctor", "stalled")?
        .query_row(params![before], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(health::stalled(count, Timestamp::from_us(oldest), now, workers))
}

fn queues(conn: &Connection, now: Timestamp, workers: &[WorkerInfo]) -> Result<Finding, Trouble> {
    let mut unserved = prepare(conn, "doctor", "unserved")?;
    let names = unserved.query_map(params![now.minus(SILENT).us()], |row| row.get(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    Ok(health::queues(&names, workers))
}

/// A store in which something contradicts itself must still be told about, so errors are findings.
fn integrity(conn: &Connection, full: bool) -> Finding {
    let pragma = if full { "integrity_check" } else { "quick_check" };
    let begun = BootTime::now();
    let answer = conn.query_row(&format!("PRAGMA {pragma}(1)"), [], |row| row.get::<_, String>(0));
    let took = BootTime::now().since(begun).as_millis();
    let text = answer.unwrap_or_else(|error| error.to_string());
    if text == "ok" {
        return ok("integrity", format!("{pragma} found nothing in {took} ms"));
    }
    let advice = "stop all that uses it, keep a copy of the file, and restore the latest backup";
    bad("integrity", format!("{pragma}: {text}"), advice)
}

fn places(conn: &Connection) -> Result<Finding, Trouble> {
    let count = |name: &'static str| -> Result<u64, Trouble> {
        Ok(prepare(conn, "doctor", name)?.query_row([], |row| row.get(0))?)
    };
    Ok(health::places(count("homeless")?, count("strays")?))
}
