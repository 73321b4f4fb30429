//! What a server keeps beside the jobs.

use super::Db;
use super::errors::Trouble;
use super::rows::get;
use super::wire::Line;
use crate::store::{Keep, KeepWhen, KeptItem, KeptRange};

impl Db {
    pub(super) async fn keep(&self, ask: &Keep) -> Result<Option<i64>, Trouble> {
        let (shelf, key, now) = (ask.shelf.as_str(), &ask.key, self.now());
        let us = ask.bounded_ttl().map(|ttl| ttl.as_micros() as i64);
        let rows = match (&ask.value, ask.when) {
            (None, KeepWhen::Absent) => return Ok(None),
            (None, when) => {
                let version = match when {
                    KeepWhen::Version(version) => Some(version),
                    _ => None,
                };
                self.query(Line::Look, "keep", "forget", &[&shelf, key, &version]).await?
            }
            (Some(value), KeepWhen::Version(version)) => {
                let row: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                    [&shelf, key, value, &us, &version, &now];
                self.query(Line::Look, "keep", "swap", &row).await?
            }
            (Some(value), when) => {
                let absent = when == KeepWhen::Absent;
                let row: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                    [&shelf, key, value, &us, &absent, &now];
                self.query(Line::Look, "keep", "write", &row).await?
            }
        };
        rows.first().map(|row| get(row, "version")).transpose()
    }

    pub(super) async fn kept(&self, range: &KeptRange) -> Result<Vec<KeptItem>, Trouble> {
        let order = if range.newest_first { "last" } else { "first" };
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        let (shelf, end) = (range.shelf.as_str(), range.end());
        let rows = self
            .query(Line::Look, "kept", order, &[&shelf, &range.from, &end, &self.now(), &limit])
            .await?;
        let item = |row: &tokio_postgres::Row| {
            Ok(KeptItem {
                key: get(row, "key")?,
                value: get(row, "value")?,
                version: get(row, "version")?,
                until: get(row, "until")?,
            })
        };
        rows.iter().map(item).collect()
    }
}
