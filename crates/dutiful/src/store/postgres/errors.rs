//! What Postgres says becomes a `StoreError` that says what to do.

use tokio_postgres::error::SqlState;

use crate::error::StoreError;

/// Why a statement did not give its answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not done, or it was rolled back as a whole.
    Refused(StoreError),
    /// It was sent and no answer came: it may have been done.
    Unknown(StoreError),
    /// Another statement was in the way: nothing was done, the same again may succeed at once.
    Again(StoreError),
    /// A mistake in this crate.
    Mistake(&'static str),
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) | Trouble::Unknown(error) | Trouble::Again(error) => error,
            Trouble::Mistake(text) => Self::Mistake(text.into()),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            let text = chain(&error);
            if error.is_closed() {
                return Self::Unknown(StoreError::Unavailable(lost(&text)));
            }
            return match std::error::Error::source(&error) {
                Some(source) if source.is::<std::io::Error>() => {
                    Self::Unknown(StoreError::Unavailable(lost(&text)))
                }
                _ => Self::Refused(StoreError::Mistake(text)),
            };
        };
        let text = said.message().to_owned();
        let code = said.code();
        if *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
        {
            return Self::Again(StoreError::Unavailable(text));
        }
        let error = match &code.code()[..2] {
            // The server goes down, or the statement was cancelled with its connection.
            "57" => return Self::Unknown(StoreError::Unavailable(text)),
            "08" => return Self::Unknown(StoreError::Unavailable(text)),
            "53" if *code == SqlState::DISK_FULL => StoreError::Full,
            "53" => StoreError::Unavailable(format!("{text} (too many for this server)")),
            "28" => StoreError::Unavailable(format!("{text}; check user and password in the URL")),
            "3D" => StoreError::Unavailable(format!("{text}; create the database first")),
            _ => other(code, &text),
        };
        Self::Refused(error)
    }
}

fn other(code: &SqlState, text: &str) -> StoreError {
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return StoreError::ReadOnly(format!("{text}; connect to the primary, not to a standby"));
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return StoreError::ReadOnly(format!("{text}; grant it (see `dutiful migrate --help`)"));
    }
    if *code == SqlState::LOCK_NOT_AVAILABLE {
        let advice = "a transaction holds the job; ask again when it has ended";
        return StoreError::Unavailable(format!("{text}; {advice}"));
    }
    let ours =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION, SqlState::INVALID_SCHEMA_NAME];
    if ours.contains(code) || *code == SqlState::UNDEFINED_COLUMN {
        return StoreError::ReadOnly(format!("{text}; run `dutiful migrate` on this database"));
    }
    StoreError::Mistake(format!("{text} ({})", code.code()))
}

fn lost(text: &str) -> String {
    format!("the connection was lost ({text}); what was asked may have been done")
}

/// Returns an error and what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}
