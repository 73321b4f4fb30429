//! What can go wrong, by subsystem; each message is a fragment that fits "failed to …".

use std::path::PathBuf;
use std::time::Duration;

use crate::id::{Fence, JobId};
use crate::job::State;

/// A call to the library that failed. Nothing was half done: see each variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job was refused before anything was written.
    #[error("accept the job: {0}")]
    InvalidJob(#[from] InvalidJob),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such job: never enqueued here, deleted, or pruned by retention.
    #[error("find job {0}: the store does not know it (deleted, pruned, or another store)")]
    NotFound(JobId),
    /// The job is in a state in which this cannot be done.
    #[error("{verb} job {id}: it is {state}; {advice}")]
    WrongState {
        /// What was asked.
        verb: &'static str,
        /// Of which job.
        id: JobId,
        /// The state that forbids it.
        state: State,
        /// What to do instead.
        advice: &'static str,
    },
    /// The job's unique key belongs to another live job.
    #[error(
        "{verb} job {id}: its unique key is taken by the live job {holder}; wait until that one has ended or cancel it"
    )]
    Conflict {
        /// What was asked.
        verb: &'static str,
        /// Of which job.
        id: JobId,
        /// The job that holds the key.
        holder: JobId,
    },
    /// The job did not end while somebody waited for its result; it may still.
    #[error("hear how job {id} ended within {waited:?}: it is {state}; ask again, or wait longer")]
    NotEnded {
        /// Which.
        id: JobId,
        /// Where it stands.
        state: State,
        /// How long was waited.
        waited: Duration,
    },
    /// The job ended without a result of the asked type.
    #[error("read the result of job {id}: {reason}")]
    NoResult {
        /// Which.
        id: JobId,
        /// It is dead, was cancelled, or returned something else.
        reason: String,
    },
    /// The attempt no longer belongs to this worker; what it did since may be done again elsewhere.
    #[error("write about attempt {0}: its lease was lost")]
    LeaseLost(Fence),
    /// A worker was set up in a way that cannot work.
    #[error("start the worker: {0}")]
    Worker(String),
    /// Some chunks of a large enqueue were stored, the rest was not.
    #[error("enqueue all {total} jobs: {stored} are stored, the others not: {source}")]
    Partly {
        /// How many were given.
        total: usize,
        /// How many are durable.
        stored: usize,
        /// Why it stopped.
        source: Box<Error>,
    },
}

/// Why a job was refused when it entered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJob {
    /// Not JSON.
    #[error("the payload is not JSON ({0}); send one JSON value")]
    NotJson(String),
    /// The payload's type could not be turned into JSON.
    #[error("the payload cannot be written as JSON ({0})")]
    NotSerializable(String),
    /// Nested too deep.
    #[error("the payload is nested deeper than {max} levels; flatten it")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// Too large.
    #[error(
        "the payload has {bytes} bytes and the limit is {max}; store the data elsewhere and send its address"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A NUL character in a string.
    #[error(
        "{what} contains a NUL character, which not every store can keep; remove it or encode it"
    )]
    Nul {
        /// Where.
        what: &'static str,
    },
    /// A name of a queue or type that is empty, too long, or has other characters.
    #[error("the {what} name \"{given}\" is not 1 to 128 characters of A-Z a-z 0-9 _ . : -")]
    Name {
        /// Of what.
        what: &'static str,
        /// The start of what was given.
        given: String,
    },
    /// A group, key or tag that is empty or too long.
    #[error("the {what} must have 1 to {max} bytes")]
    Text {
        /// Which.
        what: &'static str,
        /// The limit in bytes.
        max: usize,
    },
    /// Priority over 1000 (or below 0).
    #[error("the priority {0} is not within 0 to 1000 (lower runs first)")]
    Priority(i64),
    /// No attempt, or too many.
    #[error("max_attempts {0} is not within 1 to 1000")]
    MaxAttempts(i64),
    /// A timeout of zero, or too long.
    #[error("the timeout {0} is not within 1 ms and 30 days")]
    Timeout(String),
    /// A time outside 1970 to 9999, or not RFC 3339.
    #[error("\"{given}\" is not a time between 1970 and 9999 in RFC 3339 (2026-12-31T23:59:59Z)")]
    Time {
        /// What was given.
        given: String,
    },
    /// Not a UUID.
    #[error("\"{given}\" is not a job id (a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057)")]
    Id {
        /// What was given.
        given: String,
    },
    /// More tags than a job can have.
    #[error("it has {given} tags and the limit is {max}")]
    Tags {
        /// How many.
        given: usize,
        /// The limit.
        max: usize,
    },
    /// Middleware of the client does not want it.
    #[error("it was refused: {0}")]
    Refused(String),
    /// Not a W3C `traceparent`.
    #[error("\"{given}\" is not a W3C traceparent (00-<32 hex>-<16 hex>-<2 hex>)")]
    TraceParent {
        /// What was given.
        given: String,
    },
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL names no store.
    #[error("open the store \"{url}\": {reason}")]
    Url {
        /// What was given, without secrets.
        url: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The file cannot be the store.
    #[error("open the store {}: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A backup could not be written or used.
    #[error("{verb} the backup {}: {reason}", path.display())]
    Backup {
        /// "write" or "restore".
        verb: &'static str,
        /// The backup.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Written by a newer version.
    #[error(
        "open the store: its schema is version {found}, newer than {known} of this program; upgrade dutiful here"
    )]
    Newer {
        /// What the store has.
        found: i64,
        /// What this program knows.
        known: i64,
    },
    /// Somebody else holds the write lock.
    #[error(
        "write to the store: another connection has held its write lock for {waited:?}; if that is your own open transaction, enqueue with .within(&tx)"
    )]
    Busy {
        /// How long we waited.
        waited: Duration,
    },
    /// No space left; running work goes on and writes are tried again.
    #[error("write to the store: no space is left for it; free some, nothing acknowledged is lost")]
    Full,
    /// The store cannot be written.
    #[error("write to the store: {0}")]
    ReadOnly(String),
    /// Input or output failed.
    #[error("reach the store: {0}")]
    Unavailable(String),
    /// The server does not let us in, or not do this: user, password, rights, database, version.
    #[error("be let into the store: {0}")]
    Refused(String),
    /// Its tables are missing, older than this program needs, or not as they were made.
    #[error("find the store's tables: {0}")]
    Schema(String),
    /// Its contents contradict themselves.
    #[error("trust the store: {0}; restore a backup, or ask `PRAGMA integrity_check`")]
    Corrupt(String),
    /// No answer in time: it may have happened or not; the same call with the same ids is harmless.
    #[error("hear from the store within {0:?}; it may have been done: ask again with the same id")]
    Timeout(Duration),
    /// A transaction of another file or database was handed in.
    #[error("use this transaction: it belongs to {theirs}, and the store is {ours}")]
    Elsewhere {
        /// Where the transaction is.
        theirs: String,
        /// Where the store is.
        ours: String,
    },
    /// The caller's own transaction did not take it: see what it says to do.
    #[error("write in this transaction: {0}")]
    Transaction(String),
    /// The attempt is no longer the worker's.
    #[error("write about attempt {0}: its lease was lost")]
    LeaseLost(Fence),
    /// The process was forked after the store was opened.
    #[error("use a store that was opened before fork(): connect again in the child process")]
    Forked,
    /// Another process leads now.
    #[error("do the leader's work: another process leads since term {0}")]
    NotLeader(i64),
    /// This store cannot do this at all.
    #[error("{what} on {store}: it cannot do that; {advice}")]
    Unsupported {
        /// What was asked.
        what: &'static str,
        /// Of which store.
        store: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// A panic in the store's own code; what it was about was rolled back, the store goes on.
    #[error("use the store: a mistake in its code was caught ({0}); please report it")]
    Mistake(String),
    /// The caller's own transaction began with a read, and cannot write any more.
    #[error(
        "write in this transaction: another connection has written since it began, or is writing; begin it with TransactionBehavior::Immediate and run it again"
    )]
    Stale,
    /// The store was closed.
    #[error("use the store: it is closed")]
    Closed,
    /// A planned failure, for tests.
    #[error("reach the store: planned fault ({0})")]
    Planned(&'static str),
}

impl StoreError {
    /// True when the same call may succeed later without anybody changing it.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Full
                | Self::Unavailable(_)
                | Self::ReadOnly(_)
                | Self::Refused(_)
                | Self::Schema(_)
                | Self::Timeout(_)
                | Self::Planned(_)
        )
    }
}
