//! What Postgres says becomes a `StoreError` that says what to do.

use tokio_postgres::error::{DbError, SqlState};

use crate::error::StoreError;

/// The oldest server that has what the statements use.
const MAJOR_MIN: u32 = 13;
/// What lead.sql raises against a chore of another term; the message is the term that counts.
const NOT_LEADER: &str = "DUT01";

/// Why a statement did not give its answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not done, or it was rolled back as a whole.
    Refused(StoreError),
    /// It was sent and no answer came: it may have been done.
    Unknown(StoreError),
    /// It was not sent, for the connection was gone already.
    Unsent(StoreError),
    /// Another statement was in the way: nothing was done, the same again may succeed at once.
    Again(StoreError),
    /// Somebody holds a lock for long: nothing was done.
    Locked(StoreError),
    /// The statement as it was prepared is no longer good: nothing was done.
    Outdated(StoreError),
    /// Something of it is there already: nothing was done.
    Repeated(StoreError),
    /// A mistake in this crate.
    Mistake(&'static str),
}

impl Trouble {
    /// Says it of an attempt to connect: nothing was asked yet, so nothing is unknown.
    pub(super) fn before_anything(self) -> Self {
        match self {
            Self::Unknown(error) | Self::Unsent(error) | Self::Again(error) => {
                let text = match error {
                    StoreError::Unavailable(text) => text.replace(MAY_BE_DONE, ""),
                    other => return Self::Refused(other),
                };
                Self::Refused(StoreError::Unavailable(text))
            }
            other => other,
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error)
            | Trouble::Unknown(error)
            | Trouble::Unsent(error)
            | Trouble::Again(error)
            | Trouble::Locked(error)
            | Trouble::Outdated(error)
            | Trouble::Repeated(error) => error,
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
        if let Some(said) = error.as_db_error() {
            return Self::said(said);
        }
        let text = chain(&error);
        let source = std::error::Error::source(&error);
        let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
        if let Some(reason) = io.and_then(certificate) {
            return Self::Refused(StoreError::Refused(reason));
        }
        // What the driver has no word for came while it spoke to the server.
        let spoke = ["connecting", "connection closed", "timeout", "TLS", "no password", "auth"];
        if text.contains("password missing") || text.contains("authentication error") {
            return Self::Refused(StoreError::Refused(format!("{text}; {LOGIN}")));
        }
        if text.contains("TLS") {
            let advice = "use sslmode=disable for a server without TLS, or turn it on there";
            return Self::Refused(StoreError::Refused(format!("{text}; {advice}")));
        }
        if error.is_closed() || io.is_some() || spoke.iter().any(|word| text.contains(word)) {
            return Self::Unknown(StoreError::Unavailable(lost(&text)));
        }
        Self::Refused(StoreError::Mistake(text))
    }
}

const LOGIN: &str = "check user and password in the URL";
const MAY_BE_DONE: &str = "; what was asked may have been done";
const MIGRATE: &str = "run `dutiful migrate` on this database, and `dutiful doctor` if it is new";

impl Trouble {
    fn said(said: &DbError) -> Self {
        let (code, text) = (said.code().code(), said.message());
        let unavailable = |text: String| StoreError::Unavailable(text);
        match (&code[..2], code) {
            (_, NOT_LEADER) => {
                Self::Refused(StoreError::NotLeader(text.parse().unwrap_or_default()))
            }
            (_, "40P01" | "40001") => Self::Again(unavailable(text.into())),
            (_, "55P03") => Self::Locked(unavailable(format!(
                "{text}: another connection holds it for long; look into pg_stat_activity for it"
            ))),
            // Prepared for tables that have changed, or on another connection behind a pooler.
            (_, "26000" | "42P05") => Self::Outdated(unavailable(text.into())),
            (_, "0A000") if text.contains("cached plan") => {
                Self::Outdated(unavailable(text.into()))
            }
            (_, "23505") => Self::Repeated(refused(said.code(), text)),
            // Cancelled as a whole, by its own time limit or by a person.
            (_, "57014") => Self::Refused(unavailable(format!("{text}; nothing was done"))),
            // The server goes down, or the connection did.
            ("57" | "08", _) => Self::Unknown(unavailable(text.into())),
            _ => Self::Refused(refused(said.code(), text)),
        }
    }
}

fn refused(code: &SqlState, text: &str) -> StoreError {
    match (&code.code()[..2], code.code()) {
        (_, "53100") => StoreError::Full,
        (_, "53300") => StoreError::Unavailable(format!(
            "{text}: raise max_connections, or put a pooler in front of it"
        )),
        ("53", _) => StoreError::Unavailable(format!("{text}; the server lacks resources")),
        ("28", _) => StoreError::Refused(format!("{text}; {LOGIN}")),
        ("3D", _) => StoreError::Refused(format!("{text}; create it, or mend its name in the URL")),
        (_, "42501") => StoreError::Refused(format!(
            "{text}; grant what `dutiful migrate --print-roles` lists to this user"
        )),
        (_, "25006") => StoreError::ReadOnly(format!(
            "{text}: this server is a standby or set to read only; connect to the primary"
        )),
        // What our statements name and the database does not have.
        (_, "42P01" | "42703" | "42883" | "3F000" | "42704") => {
            StoreError::Schema(format!("{text}; {MIGRATE}"))
        }
        _ => StoreError::Mistake(format!("{text} ({})", code.code())),
    }
}

/// Says what is wrong with the server's certificate, if that is it.
fn certificate(error: &std::io::Error) -> Option<String> {
    let text = chain(error);
    if !text.contains("certificate") {
        return None;
    }
    let advice = "name its authority with sslrootcert=FILE, or use a host that it is made out to";
    Some(format!("the server's certificate is not good for this host ({text}); {advice}"))
}

/// Refuses a server that is too old, by the version that it tells every connection.
pub(super) fn check_version(version: &str) -> Result<(), StoreError> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    match digits.parse::<u32>() {
        Ok(major) if major < MAJOR_MIN => Err(StoreError::Refused(format!(
            "this is Postgres {version}, and Dutiful needs {MAJOR_MIN} or newer; upgrade the server"
        ))),
        // Who tells nothing readable is given the chance to understand the statements.
        _ => Ok(()),
    }
}

fn lost(text: &str) -> String {
    format!("the connection failed ({text}){MAY_BE_DONE}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_before_13_are_refused_with_what_to_do() {
        for old in ["9.6.24", "12.22 (Debian 12.22-1)", "10beta1", "8"] {
            let error = check_version(old).expect_err("it is too old").to_string();
            assert!(error.contains(old) && error.contains("13 or newer"), "{error}");
        }
        for fine in ["13", "13.0", "15.14 (Debian 15.14-0+deb12u1)", "18.1", "19devel", "", "x"] {
            check_version(fine).expect("it is new enough");
        }
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for (code, word) in [
            ("28P01", "password"),
            ("3D000", "create it"),
            ("42501", "grant"),
            ("25006", "primary"),
            ("42P01", "migrate"),
            ("42703", "doctor"),
            ("53300", "max_connections"),
            ("53100", "free some"),
        ] {
            let error = refused(&SqlState::from_code(code), "it said");
            assert!(error.is_passing(), "{code}: it heals when its cause goes");
            assert!(error.to_string().contains(word), "{code}: {error}");
        }
    }
}
