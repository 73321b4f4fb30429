//! Reads the tables of an SQLite file in one snapshot.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};

use super::{FinalState, Logged, Standing, statement};

/// How long the connection waits for a lock before it gives up.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const SQL: &str = include_str!("../sql/final_state_sqlite.sql");

/// Opens a connection that can only read.
///
/// # Errors
/// What SQLite says.
pub fn open(file: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.busy_timeout(LOCK_WAIT)?;
    Ok(conn)
}

pub(super) fn number(conn: &Connection, name: &str, pid: Option<u32>) -> rusqlite::Result<i64> {
    let mut statement = conn.prepare_cached(statement(SQL, name))?;
    match pid {
        Some(pid) => statement.query_row([pid], |row| row.get(0)),
        None => statement.query_row([], |row| row.get(0)),
    }
}

pub(super) fn read(conn: &mut Connection) -> rusqlite::Result<FinalState> {
    let tx = conn.transaction()?;
    let mut state = FinalState::default();
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
    let integrity = statement(SQL, "integrity");
    state.integrity = tx.query_row(integrity, [], |row| row.get(0))?;
    Ok(state)
}

fn each(
    conn: &Connection,
    name: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(statement(SQL, name))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    Ok(Standing {
        place: super::place(row.get(0)?),
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
