//! The tables of the store as a fresh, read-only connection finds them: the judge's other witness.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};

use crate::ledger::Id;

/// How long the connection waits for a lock before it gives up.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Numbers of the tables.
pub mod code {
    /// `outcome` in done: completed.
    pub const COMPLETED: i64 = 1;
    /// `outcome` in the attempt log: failed.
    pub const FAILED: i64 = 2;
    /// `outcome` in the attempt log: snoozed.
    pub const SNOOZED: i64 = 4;
    /// `outcome` in the attempt log: given back by a worker that stopped.
    pub const RELEASED: i64 = 5;
    /// `outcome` in the attempt log: the lease expired.
    pub const STALLED: i64 = 6;
    /// `reason` in dead: crashed too many workers in a row.
    pub const QUARANTINED: i64 = 3;
    /// `event` in the tally: jobs stored.
    pub const TALLY_ENQUEUED: i64 = 0;
    /// `event` in the tally: jobs completed.
    pub const TALLY_COMPLETED: i64 = 1;
    /// `event` in the tally: attempts failed.
    pub const TALLY_FAILED: i64 = 2;
    /// `event` in the tally: leases rescued.
    pub const TALLY_STALLED: i64 = 7;
}

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// Due, waiting for a worker.
    Ready,
    /// Waiting for a time.
    Scheduled,
    /// Claimed.
    Lease,
    /// Ended; `detail` is the outcome.
    Done,
    /// Gave up; `detail` is the reason.
    Dead,
}

/// A row that says where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Which table.
    pub place: Place,
    /// The last attempt.
    pub attempt: u32,
    /// The nonce of its lease.
    pub nonce: i64,
    /// Its worker.
    pub worker: i64,
    /// Outcome or reason.
    pub detail: i64,
    /// When the attempt began.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// Failures that were charged.
    pub failures: u32,
}

/// A row of the attempt log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Logged {
    /// Its number.
    pub attempt: u32,
    /// Its worker.
    pub worker: i64,
    /// When it began.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// How, by [`code`].
    pub outcome: i64,
}

/// All that the store says about a job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// How many records it has (1, or something is very wrong).
    pub records: u32,
    /// Where it stands; more than one place is a violation.
    pub places: Vec<Standing>,
    /// Its earlier attempts, in order.
    pub log: Vec<Logged>,
}

/// All that the store says.
#[derive(Debug, Default)]
pub struct FinalState {
    /// About each job.
    pub jobs: HashMap<Id, Found>,
    /// The process of each worker.
    pub pids: HashMap<i64, u32>,
    /// The tally by event.
    pub tally: HashMap<i64, i64>,
    /// The number that the jobs counted up, if they did.
    pub counter: Option<i64>,
    /// What SQLite says about the file ("ok").
    pub integrity: String,
}

/// Returns the file of `sqlite:FILE`.
///
/// # Errors
/// Any other store: the judge cannot read it yet.
pub fn file_of(url: &str) -> anyhow::Result<PathBuf> {
    match url.strip_prefix("sqlite:") {
        Some(file) if !file.is_empty() && file != ":memory:" => Ok(file.into()),
        _ => anyhow::bail!("read the tables of \"{url}\": only sqlite:FILE is known here"),
    }
}

/// Opens a connection that can only read.
///
/// # Errors
/// What SQLite says.
pub fn open(file: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.busy_timeout(LOCK_WAIT)?;
    Ok(conn)
}

/// Returns one number from the store: `waiting`, `active`, or `leases_of` a process.
///
/// # Errors
/// What SQLite says.
pub fn number(conn: &Connection, name: &str, pid: Option<u32>) -> rusqlite::Result<i64> {
    let mut statement = conn.prepare_cached(statement(FINAL_STATE, name))?;
    match pid {
        Some(pid) => statement.query_row([pid], |row| row.get(0)),
        None => statement.query_row([], |row| row.get(0)),
    }
}

impl FinalState {
    /// Reads everything in one snapshot.
    ///
    /// # Errors
    /// What SQLite says, or that a value cannot be one of the library's.
    pub fn read(file: &Path) -> rusqlite::Result<Self> {
        let mut conn = open(file)?;
        let tx = conn.transaction()?;
        let mut state = Self::default();
        each(&tx, "jobs", |row| {
            state.jobs.entry(row.get(0)?).or_default().records += 1;
            Ok(())
        })?;
        each(&tx, "places", |row| {
            state.jobs.entry(row.get(1)?).or_default().places.push(standing(row)?);
            Ok(())
        })?;
        each(&tx, "attempts", |row| {
            state.jobs.entry(row.get(0)?).or_default().log.push(logged(row)?);
            Ok(())
        })?;
        each(&tx, "workers", |row| {
            state.pids.insert(row.get(0)?, row.get(1)?);
            Ok(())
        })?;
        each(&tx, "tally", |row| {
            state.tally.insert(row.get(0)?, row.get(1)?);
            Ok(())
        })?;
        if tx.table_exists(None, "trust_counter")? {
            state.counter = Some(number(&tx, "counter", None)?);
        }
        let integrity = statement(FINAL_STATE, "integrity");
        state.integrity = tx.query_row(integrity, [], |row| row.get(0))?;
        Ok(state)
    }
}

fn each(
    conn: &Connection,
    name: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(statement(FINAL_STATE, name))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let place = match row.get::<_, i64>(0)? {
        1 => Place::Ready,
        2 => Place::Scheduled,
        3 => Place::Lease,
        4 => Place::Done,
        _ => Place::Dead,
    };
    Ok(Standing {
        place,
        attempt: row.get(2)?,
        nonce: row.get(3)?,
        worker: row.get(4)?,
        detail: row.get(5)?,
        started_at: row.get(6)?,
        finished_at: row.get(7)?,
        failures: row.get(8)?,
    })
}

fn logged(row: &Row<'_>) -> rusqlite::Result<Logged> {
    Ok(Logged {
        attempt: row.get(1)?,
        worker: row.get(2)?,
        started_at: row.get(3)?,
        finished_at: row.get(4)?,
        outcome: row.get(5)?,
    })
}

/// What the judge and the driver read.
const FINAL_STATE: &str = include_str!("sql/final_state.sql");

/// Returns a named statement of a file; an unknown name is an empty statement, which SQLite
/// refuses.
pub(crate) fn statement<'f>(file: &'f str, name: &str) -> &'f str {
    let sections = file.split("-- :").skip(1);
    let named = sections.filter_map(|section| section.split_once('\n'));
    let is_it = |heading: &str| heading.split(' ').next() == Some(name);
    named.filter(|(heading, _)| is_it(heading)).map(|(_, sql)| sql).next().unwrap_or("")
}
