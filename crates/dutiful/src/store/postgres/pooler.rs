//! Finds out whether a pooler stands before the server, and what it leaves of a session.
//!
//! A connection of one's own takes startup options. PgBouncer refuses or drops them, so a mark
//! among them that does not arrive gives it away, at the price of one short question. Only then two
//! connections are compared: where both are answered by the same process of the server, or one by
//! several, a transaction is all that a connection can count on.

use tokio_postgres::Config;

use super::errors::Trouble;
use super::session::{Session, with_options};
use super::statements::Statements;
use super::target::Target;
use crate::error::StoreError;

/// So often two connections are compared; one look can be misled by a busy pool.
const LOOKS: usize = 4;

/// What a connection can count on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Manner {
    /// It keeps its process of the server: settings stay, and LISTEN is heard.
    pub(super) own: bool,
    /// Statements can be prepared on it.
    pub(super) prepares: bool,
    /// It takes startup options.
    pub(super) options: bool,
}

impl Manner {
    const DIRECT: Self = Self { own: true, prepares: true, options: true };
    const POOLED_SESSION: Self = Self { own: true, prepares: true, options: false };
    /// The least: what nobody looked at yet counts on nothing.
    pub(super) const POOLED_TRANSACTION: Self =
        Self { own: false, prepares: false, options: false };

    /// Says it for people, where it is not the usual case.
    pub(super) fn words(self) -> Option<&'static str> {
        match (self.own, self.options) {
            (true, true) => None,
            (true, false) => Some("behind a pooler in session mode"),
            (false, _) => Some("behind a pooler in transaction mode"),
        }
    }

    /// Says what does not work, and what to do.
    pub(super) fn warning(self) -> Option<&'static str> {
        const TEXT: &str = "the pooler gives each transaction another connection, so sleeping \
            workers are not woken and find new jobs by polling; give workers a URL that leads \
            past the pooler";
        (!self.own).then_some(TEXT)
    }
}

/// Finds out how connections may be used.
pub(super) async fn look(target: &Target, statements: &Statements) -> Result<Manner, Trouble> {
    let mut manner = match target.prepared {
        Some(false) => Manner::POOLED_TRANSACTION,
        _ if takes_options(target, statements).await? => Manner::DIRECT,
        _ if has_own_process(target, statements).await? => Manner::POOLED_SESSION,
        _ => Manner::POOLED_TRANSACTION,
    };
    if target.prepared == Some(true) {
        manner.prepares = true;
    }
    Ok(manner)
}

async fn takes_options(target: &Target, statements: &Statements) -> Result<bool, Trouble> {
    let token = format!("{:016x}", fastrand::u64(..));
    let mut config = target.config.clone();
    with_options(&mut config, &format!("-c dutiful_wire.token={token} "));
    let session = match Session::open(&config, target, false, None).await {
        Ok(session) => session,
        Err(trouble) => {
            let error = StoreError::from(trouble);
            let refused = error.to_string().contains("startup parameter");
            return if refused { Ok(false) } else { Err(error.into()) };
        }
    };
    let statement = statements.get("facts", "token");
    let rows = session.query(("facts", "token"), &statement, &[]).await?;
    let there: Option<String> = rows.first().and_then(|row| row.get(0));
    Ok(there.as_deref() == Some(token.as_str()))
}

async fn has_own_process(target: &Target, statements: &Statements) -> Result<bool, Trouble> {
    let config: &Config = &target.config;
    let one = Session::open(config, target, false, None).await?;
    let other = Session::open(config, target, false, None).await?;
    for _ in 0..LOOKS {
        let before = backend(&one, statements).await?;
        let begun = other.batch(&statements.get("facts", "begin").sql).await;
        begun.map_err(|trouble| statement_mode(target, trouble))?;
        let held = backend(&other, statements).await;
        // The other one holds this process until its end: if the pool has no second one, the first
        // would wait for it.
        if held.map_err(|trouble| statement_mode(target, trouble))? == before {
            return Ok(false);
        }
        let after = backend(&one, statements).await?;
        other.batch(&statements.get("facts", "end").sql).await?;
        if after != before {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn backend(session: &Session, statements: &Statements) -> Result<i32, Trouble> {
    let statement = statements.get("facts", "backend");
    let rows = session.query(("facts", "backend"), &statement, &[]).await?;
    let row = rows.first().ok_or(Trouble::Mistake("the server does not know its process"))?;
    Ok(row.try_get(0)?)
}

/// Tells a pooler that takes single statements only from other trouble.
fn statement_mode(target: &Target, trouble: Trouble) -> Trouble {
    let error = StoreError::from(trouble);
    if !error.to_string().contains("statement pooling") {
        return error.into();
    }
    let reason = "the pooler there is in statement mode, in which no transaction is possible; \
        set pool_mode to transaction or session, or lead past it";
    StoreError::Url { url: target.place(), reason: reason.into() }.into()
}
