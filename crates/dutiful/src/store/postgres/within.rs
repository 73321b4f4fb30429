//! Enqueue and completion inside the user's own transaction, through whichever driver: both commit,
//! or neither.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use super::json::{Completion, EndedRow, Jobs, NewRow, Said, read, write};
use super::transaction::{OUTSIDE, Transaction, TransactionError};
use super::wire::Line;
use super::{Db, PostgresStore};
use crate::context::Attempt;
use crate::enqueue::{Enqueue, EnqueueAll};
use crate::error::{Error, StoreError};
use crate::job::Record;
use crate::outcome::Completed;
use crate::store::{End, EnqueueOutcome, Enqueued, Store};
use crate::telemetry;
use crate::within::{Ending, Within};

/// Most jobs in one statement …
const JOBS_MAX: usize = 1000;
/// … and the bytes of payload after which it is full.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a call inside a Postgres transaction returns; await it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

impl<'a, Driver, T> Within<'a, Driver> for &'a mut T
where
    T: Transaction<Driver> + ?Sized,
    Driver: 'a,
{
    type Enqueue = Answer<'a, Enqueued>;
    type EnqueueAll = Answer<'a, Vec<Enqueued>>;
    type Complete = Answer<'a, Completed>;

    fn enqueue(self, job: Enqueue<'a>) -> Self::Enqueue {
        Box::pin(async move {
            let store = PostgresStore::of(&**job.client().store())?;
            let mut record = job.record().await?;
            let span = telemetry::producer(std::slice::from_mut(&mut record));
            let storing = store.enqueue_within(self, std::slice::from_ref(&record));
            let mut stored = telemetry::watched(span, storing).await?;
            let fallback = Enqueued { id: record.id, outcome: EnqueueOutcome::New };
            Ok(stored.pop().unwrap_or(fallback))
        })
    }

    fn enqueue_all(self, jobs: EnqueueAll<'a>) -> Self::EnqueueAll {
        Box::pin(async move {
            let store = PostgresStore::of(&**jobs.client().store())?;
            let mut records = jobs.into_records()?;
            let span = telemetry::producer(&mut records);
            telemetry::watched(span, store.enqueue_within(self, &records)).await
        })
    }

    fn complete(self, ending: Ending<'a>) -> Self::Complete {
        Box::pin(async move {
            let store = PostgresStore::of(&**ending.attempt.client.store())?;
            store.complete_within(self, ending.attempt).await
        })
    }
}

impl PostgresStore {
    /// Returns the Postgres store behind the seam.
    fn of(store: &dyn Store) -> Result<&Self, Error> {
        let ours = store.as_any().downcast_ref::<Self>().ok_or_else(|| StoreError::Elsewhere {
            theirs: "a Postgres database".into(),
            ours: store.facts().place,
        })?;
        ours.check_process()?;
        Ok(ours)
    }

    async fn enqueue_within<Driver, T: Transaction<Driver> + ?Sized>(
        &self,
        tx: &mut T,
        jobs: &[Record],
    ) -> Result<Vec<Enqueued>, Error> {
        let instance = self.instance().await?;
        let mut answers = Vec::with_capacity(jobs.len());
        for chunk in chunks(jobs) {
            let jobs = chunk.iter().map(NewRow::of).collect();
            let text = write(&Jobs { instance: &instance, jobs })?;
            answers.extend(read(&self.ask_within(tx, "enqueue", &text).await?)?);
        }
        self.ring_after_commit();
        Ok(answers)
    }

    async fn complete_within<Driver, T: Transaction<Driver> + ?Sized>(
        &self,
        tx: &mut T,
        attempt: &Attempt,
    ) -> Result<Completed, Error> {
        let instance = self.instance().await?;
        let finish = attempt.describe(attempt.started.elapsed(), End::Completed(None));
        let note = attempt.notes.unwritten(finish.fence);
        // Nobody would tell a completion of an attempt that was given up: the transaction is made
        // to fail, though its lease may well be there still.
        let given_up = attempt.is_given_up() && cfg!(not(bug = "complete_within_unfenced"));
        let text = Completion {
            instance: &instance,
            given_up,
            ended: EndedRow::of(attempt, &finish),
            said: note.as_ref().map(Said::of),
        };
        let text = write(&text)?;
        // From here on the store alone knows, also if nobody waits for this answer any more.
        attempt.within.store(true, Ordering::SeqCst);
        match self.ask_within(tx, "complete", &text).await {
            Ok(_) => Ok(Completed::new(finish.fence)),
            Err(error) => {
                attempt.within.store(false, Ordering::SeqCst);
                Err(match error {
                    Failed::LeaseLost => Error::LeaseLost(finish.fence),
                    other => other.into(),
                })
            }
        }
    }

    async fn ask_within<Driver, T: Transaction<Driver> + ?Sized>(
        &self,
        tx: &mut T,
        name: &'static str,
        text: &str,
    ) -> Result<String, Failed> {
        let statement = self.db.statements.get("within", name);
        let answer = tx.ask(&statement.sql, text).await;
        answer.map_err(|error| match failed(&error, &self.facts.place) {
            // Perhaps the schema was made anew: whoever asks next looks again.
            Failed::Store(error @ StoreError::Elsewhere { .. }) => {
                self.db.forget_instance();
                Failed::Store(error)
            }
            other => other,
        })
    }

    /// Returns what tells our schema of our database from any other.
    async fn instance(&self) -> Result<String, StoreError> {
        let db = self.db.clone();
        self.run(move |_| async move { db.look_at_instance().await }).await
    }

    /// Wakes workers once the caller's transaction has committed, of which nobody tells us.
    fn ring_after_commit(&self) {
        self.db.ring_after_transaction();
    }
}

impl Db {
    async fn look_at_instance(&self) -> Result<String, super::Trouble> {
        let known = || self.instance.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(instance) = known().clone() {
            return Ok(instance);
        }
        let rows = self.query(Line::Look, "within", "instance", &[]).await?;
        let row = rows.first().ok_or(super::Trouble::Mistake("the schema has no instance"))?;
        let instance: String = row.try_get(0)?;
        *known() = Some(instance.clone());
        Ok(instance)
    }

    fn forget_instance(&self) {
        *self.instance.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}

/// Why nothing was written.
enum Failed {
    LeaseLost,
    Store(StoreError),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Store(error) => error.into(),
            // Only a completion can lose its lease, and it has said so already.
            Failed::LeaseLost => {
                StoreError::Mistake("a lease was lost by an enqueue".into()).into()
            }
        }
    }
}

fn failed(error: &TransactionError, ours: &str) -> Failed {
    let text = error.to_string();
    let elsewhere = |theirs| StoreError::Elsewhere { theirs, ours: ours.into() };
    let transaction = |advice: &str| StoreError::Transaction(format!("{text}; {advice}"));
    let code = error.code().unwrap_or_default();
    Failed::Store(match (code.get(..2).unwrap_or_default(), code) {
        (_, "DU001") => return Failed::LeaseLost,
        (_, "DU002") => elsewhere(text),
        // What our statement names is not there.
        (_, "42883" | "42P01" | "3F000" | "3D000") => {
            elsewhere(format!("a database without it ({text})"))
        }
        (_, OUTSIDE) => StoreError::Transaction(text),
        (_, "25P02") => transaction("an earlier statement failed: roll back"),
        (_, "40001" | "40P01") => transaction("roll back and run it again"),
        (_, "25006" | "42501") => StoreError::ReadOnly(text),
        (_, "53100") => StoreError::Full,
        ("22" | "23" | "42" | "XX", _) => StoreError::Mistake(format!("{text} ({code})")),
        _ => transaction("roll back"),
    })
}

/// Cuts jobs into pieces that a statement can carry.
fn chunks(mut jobs: &[Record]) -> impl Iterator<Item = &[Record]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |job: &&Record| {
            bytes += job.payload.len();
            bytes <= BYTES_MAX
        };
        let count = jobs.iter().take(JOBS_MAX).take_while(fits).count();
        let (chunk, rest) = jobs.split_at(count.max(1).min(jobs.len()));
        jobs = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}
