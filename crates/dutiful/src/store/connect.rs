//! A URL becomes a store.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::StoreError;
use crate::inspect::Restored;
use crate::store::Store;

/// How a store is opened that is not there yet, or whose schema is older than this program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Opening {
    /// Refuse a place where no store is.
    pub(crate) must_exist: bool,
    /// Bring the schema of a server's store to the newest version.
    pub(crate) migrate: bool,
    /// Take the schema of a server's store as it is, or is not.
    pub(crate) as_it_is: bool,
    /// Versions of a server's schema, (up, down), that follow the newest one of this program.
    pub(crate) further: &'static [(&'static str, &'static str)],
}

/// Opens the store that the URL names; blocking work happens on a thread of its own.
pub(crate) async fn connect(
    url: &str,
    clock: Clock,
    opening: Opening,
) -> Result<Arc<dyn Store>, StoreError> {
    let (scheme, _) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let url = url.to_owned();
            let open = move || match opening.must_exist {
                true => super::sqlite::SqliteStore::open_existing(&url, clock),
                false => super::sqlite::SqliteStore::open(&url, clock),
            };
            Ok(Arc::new(apart("dutiful-open", open).await?))
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            use super::postgres::Preparation;
            let store = super::postgres::PostgresStore::open(url, clock, opening.further).await?;
            store
                .prepare(match opening {
                    Opening { as_it_is: true, .. } => Preparation::Leave,
                    Opening { migrate: true, must_exist: false, .. } => Preparation::Migrate,
                    _ => Preparation::Check,
                })
                .await?;
            Ok(Arc::new(store))
        }
        _ => Err(unknown(url)),
    }
}

/// Puts a backup in the place that the URL names.
pub(crate) async fn restore(
    url: &str,
    backup: PathBuf,
    over: bool,
    clock: Clock,
) -> Result<Restored, StoreError> {
    let (scheme, _) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let url = url.to_owned();
            let restore = move || super::sqlite::restore(&url, &backup, over, &clock);
            apart("dutiful-restore", restore).await
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Err(super::postgres::no_restore()),
        _ => {
            let _ = (backup, over, clock);
            Err(unknown(url))
        }
    }
}

/// Returns the SQL that brings the schema of a server's store from one version to another.
pub(crate) fn migration_sql(url: &str, from: i64, to: Option<i64>) -> Result<String, StoreError> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => super::postgres::migration_sql(url, from, to),
        _ => {
            let _ = (from, to);
            Err(no_sql(url))
        }
    }
}

/// Returns the SQL that makes the roles of a server's store.
pub(crate) fn roles_sql(url: &str) -> Result<String, StoreError> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => super::postgres::roles_sql(url),
        _ => Err(no_sql(url)),
    }
}

fn no_sql(url: &str) -> StoreError {
    let reason = "only a store in Postgres is migrated by SQL of one's own; write postgres://…";
    StoreError::Url { url: redact(url), reason: reason.into() }
}

/// Does blocking work on a thread of its own; it is done to its end even if the caller goes away.
pub(super) async fn apart<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (to, done) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        // A caller that went away no longer wants the answer.
        .spawn(move || drop(to.send(work())))
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    done.await.unwrap_or(Err(StoreError::Closed))
}

fn unknown(url: &str) -> StoreError {
    StoreError::Url {
        url: redact(url),
        reason: "its scheme is unknown here; write sqlite:jobs.db for an embedded file".into(),
    }
}

/// Returns a URL without the password in it.
pub(super) fn redact(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            format!("{}…{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}
