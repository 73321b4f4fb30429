//! The tables of the store as a fresh, read-only connection finds them: the judge's other witness.

mod postgres;
mod sqlite;

use std::collections::HashMap;
use std::path::PathBuf;

use crate::ledger::Id;

pub use self::postgres::Postgres;
pub(crate) use self::postgres::without_schema;
pub use self::sqlite::open;

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
    /// What a check of the whole says ("ok"): SQLite's own, or that the tables fit each other.
    pub integrity: String,
}

/// The tables of a store, read past the library.
pub enum Tables {
    /// In a file of SQLite.
    Sqlite(rusqlite::Connection),
    /// In a schema of Postgres.
    Postgres(Box<Postgres>),
}

impl Tables {
    /// Opens the store of `sqlite:FILE` or `postgres://…?schema=…` with a connection that can only
    /// read.
    ///
    /// # Errors
    /// What the store says, or that the judge cannot read such a store.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        if is_postgres(url) {
            return Ok(Self::Postgres(Box::new(Postgres::open(url)?)));
        }
        Ok(Self::Sqlite(sqlite::open(&file_of(url)?)?))
    }

    /// Returns one number from the store: `waiting`, `active`, or `leases_of` a process.
    ///
    /// # Errors
    /// What the store says.
    pub fn number(&self, name: &str, pid: Option<u32>) -> anyhow::Result<i64> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::number(conn, name, pid)?),
            Self::Postgres(postgres) => postgres.number(name, pid),
        }
    }

    /// Reads everything in one snapshot.
    ///
    /// # Errors
    /// What the store says, or that a value cannot be one of the library's.
    pub fn read(&mut self) -> anyhow::Result<FinalState> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::read(conn)?),
            Self::Postgres(postgres) => postgres.read(),
        }
    }
}

/// True for the URL of a Postgres database.
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Returns the file of `sqlite:FILE`.
///
/// # Errors
/// Any other store: it has no file of its own.
pub fn file_of(url: &str) -> anyhow::Result<PathBuf> {
    match url.strip_prefix("sqlite:") {
        Some(file) if !file.is_empty() && file != ":memory:" => Ok(file.into()),
        _ => anyhow::bail!("read the tables of this store: only sqlite:FILE has a file"),
    }
}

/// Returns the place with this number in the statement `places`.
fn place(number: i64) -> Place {
    match number {
        1 => Place::Ready,
        2 => Place::Scheduled,
        3 => Place::Lease,
        4 => Place::Done,
        _ => Place::Dead,
    }
}

/// Returns a named statement of a file; an unknown name is an empty statement, which answers
/// nothing.
pub(crate) fn statement<'f>(file: &'f str, name: &str) -> &'f str {
    let sections = file.split("-- :").skip(1);
    let named = sections.filter_map(|section| section.split_once('\n'));
    let is_it = |heading: &str| heading.split(' ').next() == Some(name);
    named.filter(|(heading, _)| is_it(heading)).map(|(_, sql)| sql).next().unwrap_or("")
}
