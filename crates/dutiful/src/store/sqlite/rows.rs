//! Reads what stands in rows, whatever it is: a row that somebody damaged must not keep the others
//! from being claimed, rescued, listed and counted.

use std::borrow::Cow;

use rusqlite::Row;

use crate::id::{JobId, Name};
use crate::store::Failure;

/// Reads an id; a blob of another length cannot be one of ours.
pub(super) fn whole_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<JobId>> {
    let bytes = row.get_ref(column)?.as_blob().unwrap_or_default();
    let zeros = cfg!(bug = "damaged_id_is_zeros").then_some([0; 16]);
    Ok(bytes.try_into().ok().or(zeros).map(JobId::from_bytes))
}

/// Reads an id; what cannot be one of ours reads as zeros.
pub(super) fn job_id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    Ok(whole_id(row, column)?.unwrap_or(JobId::from_bytes([0; 16])))
}

/// Reads a text; what is no UTF-8 in it is replaced.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Cow<'r, str>> {
    Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes().unwrap_or_default()))
}

/// Reads a text that may be absent.
pub(super) fn some_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let bytes = row.get_ref(column)?.as_bytes_or_null().unwrap_or_default();
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// Reads a number of attempts or failures, clamped to what one can be.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    Ok(row.get::<_, i64>(column)?.clamp(0, i64::from(u32::MAX)) as u32)
}

/// Reads an error that may be absent: its class, and its message in the next column.
pub(super) fn failure(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Failure>> {
    let (class, message) = (some_text(row, column)?, some_text(row, column + 1)?);
    Ok(class.map(|class| Failure { class, message: message.unwrap_or_default() }))
}

/// Names seen lately, so that each is allocated once.
#[derive(Default)]
pub(super) struct Names(std::collections::HashSet<Name>);

impl Names {
    const KEPT_MAX: usize = 10_000;

    pub(super) fn get(&mut self, text: &str) -> Name {
        if let Some(name) = self.0.get(text) {
            return name.clone();
        }
        if self.0.len() >= Self::KEPT_MAX {
            self.0.clear();
        }
        let name = Name::stored(text);
        self.0.insert(name.clone());
        name
    }
}
