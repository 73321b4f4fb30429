//! A URL becomes a store.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::StoreError;
use crate::inspect::Restored;
use crate::store::Store;

/// Opens the store that the URL names; blocking work happens on a thread of its own.
pub(crate) async fn connect(
    url: &str,
    clock: Clock,
    must_exist: bool,
) -> Result<Arc<dyn Store>, StoreError> {
    let (scheme, _) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let url = url.to_owned();
            let open = move || match must_exist {
                true => super::sqlite::SqliteStore::open_existing(&url, clock),
                false => super::sqlite::SqliteStore::open(&url, clock),
            };
            Ok(Arc::new(apart("dutiful-open", open).await?))
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let store = super::postgres::PostgresStore::open(url, clock).await?;
            if !must_exist {
                store.migrate_newest().await?;
            }
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
        _ => Err(unknown(url)),
    }
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
fn redact(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            format!("{}…{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}
