//! What a server keeps beside the jobs.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::errors::Trouble;
use super::rows::text;
use super::statements::prepare;
use super::writer::Txn;
use crate::clock::Timestamp;
use crate::store::{Keep, KeepWhen, KeptItem, KeptRange};

pub(super) fn keep(txn: &mut Txn<'_>, ask: &Keep) -> Result<Option<i64>, Trouble> {
    let (shelf, key, now) = (ask.shelf.as_str(), &ask.key, txn.now.us());
    let Some(value) = &ask.value else {
        let version = match ask.when {
            KeepWhen::Always => None,
            KeepWhen::Absent => return Ok(None),
            KeepWhen::Version(version) => Some(version),
        };
        let mut forget = prepare(txn.conn, "keep", "forget")?;
        return Ok(forget.query_row(params![shelf, key, version], |row| row.get(0)).optional()?);
    };
    let until = ask.bounded_ttl().map(|ttl| txn.now.plus(ttl).us());
    let (name, condition) = match ask.when {
        KeepWhen::Always => ("write", 0),
        KeepWhen::Absent => ("write", 1),
        KeepWhen::Version(version) => ("swap", version),
    };
    let mut write = prepare(txn.conn, "keep", name)?;
    let row = params![shelf, key, value, now, until, condition];
    Ok(write.query_row(row, |row| row.get(0)).optional()?)
}

pub(super) fn kept(
    conn: &Connection,
    range: &KeptRange,
    now: Timestamp,
) -> Result<Vec<KeptItem>, Trouble> {
    let mut look = prepare(conn, "kept", if range.newest_first { "last" } else { "first" })?;
    let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let ask = params![range.shelf.as_str(), range.from, range.end(), now.us(), limit];
    let rows = look.query_map(ask, |row| {
        Ok(KeptItem {
            key: text(row, 0)?.into_owned(),
            value: row.get(1)?,
            version: row.get(2)?,
            until: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_us),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
