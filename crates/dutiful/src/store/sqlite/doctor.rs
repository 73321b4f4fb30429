//! Looks at a store's health: its settings, its place, its contents, and who works on it.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::disk;
use super::errors::Trouble;
use super::operate::{self, SILENT};
use super::statements::prepare;
use super::writer::lock;
use super::{SqliteStore, migrate, open};
use crate::clock::{BootTime, Timestamp};
use crate::error::StoreError;
use crate::inspect::{Finding, Verdict, WorkerInfo, WorkerState};
use crate::store::connect::apart;
use crate::store::{Facts, Reply};

/// A stored time may be ahead of the clock by this much.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// A lease that expired this long ago should have been rescued.
const STALLED_MAX: Duration = Duration::from_secs(60);

pub(super) fn ok(check: &'static str, value: String) -> Finding {
    Finding { check, value, verdict: Verdict::Ok, advice: None }
}

pub(super) fn warning(check: &'static str, value: String, advice: &str) -> Finding {
    Finding { check, value, verdict: Verdict::Warning, advice: Some(advice.into()) }
}

pub(super) fn bad(check: &'static str, value: String, advice: &str) -> Finding {
    Finding { verdict: Verdict::Bad, ..warning(check, value, advice) }
}

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
    found.push(schema(conn)?);
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
    found.push(presence(&workers));
    found.push(leader(conn, now, &workers)?);
    found.push(stalled(conn, now, &workers)?);
    found.push(types(conn, now, &workers)?);
    found.push(queues(conn, now, &workers)?);
    found.push(integrity(conn, subject.full));
    if subject.full {
        found.push(places(conn)?);
    }
    Ok(found)
}

fn schema(conn: &Connection) -> Result<Finding, Trouble> {
    let (version, newest) = (migrate::version(conn)?, migrate::NEWEST);
    let value = format!("version {version}");
    if version == newest {
        return Ok(ok("schema", value));
    }
    let advice = format!("bring it to version {newest} with `dutiful migrate`");
    Ok(bad("schema", value, &advice))
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
    let ahead = newest.map_or(Duration::ZERO, |us| Timestamp::from_us(us).since(now));
    if ahead <= AHEAD_MAX {
        return Ok(ok("clock", now.to_string()));
    }
    let value = format!("{now}, and times {} s ahead of it are stored", ahead.as_secs());
    let advice = "set this machine's clock by NTP: it went back, or another machine's is ahead";
    Ok(warning("clock", value, advice))
}

fn presence(workers: &[WorkerInfo]) -> Finding {
    let silent = workers.iter().filter(|one| one.state == WorkerState::Silent);
    let (count, leases) = silent.fold((0, 0), |(n, leases), one| (n + 1, leases + one.running));
    let value = format!("{} alive, {count} silent with {leases} leases", alive(workers));
    match (count, leases) {
        (_, 1..) => {
            let advice = "their jobs are rescued once their leases end and another worker runs; \
                          look whether those processes hang";
            warning("workers", value, advice)
        }
        (1.., 0) => warning("workers", value, "they ended without a word; find out why"),
        _ => ok("workers", format!("{} alive", alive(workers))),
    }
}

fn alive(workers: &[WorkerInfo]) -> usize {
    workers.iter().filter(|one| one.state == WorkerState::Alive).count()
}

fn leader(conn: &Connection, now: Timestamp, workers: &[WorkerInfo]) -> Result<Finding, Trouble> {
    let leads: u64 =
        prepare(conn, "stats", "leader")?.query_row(params![now.us()], |row| row.get(0))?;
    let alive = alive(workers);
    Ok(match (leads, alive) {
        (1.., _) => ok("leader", "one leads".into()),
        (0, 0) => ok("leader", "none, and no worker runs".into()),
        _ => {
            let value = format!("none, though {alive} workers run");
            let advice = "look again in half a minute; if none leads then, restart a worker: \
                          scheduled, failed and stalled jobs wait for a leader";
            warning("leader", value, advice)
        }
    })
}

fn stalled(conn: &Connection, now: Timestamp, workers: &[WorkerInfo]) -> Result<Finding, Trouble> {
    let before = now.minus(STALLED_MAX).us();
    let (count, oldest): (u64, i64) = prepare(conn, "doctor", "stalled")?
        .query_row(params![before], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if count == 0 {
        return Ok(ok("stalled", "none waits for its rescue".into()));
    }
    let age = now.since(Timestamp::from_us(oldest)).as_secs();
    let value = format!("{count} wait for their rescue, one for {age} s");
    Ok(if alive(workers) == 0 {
        warning("stalled", value, "start a worker: only a running one rescues")
    } else {
        bad("stalled", value, "workers run and do not rescue: restart them and look at their logs")
    })
}

fn types(conn: &Connection, now: Timestamp, workers: &[WorkerInfo]) -> Result<Finding, Trouble> {
    let mut foreign = prepare(conn, "stats", "foreign")?;
    let names = foreign.query_map(params![now.minus(SILENT).us()], |row| row.get(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    if names.is_empty() {
        let served = alive(workers) > 0;
        let value =
            if served { "all that wait are served" } else { "none is due, and no worker runs" };
        return Ok(ok("types", value.into()));
    }
    let value = format!("nobody serves {}, and jobs of it wait", names.join(", "));
    Ok(warning("types", value, "start a worker with handlers for these types"))
}

/// A worker may know a type and not serve the queue that its jobs are in.
fn queues(conn: &Connection, now: Timestamp, workers: &[WorkerInfo]) -> Result<Finding, Trouble> {
    if alive(workers) == 0 {
        return Ok(ok("queues", "no worker runs".into()));
    }
    let mut unserved = prepare(conn, "doctor", "unserved")?;
    let names = unserved.query_map(params![now.minus(SILENT).us()], |row| row.get(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Ok(ok("queues", "all in which jobs wait are served".into()));
    }
    let value = format!("nobody serves {}, and jobs wait there", names.join(", "));
    let advice = "let a worker serve these queues, or enqueue into one that is served";
    Ok(warning("queues", value, advice))
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
    let (homeless, strays) = (count("homeless")?, count("strays")?);
    if (homeless, strays) == (0, 0) {
        return Ok(ok("places", "each job stands in one place".into()));
    }
    let value = format!("{homeless} jobs stand in no one place, {strays} places have no job");
    Ok(bad("places", value, "please report it, with a backup if you can share one"))
}
