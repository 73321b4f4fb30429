//! Random histories of every verb, on a store and on a pure model in lock step.
//!
//! The model (`spec/`) is the written definition of each verb; a history (`steps.rs`) is a list of
//! verbs and of time that passes; `lockstep.rs` runs it on both and compares each answer. One that
//! shows a difference is shrunk and printed as Rust. It stays as a test in `kept.rs` when the store
//! was wrong; when the model was, mend the model.
//!
//! The normal run is the same on every machine. For a campaign with other histories, or to see one
//! again, give a number of histories or a seed (it is printed with a failure):
//!
//! ```sh
//! DUTIFUL_MODEL_HISTORIES=100000 cargo test -p dutiful --all-features --test model
//! DUTIFUL_MODEL_SEED=7 DUTIFUL_MODEL_HISTORIES=1 cargo test -p dutiful --all-features --test model
//! ```

mod compare;
mod kept;
mod lockstep;
mod spec;
mod steps;

use std::future::Future;
use std::sync::Arc;

use dutiful::store::Store;
use dutiful::{Client, Clock};
use lockstep::Lockstep;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use steps::{Step, any_step};

/// Most steps of a history; half as many on average, and any number while it shrinks.
const STEPS_MAX: usize = 100;
/// Threads that share the histories of a store.
const THREADS: u64 = 2;
/// The first seed of the normal run.
const SEED: u64 = 20_261_123;
/// Most runs that shrinking may take.
const SHRINKS_MAX: u32 = 4000;

/// Runs all of it on each of these stores: name, how it opens, whether all of it holds small steps
/// back of its clock, and how many histories the normal run has.
macro_rules! stores {
    ($($store:ident: $open:path, $holds_small_steps:literal, $histories:literal;)*) => {$(
        mod $store {
            #[test]
            fn every_verb_does_what_the_model_says() {
                crate::campaign(|steps| crate::live($open, $holds_small_steps, steps), $histories);
            }

            #[test]
            fn histories_that_once_went_wrong_go_right() {
                crate::keep(|steps| crate::live($open, $holds_small_steps, steps));
            }
        }
    )*};
}

stores! {
    memory: crate::memory, true, 2000;
    file: crate::file, false, 100;
}

/// What a history comes to.
type Lived = Result<(), String>;

async fn memory(clock: Clock) -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    (connect("sqlite::memory:", clock).await, None)
}

async fn file(clock: Clock) -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("jobs.db").display());
    (connect(&url, clock).await, Some(dir))
}

async fn connect(url: &str, clock: Clock) -> Arc<dyn Store> {
    let client = Client::builder().clock(clock).connect(url).await.expect("the store opens");
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

/// Runs so many histories, or as many as the environment asks for.
fn campaign<F: Future<Output = Lived>>(live: impl Fn(Vec<Step>) -> F + Sync, histories: u64) {
    let asked = |name| std::env::var(name).ok().map(|n| n.parse().expect("a number"));
    let asked_for: Option<u64> = asked("DUTIFUL_MODEL_HISTORIES");
    let seed = asked("DUTIFUL_MODEL_SEED").unwrap_or_else(|| match asked_for {
        Some(_) => fastrand::u64(..1 << 48),
        None => SEED,
    });
    let histories = asked_for.unwrap_or(histories);
    let share = |thread: u64| {
        let (runtime, live) = (runtime(), &live);
        let mut mine = (0..histories).filter(|n| n % THREADS == thread);
        mine.try_for_each(|n| one_history(&runtime, live, seed + n))
    };
    let lived: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || share(n))).collect();
        threads.into_iter().map(|thread| thread.join().expect("panics are failures")).collect()
    });
    if let Some(why) = lived.into_iter().find_map(Result::err) {
        panic!("{why}");
    }
}

/// Runs the history of a seed; shrinks and prints it when the store differs from the model.
fn one_history<F: Future<Output = Lived>>(
    runtime: &tokio::runtime::Runtime,
    live: impl Fn(Vec<Step>) -> F,
    seed: u64,
) -> Lived {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let luck = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases: 1,
        max_shrink_iters: SHRINKS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let history = proptest::collection::vec(any_step(), 0..=STEPS_MAX);
    let run = |steps| runtime.block_on(live(steps)).map_err(TestCaseError::fail);
    match TestRunner::new_with_rng(config, luck).run(&history, run) {
        Ok(()) => Ok(()),
        Err(TestError::Fail(_, steps)) => {
            let (steps, why) = sift(steps, |steps| runtime.block_on(live(steps)));
            Err(format!(
                "{why}\n\nafter these steps (for `kept.rs`):\n\n{}\nAgain: DUTIFUL_MODEL_SEED={seed} \
             DUTIFUL_MODEL_HISTORIES=1\n",
                steps::as_rust(&steps)
            ))
        }
        Err(abort) => Err(format!("seed {seed}: {abort}")),
    }
}

/// Takes steps away as long as the rest still fails: shrinking tries each only once.
fn sift(mut steps: Vec<Step>, live: impl Fn(Vec<Step>) -> Lived) -> (Vec<Step>, String) {
    let mut why = live(steps.clone()).err().unwrap_or_else(|| "it went right again".into());
    let mut n = steps.len();
    while n > 0 {
        n -= 1;
        let mut fewer = steps.clone();
        fewer.remove(n);
        if let Err(still) = live(fewer.clone()) {
            (steps, why) = (fewer, still);
            n = steps.len();
        }
    }
    (steps, why)
}

/// Runs the kept histories.
fn keep<F: Future<Output = Lived>>(live: impl Fn(Vec<Step>) -> F) {
    let runtime = runtime();
    for (promise, steps) in kept::all() {
        if let Err(why) = runtime.block_on(live(steps)) {
            panic!("{promise}: {why}");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread")
}
