//! Enqueue and completion inside the user's own `rusqlite` transaction: both commit, or neither.
//!
//! A `rusqlite::Transaction` cannot cross an await, so both calls are synchronous: `.now()`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rusqlite::Transaction;

use super::finish::{Hot, finish_one};
use super::note::note_one;
use super::rows::Names;
use super::tally::Tally;
use super::writer::{Txn, lock};
use super::{SqliteStore, Trouble, enqueue};
use crate::context::Attempt;
use crate::enqueue::{Enqueue, EnqueueAll};
use crate::error::{Error, StoreError};
use crate::id::WorkerId;
use crate::job::Record;
use crate::outcome::Completed;
use crate::store::{End, EnqueueOutcome, Enqueued, Finish, Held, Store};
use crate::telemetry::{self, STORE_ERROR};
use crate::within::{Ending, Within};

impl SqliteStore {
    /// Returns the SQLite store behind the seam.
    fn of(store: &dyn Store) -> Result<&Self, StoreError> {
        store.as_any().downcast_ref().ok_or_else(|| StoreError::Elsewhere {
            theirs: "a SQLite file".into(),
            ours: store.facts().place,
        })
    }

    /// Runs a verb on the user's connection, after a look at which file it writes to.
    fn run_within<T>(
        &self,
        tx: &Transaction<'_>,
        verb: impl Fn(&mut Txn<'_>) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.check_process()?;
        self.check_same_file(tx)?;
        let (mut tally, mut names, mut ring) = (Tally::default(), Names::default(), false);
        let now = lock(&self.time).now();
        let mut txn = Txn { conn: tx, now, tally: &mut tally, names: &mut names, ring: &mut ring };
        // A savepoint, so that a failure leaves nothing half done in a transaction that the caller
        // may commit all the same.
        let mut run = || -> Result<T, Trouble> {
            tx.execute_batch("SAVEPOINT dutiful_within")?;
            let answer = verb(&mut txn)?;
            txn.tally.write(tx)?;
            // Now that the lock is held: whoever replaces the file takes it too.
            self.file.as_ref().map_or(Ok(()), |file| file.check())?;
            Ok(answer)
        };
        let answer = run();
        let end = match &answer {
            Ok(_) => "RELEASE dutiful_within",
            Err(_) => "ROLLBACK TO dutiful_within; RELEASE dutiful_within",
        };
        let ended = tx.execute_batch(end).map_err(Trouble::from);
        // The bell rings when the commit changes `data_version`: before it there is nothing to see.
        match answer {
            Ok(answer) => ended.map(|()| answer).map_err(StoreError::from),
            // A transaction that holds no write lock yet cannot wait for it once it has read.
            Err(Trouble(StoreError::Busy { .. })) => Err(StoreError::Stale),
            // If the savepoint is gone too, SQLite has rolled back all of it.
            Err(trouble) => Err(trouble.into()),
        }
    }

    fn check_same_file(&self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        let theirs = tx.path().filter(|path| !path.is_empty()).map(canonical);
        if theirs.is_some() && theirs == self.path {
            return Ok(());
        }
        let show = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => "a database in memory".into(),
        };
        let ours = match &self.path {
            Some(_) => show(&self.path),
            None => "in memory, where no other connection can reach it".into(),
        };
        Err(StoreError::Elsewhere { theirs: show(&theirs), ours })
    }
}

fn canonical(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| Path::new(path).into())
}

/// The driver of SQLite.
#[derive(Debug)]
pub enum Rusqlite {}

impl<'a> Within<'a, Rusqlite> for &'a Transaction<'_> {
    type Enqueue = EnqueueWithin<'a>;
    type EnqueueAll = EnqueueAllWithin<'a>;
    type Complete = CompleteWithin<'a>;

    fn enqueue(self, job: Enqueue<'a>) -> EnqueueWithin<'a> {
        let store = &**job.client().store();
        EnqueueWithin { store, tx: self, record: job.into_record(None).map_err(Error::from) }
    }

    fn enqueue_all(self, jobs: EnqueueAll<'a>) -> EnqueueAllWithin<'a> {
        let store = &**jobs.client().store();
        EnqueueAllWithin { store, tx: self, records: jobs.into_records().map_err(Error::from) }
    }

    fn complete(self, ending: Ending<'a>) -> CompleteWithin<'a> {
        let attempt = ending.attempt;
        let ran = attempt.started.elapsed();
        CompleteWithin {
            store: &**attempt.client.store(),
            tx: self,
            worker: attempt.worker,
            finish: attempt.describe(ran, End::Completed(None)),
            attempt,
        }
    }
}

/// An enqueue inside a transaction; nothing happens before `.now()`.
#[must_use = "nothing is enqueued before .now()"]
pub struct EnqueueWithin<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) tx: &'a Transaction<'a>,
    pub(crate) record: Result<Record, Error>,
}

impl EnqueueWithin<'_> {
    /// Stores the job in the transaction: it exists when the transaction commits, or never.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] before anything is written; [`StoreError::Elsewhere`] when the
    /// transaction is on another file; what SQLite says. The caller decides whether to roll back.
    pub fn now(self) -> Result<Enqueued, Error> {
        let mut record = self.record?;
        let id = record.id;
        let answers = stored(self.store, self.tx, std::slice::from_mut(&mut record))?;
        let fallback = Enqueued { id, outcome: EnqueueOutcome::New };
        Ok(answers.first().copied().unwrap_or(fallback))
    }
}

/// An enqueue of many inside a transaction; nothing happens before `.now()`.
#[must_use = "nothing is enqueued before .now()"]
pub struct EnqueueAllWithin<'a> {
    store: &'a dyn Store,
    tx: &'a Transaction<'a>,
    records: Result<Vec<Record>, Error>,
}

impl EnqueueAllWithin<'_> {
    /// Stores the jobs in the transaction, all of them or none; the answers keep the order.
    ///
    /// # Errors
    /// As [`EnqueueWithin::now`].
    pub fn now(self) -> Result<Vec<Enqueued>, Error> {
        stored(self.store, self.tx, &mut self.records?)
    }
}

fn stored(
    store: &dyn Store,
    tx: &Transaction<'_>,
    records: &mut [Record],
) -> Result<Vec<Enqueued>, Error> {
    let store = SqliteStore::of(store)?;
    let span = telemetry::producer(records);
    let told = |error: &StoreError| telemetry::failed(&span, STORE_ERROR, &error.to_string());
    Ok(store.run_within(tx, |txn| enqueue::enqueue(txn, records)).inspect_err(told)?)
}

/// A completion inside a transaction; nothing happens before `.now()`.
#[must_use = "nothing is completed before .now()"]
pub struct CompleteWithin<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) tx: &'a Transaction<'a>,
    pub(crate) worker: WorkerId,
    pub(crate) finish: Finish,
    pub(crate) attempt: &'a Attempt,
}

impl CompleteWithin<'_> {
    /// Completes the job in the transaction, if its lease is still ours. When it is not, the
    /// transaction is rolled back at once, so that nothing of it can be committed.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`StoreError::Elsewhere`]; what SQLite says.
    pub fn now(self) -> Result<Completed, Error> {
        let store = SqliteStore::of(self.store)?;
        let unfenced = cfg!(bug = "complete_within_unfenced");
        // A worker that gave the attempt up has told so; the lease may well be there still.
        let mut held = Held::Lost;
        if !self.attempt.is_given_up() || unfenced {
            // They stay with the attempt too, for the transaction may be rolled back.
            let said = self.attempt.notes.unwritten(self.finish.fence);
            held = store.run_within(self.tx, |txn| {
                if let Some(said) = &said {
                    note_one(txn, said)?;
                }
                let mut hot = Hot::prepare(txn.conn)?;
                finish_one(txn, &mut hot, self.worker, &self.finish)
            })?;
        }
        if held == Held::Yes || unfenced {
            self.attempt.within.store(true, Ordering::SeqCst);
            return Ok(Completed::new(self.finish.fence));
        }
        self.tx
            .execute_batch("ROLLBACK")
            .map_err(|error| StoreError::from(Trouble::from(error)))?;
        Err(Error::LeaseLost(self.finish.fence))
    }
}
