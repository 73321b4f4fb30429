//! One connection: its settings, the statements that it has prepared, and its end.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, CopyInSink, Row, Socket};

use super::errors::{Trouble, check_version};
use super::pooler::Manner;
use super::statements::Statement;
use super::target::{CONNECT_MAX, Target};
use super::tls::Tls;
use crate::error::StoreError;

/// How long the server works on a statement: a bit longer than its caller waits for the answer, so
/// that who still listens hears of its own timeout first.
const STATEMENT_MAX: Duration = Duration::from_secs(35);
/// How long a statement waits for a lock.
const LOCK_MAX: Duration = Duration::from_secs(5);
/// How long a connection may do nothing inside a transaction; none of ours ever should.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The first plan is kept: ours go from a batch, or the front of a queue, into indexes, whatever
/// the sizes; to plan a claim costs a fifth of running it. Plans that begin by reading a whole
/// table are switched off (below), so that one made while they were empty is good when they are
/// full.
const PLAN_CACHE_MODE: &str = "force_generic_plan";
/// How long the request to cancel a statement may take.
const CANCEL_MAX: Duration = Duration::from_secs(5);

/// What a connection hears without having asked: a notification's text, or `None` for its end.
pub(super) type Hear = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// A connection to the server.
pub(super) struct Session {
    client: Client,
    prepared: Mutex<HashMap<(&'static str, &'static str), tokio_postgres::Statement>>,
    /// Whether statements may be prepared (a pooler may give each transaction another connection).
    prepares: bool,
    cancel: CancelToken,
    tls: Tls,
    driver: JoinHandle<()>,
}

impl Session {
    /// Makes a connection that is used as the server or the pooler before it allows.
    pub(super) async fn connect(
        target: &Target,
        manner: Manner,
        hear: Option<Hear>,
    ) -> Result<Self, Trouble> {
        let mut config = target.config.clone();
        if manner.options {
            with_options(&mut config, &settings("-c ", " "));
        }
        let session = Self::open(&config, target, manner.prepares, hear).await?;
        if manner.own && !manner.options {
            session.batch(&settings("SET ", ";")).await.map_err(Trouble::before_anything)?;
        }
        Ok(session)
    }

    /// Makes a connection with these settings and no others.
    pub(super) async fn open(
        config: &Config,
        target: &Target,
        prepares: bool,
        hear: Option<Hear>,
    ) -> Result<Self, Trouble> {
        let connecting = config.connect(target.tls.clone());
        let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
        let no_answer = || StoreError::Unavailable(format!("no connection in {CONNECT_MAX:?}"));
        let connected = connected.map_err(|_| no_answer())?;
        let (client, connection) =
            connected.map_err(|error| Trouble::from(error).before_anything())?;
        check_version(connection.parameter("server_version").unwrap_or_default())?;
        let driver = tokio::spawn(drive(connection, hear));
        let (cancel, tls) = (client.cancel_token(), target.tls.clone());
        Ok(Self { client, prepared: Mutex::default(), prepares, cancel, tls, driver })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends the connection at once; the server rolls back what it was doing.
    pub(super) fn close(&self) {
        self.driver.abort();
    }

    /// Ends a connection that does not answer; the server is asked to stop what it does there.
    pub(super) fn give_up(&self) {
        self.close();
        let (cancel, tls) = (self.cancel.clone(), self.tls.clone());
        tokio::spawn(async move {
            // A server that is not there has nothing to stop.
            let _ = tokio::time::timeout(CANCEL_MAX, cancel.cancel_query(tls)).await;
        });
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
            self.check_open()?;
            return Ok(self.client.query_typed(&statement.sql, &typed).await?);
        }
        let prepared = self.prepared(key, statement).await?;
        // All of this runs on one thread, and between this look and the sending nobody else does:
        // what was open here was sent.
        self.check_open()?;
        let answer = self.client.query(&prepared, params).await.map_err(Trouble::from);
        if matches!(answer, Err(Trouble::Outdated(_))) {
            self.all_prepared().remove(&key);
        }
        answer
    }

    /// Prepares a statement, if that is not done yet.
    pub(super) async fn prepare(
        &self,
        key: (&'static str, &'static str),
        statement: &Statement,
    ) -> Result<(), Trouble> {
        self.prepared(key, statement).await.map(drop)
    }

    /// Returns a statement's handle. Where that fails nothing was asked of the server yet.
    async fn prepared(
        &self,
        key: (&'static str, &'static str),
        statement: &Statement,
    ) -> Result<tokio_postgres::Statement, Trouble> {
        let known = self.all_prepared().get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let new = self.client.prepare_typed(&statement.sql, &statement.types).await;
        let new = new.map_err(|error| match Trouble::from(error) {
            Trouble::Unknown(error) => Trouble::Unsent(error),
            other => other,
        })?;
        self.all_prepared().insert(key, new.clone());
        Ok(new)
    }

    fn all_prepared(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<(&'static str, &'static str), tokio_postgres::Statement>>
    {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_open(&self) -> Result<(), Trouble> {
        match self.is_closed() {
            true => Err(Trouble::Unsent(StoreError::Unavailable("the connection ended".into()))),
            false => Ok(()),
        }
    }

    /// Begins to send rows to a table.
    pub(super) async fn copy_in(
        &self,
        key: (&'static str, &'static str),
        statement: &Statement,
    ) -> Result<CopyInSink<Bytes>, Trouble> {
        let prepared = self.prepared(key, statement).await?;
        Ok(self.client.copy_in(&prepared).await?)
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

/// Puts settings before those that the URL gives, so that those win.
pub(super) fn with_options(config: &mut Config, ours: &str) {
    let theirs = config.get_options().unwrap_or_default();
    let all = format!("{ours}{theirs}");
    config.options(all);
}

pub(super) fn settings(before: &str, after: &str) -> String {
    let ms = |span: Duration| span.as_millis().to_string();
    let mut all = vec![
        ("statement_timeout", ms(STATEMENT_MAX)),
        ("lock_timeout", ms(LOCK_MAX)),
        ("idle_in_transaction_session_timeout", ms(IDLE_MAX)),
        ("plan_cache_mode", PLAN_CACHE_MODE.into()),
        ("jit", "off".into()),
        ("enable_hashjoin", "off".into()),
        ("enable_mergejoin", "off".into()),
        ("enable_seqscan", "off".into()),
        ("enable_bitmapscan", "off".into()),
        ("timezone", "UTC".into()),
        // Names of others in front of the server's own are not ours to call.
        ("search_path", "pg_catalog,pg_temp".into()),
    ];
    if cfg!(bug = "sync_off") {
        all.push(("synchronous_commit", "off".into()));
    }
    all.iter().map(|(name, value)| format!("{before}{name}={value}{after}")).collect()
}

/// Moves what is sent and received, until the end; whoever waits for an answer hears of that too.
async fn drive(
    mut connection: tokio_postgres::Connection<Socket, <Tls as MakeTlsConnect<Socket>>::Stream>,
    hear: Option<Hear>,
) {
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let (AsyncMessage::Notification(said), Some(hear)) = (message, &hear) {
            hear(Some(said.payload()));
        }
    }
    drop(connection);
    if let Some(hear) = hear {
        hear(None);
    }
}
