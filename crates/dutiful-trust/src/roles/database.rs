//! The application's own connections to the Postgres of the jobs, and its transactions.

use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use dutiful::{Asked, StoreError, Transaction, TransactionError};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::final_state::{statement, without_schema};

/// A server that takes longer than this to take a connection is away.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The driver, for the compiler; it is never made.
#[derive(Debug)]
pub(super) enum Driver {}

impl Transaction<Driver> for tokio_postgres::Transaction<'_> {
    fn ask<'t>(&'t mut self, statement: &'t str, parameter: &'t str) -> Asked<'t> {
        Box::pin(async move {
            let row = self.query_typed_one(statement, &[(&parameter, Type::TEXT)]).await;
            row.and_then(|row| row.try_get(0)).map_err(|error| why(&error))
        })
    }
}

fn why(error: &Error) -> TransactionError {
    match error.as_db_error() {
        Some(said) => TransactionError::said(said.code().code(), said.message()),
        None => TransactionError::new(error),
    }
}

/// True when the server, or the way to it, went away: the same may succeed later.
pub(super) fn is_away(error: &Error) -> bool {
    let passing = |code: &str| code.starts_with("57P") || code.starts_with("08");
    error.as_db_error().is_none_or(|said| passing(said.code().code()))
}

/// The same, of a call of the library in a transaction.
pub(super) fn may_pass(error: &dutiful::Error) -> bool {
    match error {
        dutiful::Error::Store(StoreError::Transaction(_)) => true,
        dutiful::Error::Store(error) => error.is_passing(),
        _ => false,
    }
}

/// The application's way to its database, with connections that are kept between transactions.
pub(super) struct Database {
    config: Config,
    schema: String,
    idle: Mutex<Vec<Client>>,
}

impl Database {
    pub(super) fn of(store: &str) -> anyhow::Result<Self> {
        let (plain, schema) = without_schema(store);
        let mut config = Config::from_str(&plain).context("read the URL of the store")?;
        config.connect_timeout(CONNECT_MAX);
        Ok(Self { config, schema, idle: Mutex::default() })
    }

    /// Returns a statement of a file, in the schema of the jobs.
    pub(super) fn sql(&self, file: &str, name: &str) -> String {
        statement(file, name).replace("dutiful.", &format!("\"{}\".", self.schema))
    }

    pub(super) async fn connect(&self) -> Result<Client, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // How it ended is heard by whoever asks next.
        drop(tokio::spawn(connection));
        Ok(client)
    }

    /// Takes a kept connection that lives, or makes one.
    pub(super) async fn take(&self) -> Result<Client, Error> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match kept {
                Some(client) if client.is_closed() => {}
                Some(client) => return Ok(client),
                None => return self.connect().await,
            }
        }
    }

    /// Keeps a connection that is in no transaction.
    pub(super) fn keep(&self, client: Client) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }
}
