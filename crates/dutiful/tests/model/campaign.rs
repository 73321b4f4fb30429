//! Runs many histories, each from a seed of its own; shrinks and prints the one that fails.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Runtime;

use crate::histories::any_history;
use crate::steps::{Step, as_rust};
use crate::{compare, kept};

/// Steps of a history, on average.
const STEPS: usize = 55;
/// Threads that share the histories of a store.
const THREADS: u64 = 2;
/// The first seed of the normal run.
const SEED: u64 = 20_261_123;
/// Most runs that shrinking may take.
const SHRINKS_MAX: u32 = 4000;
/// How long a history may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);
/// So many histories must have been everywhere.
const ENOUGH: u64 = 1000;

/// What a history comes to.
pub(crate) type Lived = Result<(), String>;

/// Runs so many histories, or as many as the environment asks for.
pub(crate) fn campaign<F: Future<Output = Lived>>(
    live: impl Fn(Vec<Step>) -> F + Sync,
    histories: u64,
) {
    let asked = |name| std::env::var(name).ok().map(|n| n.parse().expect("a number"));
    let asked_for: Option<u64> = asked("DUTIFUL_MODEL_HISTORIES");
    let seed = asked("DUTIFUL_MODEL_SEED").unwrap_or_else(|| match asked_for {
        Some(_) => fastrand::u64(..1 << 48),
        None => SEED,
    });
    let histories = asked_for.unwrap_or(histories);
    let share = |thread: u64| {
        let runtime = runtime();
        let mut mine = (0..histories).filter(|n| n % THREADS == thread);
        mine.try_for_each(|n| one_history(&|steps| once(&runtime, &live, steps), seed + n))
    };
    let share = &share;
    let lived: Vec<Lived> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || share(n))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a panic is caught")).collect()
    });
    if let Some(why) = lived.into_iter().find_map(Result::err) {
        panic!("{why}");
    }
    if histories >= ENOUGH {
        compare::has_met_everything();
    }
}

/// Runs the kept histories.
pub(crate) fn keep<F: Future<Output = Lived>>(live: impl Fn(Vec<Step>) -> F) {
    let runtime = runtime();
    for (promise, steps) in kept::all() {
        if let Err(why) = once(&runtime, &live, steps) {
            panic!("{promise}: {why}");
        }
    }
}

/// Runs one history; a panic or a standstill is a failure like others.
fn once<F: Future<Output = Lived>>(
    runtime: &Runtime,
    live: impl Fn(Vec<Step>) -> F,
    steps: Vec<Step>,
) -> Lived {
    let lived = || runtime.block_on(async { tokio::time::timeout(HUNG, live(steps)).await });
    match catch_unwind(AssertUnwindSafe(lived)) {
        Ok(Ok(lived)) => lived,
        Ok(Err(_)) => Err(format!("hung for {HUNG:?}")),
        Err(panic) => Err(format!("a panic: {}", words(&*panic))),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_default()
}

/// Runs the history of a seed; shrinks and prints it when the store differs from the model.
fn one_history(live: &impl Fn(Vec<Step>) -> Lived, seed: u64) -> Lived {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let luck = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases: 1,
        max_shrink_iters: SHRINKS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let run = |steps| live(steps).map_err(TestCaseError::fail);
    match TestRunner::new_with_rng(config, luck).run(&any_history(STEPS), run) {
        Ok(()) => Ok(()),
        Err(TestError::Fail(_, steps)) => {
            let (steps, why) = sift(steps, live);
            let steps = as_rust(&steps);
            let again = format!("DUTIFUL_MODEL_SEED={seed} DUTIFUL_MODEL_HISTORIES=1");
            Err(format!("{why}\n\nafter these steps (for `kept.rs`):\n\n{steps}\nAgain: {again}\n"))
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

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread")
}
