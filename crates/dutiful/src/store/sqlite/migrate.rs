//! The schema's versions, up and down, each in one transaction with the record of its version.

use rusqlite::{Connection, OptionalExtension, params};

use super::errors::Trouble;
use crate::error::StoreError;
use crate::store::Migrated;

/// (up, down) of version 1, 2, …
const VERSIONS: &[(&str, &str)] = &[
    (include_str!("migrations/0001_up.sql"), include_str!("migrations/0001_down.sql")),
    (include_str!("migrations/0002_up.sql"), include_str!("migrations/0002_down.sql")),
    (include_str!("migrations/0003_up.sql"), include_str!("migrations/0003_down.sql")),
];

/// The newest version that this program knows.
pub(super) const NEWEST: i64 = VERSIONS.len() as i64;

/// Brings the schema to `target` (`None`: up to the newest). Concurrent starters wait for each
/// other at BEGIN IMMEDIATE, and the second finds nothing left to do.
pub(super) fn migrate(conn: &Connection, target: Option<i64>) -> Result<Migrated, Trouble> {
    if plan(conn, target)?.is_none() {
        return within(conn, target);
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let moved = within(conn, target);
    conn.execute_batch(if moved.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    moved
}

/// The same within a transaction that has begun and is the caller's to end.
pub(super) fn within(conn: &Connection, target: Option<i64>) -> Result<Migrated, Trouble> {
    let Some(Migrated { from, to }) = plan(conn, target)? else {
        let here = version(conn)?;
        return Ok(Migrated { from: here, to: here });
    };
    step_all(conn, from, to)?;
    Ok(Migrated { from, to })
}

/// Returns what is to be done, `None` when that is nothing.
fn plan(conn: &Connection, target: Option<i64>) -> Result<Option<Migrated>, Trouble> {
    let from = version(conn)?;
    if from > NEWEST {
        return Err(StoreError::Newer { found: from, known: NEWEST }.into());
    }
    let to = target.unwrap_or(NEWEST);
    if !(0..=NEWEST).contains(&to) {
        let text = format!("there is no schema version {to}; this program knows 0 to {NEWEST}");
        return Err(StoreError::ReadOnly(text).into());
    }
    Ok((from != to).then_some(Migrated { from, to }))
}

fn step_all(conn: &Connection, from: i64, to: i64) -> Result<(), Trouble> {
    for next in from..to {
        conn.execute_batch(VERSIONS[next as usize].0)?;
    }
    for last in (to..from).rev() {
        conn.execute_batch(VERSIONS[last as usize].1)?;
    }
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS dutiful_schema (version INTEGER NOT NULL) STRICT;
         DELETE FROM dutiful_schema;",
    )?;
    conn.execute("INSERT INTO dutiful_schema (version) VALUES (?1)", params![to])?;
    Ok(())
}

/// Returns the version of the schema in this file, 0 without one.
pub(super) fn version(conn: &Connection) -> Result<i64, Trouble> {
    let known = conn
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'dutiful_schema'", [], |_| Ok(()))
        .optional()?;
    if known.is_none() {
        return Ok(0);
    }
    let version =
        conn.query_row("SELECT version FROM dutiful_schema", [], |row| row.get(0)).optional()?;
    Ok(version.unwrap_or(0))
}
