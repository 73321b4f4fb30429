//! The store in a Postgres database: the user's own, so that jobs and data commit together.

mod attempt;
mod change;
mod claim;
mod copy;
mod count;
mod doctor;
mod doorbell;
mod enqueue;
mod errors;
mod finish;
mod floors;
mod flush;
mod gather;
mod json;
mod kept;
mod list;
mod look;
mod migrate;
mod pooler;
mod presence;
mod rows;
mod server;
mod session;
mod statements;
mod target;
mod tls;
mod transaction;
mod unsure;
mod upkeep;
mod values;
mod verbs;
mod wire;
mod within;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::doorbell::Doorbell;
use self::errors::Trouble;
pub(crate) use self::migrate::{Preparation, Versions, migration_sql, roles_sql};
use self::statements::Statements;
use self::target::Target;
pub use self::transaction::{Asked, Transaction, TransactionError};
use self::wire::{Line, Wire};
pub use self::within::Answer;
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::store::{Facts, Reply};

/// Jobs in a schema of a Postgres database.
pub struct PostgresStore {
    db: Arc<Db>,
    facts: Facts,
    /// A store does not survive fork(): the child would share its sockets.
    pid: u32,
}

/// What every verb works with.
pub(super) struct Db {
    wire: Wire,
    statements: Statements,
    clock: Clock,
    /// Versions of the schema that only the program of a test knows.
    further: Versions,
    bell: Arc<Doorbell>,
    foreign: claim::ForeignLook,
    crowd: claim::Crowd,
    floors: floors::Floors,
    gathering: gather::Gathering,
    /// Whether we may have the server flush its log, once it was asked.
    flushes: AtomicBool,
    unsure: unsure::Unsure,
    me: std::sync::Weak<Db>,
    /// What tells our schema from others, once somebody asked.
    instance: std::sync::Mutex<Option<String>>,
}

impl PostgresStore {
    /// Connects to `postgres://…`. The schema is not touched: see [`PostgresStore::prepare`].
    ///
    /// # Errors
    /// [`StoreError::Url`] for a URL that is none; [`StoreError::Refused`] when the server says no;
    /// [`StoreError::Unavailable`] when there is none.
    pub(crate) async fn open(
        url: &str,
        clock: Clock,
        further: Versions,
    ) -> Result<Self, StoreError> {
        let target = Target::parse(url)?;
        let statements = Statements::new(&target.schema);
        let mut place = target.place();
        let wire = Wire::start(target)?;
        let db = Arc::new_cyclic(|me| Db {
            wire,
            statements,
            clock,
            further,
            bell: Doorbell::new(),
            foreign: claim::ForeignLook::default(),
            crowd: claim::Crowd::default(),
            floors: floors::Floors::default(),
            gathering: gather::Gathering::default(),
            flushes: AtomicBool::new(false),
            unsure: unsure::Unsure::default(),
            me: me.clone(),
            instance: std::sync::Mutex::default(),
        });
        let opened = db.clone();
        let seen = db.wire.run(async move { opened.look_at_server().await }).await?;
        if let Some(words) = db.wire.manner().words() {
            place = format!("{place}, {words}");
        }
        let facts =
            Facts { store: "postgres", version: seen.version, durability: seen.durability, place };
        Ok(Self { db, facts, pid: std::process::id() })
    }

    fn check_process(&self) -> Result<(), StoreError> {
        if std::process::id() == self.pid { Ok(()) } else { Err(StoreError::Forked) }
    }

    /// Runs work on the store's own thread. It is done to its end even if the caller goes away, so
    /// that nobody leaves half of it behind by dropping a future.
    fn run<T, F>(&self, work: impl FnOnce(Arc<Db>) -> F) -> Reply<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let asked = self.check_process().map(|()| self.db.wire.run(work(self.db.clone())));
        Box::pin(async move { asked?.await })
    }
}

/// What the server is.
struct Server {
    version: String,
    durability: String,
}

impl Db {
    /// The time that statements compare with: `None` lets the server ask its own clock.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.clock.is_manual().then(|| self.clock.now())
    }

    /// Says what keeps workers from being woken at once, for people.
    pub(super) fn warnings(&self) -> Vec<String> {
        let pooler = self.wire.manner().warning().map(str::to_owned);
        let deaf = self.bell.deaf().map(|why| {
            format!("workers are not woken by other processes and poll: could not {why}")
        });
        pooler.into_iter().chain(deaf).collect()
    }

    async fn look_at_server(&self) -> Result<Server, Trouble> {
        self.wire.settle(pooler::look(self.wire.target(), &self.statements).await?);
        let rows = self.query(Line::Look, "facts", "server", &[]).await?;
        let row = rows.first().ok_or(Trouble::Mistake("the server told nothing of itself"))?;
        let (version, fsync, commit): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        self.flushes.store(row.try_get(5)?, Ordering::Relaxed);
        Ok(Server { version, durability: format!("fsync={fsync}, synchronous_commit={commit}") })
    }
}

/// A server has its own way to bring a backup to life.
pub(crate) fn no_restore() -> StoreError {
    StoreError::Unsupported {
        what: "restore a backup",
        store: "postgres",
        advice: "stop all workers and use `pg_restore --dbname=DATABASE jobs.dump`",
    }
}
