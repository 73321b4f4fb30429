//! Stores large batches: their rows go to the server as COPY takes them, which costs it about half
//! of what the same rows cost as arrays. One transaction on a connection that does nothing else;
//! what fails ends the connection, so that none is left open, and an id that is there already makes
//! it fail as a whole.

use std::collections::HashMap;
use std::pin::pin;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::Db;
use super::enqueue::Columns;
use super::errors::Trouble;
use super::session::Session;
use super::wire::{ANSWER_MAX, Line};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::store::common::stored::AT_MOST_ONCE;

/// The columns of `copy_records`, `copy_ready` and `copy_scheduled`, in their order.
const RECORD: [Type; 14] = [
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
    Type::INT2,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::INT4,
    Type::INT8,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::INT2,
    Type::BYTEA,
];
const READY: usize = 9;
const SCHEDULED: usize = 10;
const PLACE: [Type; SCHEDULED] = [
    Type::TEXT,
    Type::INT2,
    Type::TIMESTAMPTZ,
    Type::UUID,
    Type::TEXT,
    Type::INT2,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT2,
];

impl Db {
    /// Stores jobs, none of which is there yet, in the order of their ids.
    pub(super) async fn copy(&self, c: &Columns<'_>) -> Result<(), Trouble> {
        let session = self.wire.session(Line::Copy).await?;
        match tokio::time::timeout(ANSWER_MAX, self.copy_on(&session, c)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(trouble)) => {
                session.close();
                Err(trouble)
            }
            Err(_) => {
                session.give_up();
                Err(Trouble::Unknown(StoreError::Timeout(ANSWER_MAX)))
            }
        }
    }

    async fn copy_on(&self, session: &Session, c: &Columns<'_>) -> Result<(), Trouble> {
        let begun = session.batch(&self.statements.get("enqueue", "copy_begin").sql).await;
        begun.map_err(|trouble| match trouble {
            Trouble::Unknown(error) => Trouble::Unsent(error),
            other => other,
        })?;
        let now = self.now();
        let rows = self.ask(session, ("enqueue", "copy_moment"), &[&now], ANSWER_MAX).await?;
        let now: Timestamp = rows.first().ok_or(Trouble::Mistake("no time"))?.try_get(0)?;
        self.copy_records(session, c, now).await?;
        let due = |at: usize| c.wanted(at, now).is_none_or(|wanted| wanted <= now);
        let (mut ready, later): (Vec<_>, Vec<_>) = (0..c.ids.len()).partition(|at| due(*at));
        // A claim takes the front of many lanes at once: what it reads and deletes lies together.
        ready.sort_by_key(|at| (c.queues[*at], c.priorities[*at]));
        self.copy_places(session, ("copy_ready", READY), c, (&ready, now)).await?;
        self.copy_places(session, ("copy_scheduled", SCHEDULED), c, (&later, now)).await?;
        self.count_copied(session, c).await?;
        session.batch(&self.statements.get("enqueue", "copy_commit").sql).await
    }

    async fn copy_records(
        &self,
        session: &Session,
        c: &Columns<'_>,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let key = ("enqueue", "copy_records");
        let sink = session.copy_in(key, &self.statements.get(key.0, key.1)).await?;
        let mut rows = pin!(BinaryCopyInWriter::new(sink, &RECORD));
        for at in 0..c.ids.len() {
            let wanted = c.wanted(at, now);
            let row: [&(dyn ToSql + Sync); 14] = [
                &c.ids[at],
                &c.types[at],
                &c.queues[at],
                &c.priorities[at],
                &now,
                &wanted,
                &c.attempts[at],
                &c.timeouts[at],
                &c.correlations[at],
                &c.traces[at],
                &c.groups[at],
                &c.tags[at],
                &c.deliveries[at],
                &c.payloads[at],
            ];
            rows.as_mut().write(&row).await?;
        }
        rows.finish().await?;
        Ok(())
    }

    /// Writes the places of some of the jobs: of those that are due, or of those that are not.
    async fn copy_places(
        &self,
        session: &Session,
        (name, columns): (&'static str, usize),
        c: &Columns<'_>,
        (which, now): (&[usize], Timestamp),
    ) -> Result<(), Trouble> {
        if which.is_empty() {
            return Ok(());
        }
        let statement = self.statements.get("enqueue", name);
        let sink = session.copy_in(("enqueue", name), &statement).await?;
        let mut rows = pin!(BinaryCopyInWriter::new(sink, &PLACE[..columns]));
        // It never ran, and waits because a time was asked for.
        let (none, asked): (i32, i16) = (0, 0);
        for at in which.iter().copied() {
            let run_at = c.wanted(at, now).map_or(now, |wanted| wanted.max(now));
            let flags = c.deliveries[at] * AT_MOST_ONCE as i16;
            let row: [&(dyn ToSql + Sync); SCHEDULED] = [
                &c.queues[at],
                &c.priorities[at],
                &run_at,
                &c.ids[at],
                &c.types[at],
                &flags,
                &none,
                &none,
                &none,
                &asked,
            ];
            rows.as_mut().write(&row[..columns]).await?;
        }
        rows.finish().await?;
        Ok(())
    }

    async fn count_copied(&self, session: &Session, c: &Columns<'_>) -> Result<(), Trouble> {
        let mut counts: HashMap<(&str, &str), i32> = HashMap::new();
        for lane in c.queues.iter().copied().zip(c.types.iter().copied()) {
            *counts.entry(lane).or_default() += 1;
        }
        let (lanes, n): (Vec<_>, Vec<i32>) = counts.into_iter().unzip();
        let (queues, types): (Vec<&str>, Vec<&str>) = lanes.into_iter().unzip();
        let params: [&(dyn ToSql + Sync); 3] = [&queues, &types, &n];
        self.ask(session, ("enqueue", "copy_counted"), &params, ANSWER_MAX).await.map(drop)
    }
}
