//! One connection: its settings, the statements that it has prepared, and its end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use super::errors::Trouble;
use super::statements::Statement;
use super::target::Target;
use crate::error::StoreError;

/// A connection to the server.
pub(super) struct Session {
    client: Client,
    prepared: Mutex<HashMap<(&'static str, &'static str), tokio_postgres::Statement>>,
    /// Whether statements may be prepared (a pooler may give each transaction another connection).
    prepares: bool,
    driver: JoinHandle<()>,
}

impl Session {
    pub(super) async fn connect(target: &Target) -> Result<Self, Trouble> {
        let connected = target.config.connect(NoTls).await;
        let (client, connection) = connected.map_err(|error| match Trouble::from(error) {
            // Nothing was asked yet.
            Trouble::Unknown(error) | Trouble::Again(error) => Trouble::Refused(error),
            other => other,
        })?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer hears of the end too.
            let _ = connection.await;
        });
        Ok(Self {
            client,
            prepared: Mutex::default(),
            prepares: target.prepared.unwrap_or(true),
            driver,
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends the connection at once; the server rolls back what it was doing.
    pub(super) fn close(&self) {
        self.driver.abort();
    }

    pub(super) async fn query(
        &self,
        key: (&'static str, &'static str),
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Trouble> {
        if params.len() != statement.types.len() {
            return Err(StoreError::Mistake(format!("{key:?} takes other parameters")).into());
        }
        if !self.prepares {
            let typed: Vec<(&(dyn ToSql + Sync), Type)> =
                params.iter().copied().zip(statement.types.iter().cloned()).collect();
            return Ok(self.client.query_typed(&statement.sql, &typed).await?);
        }
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let prepared = match known {
            Some(prepared) => prepared,
            None => {
                let new = self.client.prepare_typed(&statement.sql, &statement.types).await?;
                let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(key, new.clone());
                new
            }
        };
        Ok(self.client.query(&prepared, params).await?)
    }

    /// Runs several statements without parameters, in one transaction.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Trouble> {
        Ok(self.client.batch_execute(sql).await?)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
