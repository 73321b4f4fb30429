//! Reads rows by the names of their columns: numbers in the widths in which the schema keeps them.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::errors::Trouble;
use crate::store::Failure;
use crate::store::common::look::{Logged, Standing};

/// Reads a column.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<T, Trouble> {
    Ok(row.try_get(column)?)
}

/// Reads a number of attempts, failures or the like, which the schema keeps from being negative.
pub(super) fn count(row: &Row, column: &str) -> Result<u32, Trouble> {
    Ok(get::<i32>(row, column)?.max(0) as u32)
}

/// Reads a `count(*)`.
pub(super) fn many(row: &Row, column: &str) -> Result<u64, Trouble> {
    Ok(get::<i64>(row, column)?.max(0) as u64)
}

/// Reads an error that may be absent.
pub(super) fn failure(row: &Row, class: &str, message: &str) -> Result<Option<Failure>, Trouble> {
    let (class, message): (Option<String>, Option<String>) = (get(row, class)?, get(row, message)?);
    Ok(class.map(|class| Failure { class, message: message.unwrap_or_default() }))
}

/// Reads the row of the place where a job stands.
pub(super) fn standing(row: &Row) -> Result<Standing, Trouble> {
    let place = i64::from(get::<i32>(row, "place")?);
    let run_at: Option<crate::clock::Timestamp> = get(row, "run_at")?;
    // A lease has no time to run at: there the column holds its end.
    let leased = (place == crate::store::common::stored::IN_LEASE).then_some(run_at).flatten();
    Ok(Standing {
        place,
        detail: match leased {
            Some(until) => until.us(),
            None => i64::from(get::<i32>(row, "detail")?),
        },
        attempt: count(row, "attempt")?,
        failures: count(row, "failures")?,
        crashes: count(row, "crashes")?,
        worker: get(row, "worker")?,
        started_at: get(row, "started_at")?,
        finished_at: get(row, "finished_at")?,
        run_at: run_at.filter(|_| leased.is_none()),
        error: failure(row, "error_class", "error_message")?,
        result: get(row, "result")?,
    })
}

/// Reads the last attempt in the log, if there is one.
pub(super) fn logged(row: &Row) -> Result<Option<Logged>, Trouble> {
    let Some(number) = get::<Option<i32>>(row, "last_attempt")? else { return Ok(None) };
    let error = failure(row, "last_class", "last_message")?;
    let started_at = get(row, "last_started_at")?;
    Ok(Some(Logged { number: number.max(0) as u32, started_at, error }))
}
