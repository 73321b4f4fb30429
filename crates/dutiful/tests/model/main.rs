//! Random histories of every verb, on a store and on a pure model in lock step.
//!
//! The model (`spec/`) is the written definition of each verb; a history is a list of verbs and of
//! time that passes (`steps.rs`), drawn by chance (`chance.rs`, `histories.rs`); `lockstep.rs` runs
//! it on both, and `compare.rs` compares each answer. One that shows a difference is shrunk and
//! printed as Rust. It stays as a test in `kept.rs` when the store was wrong; when the model was,
//! mend the model.
//!
//! The normal run is the same on every machine. For a campaign with other histories, or to see one
//! again, give a number of histories or a seed (it is printed with a failure):
//!
//! ```sh
//! DUTIFUL_MODEL_HISTORIES=100000 cargo test -p dutiful --all-features --test model
//! DUTIFUL_MODEL_SEED=7 DUTIFUL_MODEL_HISTORIES=1 cargo test -p dutiful --all-features --test model
//! ```
#![cfg(feature = "sqlite")]

mod campaign;
mod chance;
mod compare;
mod histories;
mod kept;
mod lockstep;
mod meaning;
mod spec;
mod steps;

use std::future::Future;
use std::sync::Arc;

use campaign::Lived;
use dutiful::store::Store;
use dutiful::{Client, Clock};
use lockstep::Lockstep;
use steps::Step;

/// Runs all of it on each of these stores: name, how it opens, whether all of it holds small steps
/// back of its clock, and how many histories the normal run has.
macro_rules! stores {
    ($($store:ident: $open:path, $holds_small_steps:literal, $histories:literal;)*) => {$(
        mod $store {
            #[test]
            fn every_verb_does_what_the_model_says() {
                let live = |steps| crate::live($open, $holds_small_steps, steps);
                crate::campaign::campaign(live, $histories);
            }

            #[test]
            fn histories_that_once_went_wrong_go_right() {
                crate::campaign::keep(|steps| crate::live($open, $holds_small_steps, steps));
            }
        }
    )*};
}

stores! {
    memory: crate::memory, true, 2000;
    file: crate::file, false, 100;
    postgres: crate::postgres, false, 200;
}

async fn memory(clock: Clock) -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    (connect("sqlite::memory:", clock).await, None)
}

async fn file(clock: Clock) -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    (connect(&url, clock).await, Some(dir))
}

/// A schema of its own on a server that all histories share.
async fn postgres(clock: Clock) -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    let server = dutiful_fixture::Postgres::shared(dutiful_fixture::Version::System)
        .expect("a private server starts");
    let schema = dutiful::JobId::new().to_string().replace('-', "");
    let url = format!("{}?schema=t{schema}", server.url("postgres"));
    (connect(&url, clock).await, None)
}

async fn connect(url: &str, clock: Clock) -> Arc<dyn Store> {
    let client =
        Client::builder().clock(clock).migrate(true).connect(url).await.expect("the store opens");
    client.store().clone()
}

/// Runs one history on a new store.
async fn live<F>(open: fn(Clock) -> F, holds_small_steps: bool, steps: Vec<Step>) -> Lived
where
    F: Future<Output = (Arc<dyn Store>, Option<tempfile::TempDir>)>,
{
    let clock = Clock::manual(lockstep::START);
    let (store, _dir) = open(clock.clone()).await;
    let lived = Lockstep::new(store.clone(), clock, holds_small_steps).run(&steps).await;
    store.close().await.expect("the store closes");
    lived
}
