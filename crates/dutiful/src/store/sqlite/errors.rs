//! Turns what SQLite says into what a caller can act on.

use std::time::Duration;

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// How long a connection waits for the write lock, trying every millisecond.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(5);

/// An error inside a transaction: a [`StoreError`] that `?` makes of rusqlite's.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) StoreError);

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        trouble.0
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        Self(match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Busy { waited: BUSY_MAX }
            }
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::ReadOnly) => {
                let text = "the connection, the file or its directory is read-only; allow writing";
                StoreError::ReadOnly(text.into())
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(text),
            _ if is_full(&error) => StoreError::Full,
            _ => StoreError::Unavailable(text),
        })
    }
}

/// Without space even the shared-memory file or a write may fail as an I/O error.
fn is_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|e| e.extended_code);
    matches!(
        extended,
        Some(rusqlite::ffi::SQLITE_IOERR_WRITE | rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
    )
}
