//! The Postgres store's connections on real servers: woken, refused, lost, pooled, encrypted; and
//! who makes its schema, with which rights.

mod answers;
mod bell;
mod lost;
mod pooled;
mod refused;
mod rights;
mod schema;
mod secure;

use std::future::Future;
use std::time::Duration;

pub(crate) use dutiful::{Client, Error, NewJob, StoreError};
pub(crate) use dutiful_fixture::{Postgres, Version};

/// What a test comes to.
pub(crate) type Kept = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take before it counts as hung.
pub(crate) const HUNG: Duration = Duration::from_secs(60);

/// Returns the server that tests share which do not harm it.
pub(crate) fn server() -> &'static Postgres {
    Postgres::shared(Version::System).expect("a server for tests")
}

/// Returns the URL of an empty database.
pub(crate) fn database() -> String {
    server().fresh_database().expect("an empty database")
}

/// Connects, and makes the schema where there is none.
pub(crate) async fn client(url: &str) -> Client {
    Client::builder().migrate(true).connect(url).await.expect("the store opens")
}

/// Connects to the database past the store.
pub(crate) async fn raw(url: &str) -> tokio_postgres::Client {
    let plain = url.split('?').next().expect("a URL");
    let connected = tokio_postgres::connect(plain, tokio_postgres::NoTls).await;
    let (client, connection) = connected.expect("a connection past the store");
    tokio::spawn(connection);
    client
}

/// Fails a test that hangs.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HUNG, what).await.expect("it hangs")
}

/// Asks again until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    let asking = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(asking).await;
}

/// Enqueues a job of no special kind.
pub(crate) async fn put(client: &Client) -> Result<(), Error> {
    client.enqueue_raw("task", "{}").await.map(drop)
}

/// Enqueues until it works; what fails until then must be trouble that passes.
pub(crate) async fn put_when_healed(client: &Client) {
    until(async || match put(client).await {
        Ok(()) => true,
        Err(Error::Store(error)) => {
            assert!(error.is_passing(), "{error}");
            false
        }
        Err(error) => panic!("failed to {error}"),
    })
    .await;
}

/// Ends every connection of the store to its database, and waits until they are gone.
pub(crate) async fn end_connections(url: &str) {
    let raw = raw(url).await;
    let (end, left) = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid = ANY ($1)",
    );
    let pids = "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let pids: Vec<i32> =
        raw.query(pids, &[]).await.expect("pids").iter().map(|row| row.get(0)).collect();
    assert!(!pids.is_empty(), "the store has connections");
    raw.query(end, &[]).await.expect("they are ended");
    until(async || raw.query_one(left, &[&pids]).await.expect("a count").get::<_, i64>(0) == 0)
        .await;
}
