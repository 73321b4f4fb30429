//! A URL becomes a store.

use std::sync::Arc;

use crate::clock::Clock;
use crate::error::StoreError;
use crate::store::Store;

/// Opens the store that the URL names; blocking work happens on a thread of its own.
pub(crate) async fn connect(url: &str, clock: Clock) -> Result<Arc<dyn Store>, StoreError> {
    let (scheme, _) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let (to, opened) = tokio::sync::oneshot::channel();
            let url = url.to_owned();
            let open = move || super::sqlite::SqliteStore::open(&url, clock);
            std::thread::Builder::new()
                .name("dutiful-open".into())
                // A caller that went away no longer wants the store.
                .spawn(move || drop(to.send(open())))
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let store = opened.await.unwrap_or(Err(StoreError::Closed))?;
            Ok(Arc::new(store))
        }
        _ => Err(StoreError::Url {
            url: redact(url),
            reason: "its scheme is unknown here; write sqlite:jobs.db for an embedded file".into(),
        }),
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
