//! What operators ask of a store beside its jobs: workers, an empty queue, its health, a backup.

use std::path::{Path, PathBuf};

use crate::builder::ClientBuilder;
use crate::client::Client;
use crate::error::Error;
use crate::id::Name;
use crate::inspect::{Backup, Finding, Restored, WorkerInfo};
use crate::store::connect;

/// Jobs deleted by one call to the store.
const CLEAR_CHUNK: usize = 500;

impl Client {
    /// Returns the workers on record, running ones first, then the latest; at most 1000.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Error> {
        self.call(self.store().workers()).await
    }

    /// Deletes every job that waits in a queue (pending, scheduled or failed), with all traces of
    /// it; active ones go on. Returns how many went. What is enqueued meanwhile may stay: it ends
    /// once as many went as waited at the beginning and few are left.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for a bad name; [`Error::Store`], with a part of them deleted.
    pub async fn clear(&self, queue: &str) -> Result<usize, Error> {
        let name = Name::new("queue", queue)?;
        let waited = self.waiting(queue).await?;
        let mut gone = 0;
        loop {
            let piece = self.call(self.store().clear(name.clone(), CLEAR_CHUNK)).await?;
            gone += piece;
            if piece == 0 || (piece < CLEAR_CHUNK && gone as u64 >= waited) {
                return Ok(gone);
            }
        }
    }

    async fn waiting(&self, queue: &str) -> Result<u64, Error> {
        let queues = self.queues().await?;
        let found = queues.iter().find(|one| one.queue.as_str() == queue);
        Ok(found.map_or(0, |one| one.counts.pending + one.counts.scheduled + one.counts.failed))
    }

    /// Looks at the store's health, place and settings: its size, free space, integrity, clock,
    /// workers and what waits in vain.
    ///
    /// With `full` all of its contents are read and compared, which takes as long as reading the
    /// whole store; without, a check of its structure is made, which takes a part of that.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be looked at at all.
    pub async fn doctor(&self, full: bool) -> Result<Vec<Finding>, Error> {
        // Not cut short: it takes as long as the store is large.
        Ok(self.store().doctor(full).await?)
    }

    /// Writes a consistent copy of the store to a new file that only its owner can read, while
    /// workers and enqueues go on. Every job acknowledged before the call is in it. It is durable
    /// when this answers; a backup that failed leaves no file. Once begun it is written to its end,
    /// even if nobody waits for the answer.
    ///
    /// # Errors
    /// [`StoreError::Backup`](crate::StoreError::Backup) when the file exists, the place cannot be
    /// written or is full; [`StoreError::Unsupported`](crate::StoreError::Unsupported) by a store
    /// in memory.
    pub async fn backup(&self, to: impl AsRef<Path>) -> Result<Backup, Error> {
        // Not cut short: it takes as long as the store is large.
        Ok(self.store().backup(to.as_ref().to_owned()).await?)
    }

    /// Puts a backup in the place that the URL names, where no store may be yet.
    ///
    /// Attempts that were active in the backup end as stalled, and their jobs are pending again:
    /// what they did is done again. A worker from before the restore can change nothing in the
    /// restored store. Jobs enqueued after the backup are not in it, and jobs completed after it
    /// are as they were.
    ///
    /// # Errors
    /// [`StoreError::Backup`](crate::StoreError::Backup) when it is damaged or no backup of a
    /// store, [`StoreError::Newer`](crate::StoreError::Newer),
    /// [`StoreError::Open`](crate::StoreError::Open) when something stands in the place. Nothing
    /// is changed then.
    pub async fn restore(url: &str, backup: impl AsRef<Path>) -> Result<Restored, Error> {
        Self::builder().restore(url, backup).await
    }
}

impl ClientBuilder {
    /// Does what [`Client::restore`] does, with this builder's clock.
    ///
    /// # Errors
    /// Those of [`Client::restore`].
    pub async fn restore(self, url: &str, backup: impl AsRef<Path>) -> Result<Restored, Error> {
        let backup: PathBuf = backup.as_ref().to_owned();
        Ok(connect::restore(url, backup, false, self.clock).await?)
    }

    /// Does the same where a store stands already: its file is moved aside first, with its log, to
    /// the path that the answer names. End the programs that use it before: those that go on are
    /// refused at their next write.
    ///
    /// # Errors
    /// Those of [`Client::restore`]; [`StoreError::Busy`](crate::StoreError::Busy) while another
    /// program holds the old store's write lock.
    pub async fn restore_over(
        self,
        url: &str,
        backup: impl AsRef<Path>,
    ) -> Result<Restored, Error> {
        let backup: PathBuf = backup.as_ref().to_owned();
        Ok(connect::restore(url, backup, true, self.clock).await?)
    }
}
