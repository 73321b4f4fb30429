//! What the spawned processes are: producers that enqueue, workers that run, each with its ledger.

mod counter;
mod database;
mod producer;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use dutiful::JobId;
use serde::{Deserialize, Serialize};

use crate::final_state::is_postgres;
use crate::ledger::{END_COMPLETED, END_COUNTED, END_DEAD};

pub use self::counter::make_counter;
pub use self::producer::produce;
pub use self::worker::work;

/// The queue of all jobs here.
pub const QUEUE: &str = "trust";
/// Most ends by failure that a job asks for; it is dead only when it asks for that.
const MAX_ATTEMPTS: i64 = 10;
/// Where jobs kill who runs them, each may do so this often.
pub const CRASHES_MAX: u32 = 3;
/// The types of the jobs that kill who runs them.
pub const POISONS: [&str; 2] = ["abort", "overflow"];

/// Which jobs a campaign is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Mix {
    /// Short jobs; some fail at first, some give up.
    Work,
    /// Jobs that raise the counter in the transaction that completes them.
    Count,
    /// Both, half and half.
    WorkAndCount,
    /// Long jobs that can be cancelled, and some that will not listen.
    Linger,
    /// Jobs of random length up to [`Shape::longest`].
    Random,
    /// The same, short; among them stand the driver's own that kill who runs them.
    Poison,
}

impl Mix {
    /// Producers wait while more jobs than this are in the queue: what is left at the end must be
    /// done in seconds.
    fn backlog_max(self) -> u64 {
        match self {
            Self::Work => 3000,
            Self::Count | Self::WorkAndCount => 800,
            Self::Linger | Self::Random | Self::Poison => 100,
        }
    }

    /// Stalls in a row after which a job is dead; 0 is never.
    fn crashes_max(self) -> u32 {
        if self == Self::Poison { CRASHES_MAX } else { 0 }
    }

    /// Most jobs in one enqueue.
    fn batch_max(self) -> usize {
        match self {
            Self::Work | Self::Count | Self::WorkAndCount | Self::Poison => 50,
            Self::Linger | Self::Random => 8,
        }
    }
}

/// What a process needs to know.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The store.
    pub store: String,
    /// The folder of the ledgers.
    pub dir: PathBuf,
    /// Which jobs.
    pub mix: Mix,
    /// Slots of a worker.
    pub slots: usize,
    /// The lease.
    pub lease: Duration,
    /// The grace of a worker that is asked to end.
    pub grace: Duration,
    /// The longest job.
    pub longest: Duration,
    /// The seed of this process.
    pub seed: u64,
}

/// A job's payload: what its handler has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Errand {
    /// How long it takes.
    pub ms: u64,
    /// It fails so many times before it succeeds.
    pub fails: u32,
    /// It asks once for a later run.
    pub snoozes: bool,
    /// It gives up.
    pub gives_up: bool,
    /// It raises the counter in the transaction that completes it.
    pub counts: bool,
}

impl Errand {
    /// Returns the type and the errand of a job: they follow from its id, so that a producer that
    /// repeats what another was killed over sends the same.
    pub fn of(id: JobId, shape: &Shape) -> (&'static str, Self) {
        let mut seed = [0; 8];
        seed.copy_from_slice(&id.as_bytes()[8..]);
        let mut rng = fastrand::Rng::with_seed(u64::from_le_bytes(seed));
        let longest = shape.longest.as_millis() as u64;
        let plain = Self { ms: rng.u64(0..=longest), ..Self::short() };
        let counts = match shape.mix {
            Mix::Count => true,
            Mix::WorkAndCount => rng.bool(),
            _ => false,
        };
        match shape.mix {
            Mix::Random => ("linger", plain),
            Mix::Poison => ("work", plain),
            Mix::Linger if rng.u8(0..10) < 3 => ("stubborn", plain),
            Mix::Linger => ("linger", plain),
            // With a file a transaction cannot cross an await.
            _ if counts && is_postgres(&shape.store) && rng.bool() => {
                ("count_async", Self { counts, ..plain })
            }
            _ if counts => ("count", Self { counts, ..plain }),
            Mix::Work | Mix::Count | Mix::WorkAndCount => {
                let fails = if rng.u8(0..100) < 3 { rng.u32(1..=3) } else { 0 };
                let gives_up = rng.u8(0..100) == 0;
                ("work", Self { fails, gives_up, snoozes: rng.u8(0..100) < 2, ..plain })
            }
        }
    }

    /// Returns an errand without any trouble or length.
    pub fn short() -> Self {
        Self { ms: 0, fails: 0, snoozes: false, gives_up: false, counts: false }
    }

    /// Returns how many failures it will be charged, for the ledger.
    pub fn failures(self) -> i64 {
        if self.gives_up { i64::from(self.fails) + 1 } else { i64::from(self.fails) }
    }

    /// Returns how the job has to end, for the ledger.
    pub fn end(self) -> u32 {
        match self {
            Self { gives_up: true, .. } => END_DEAD,
            Self { counts: true, .. } => END_COUNTED,
            _ => END_COMPLETED,
        }
    }

    /// Returns the payload.
    pub fn payload(self) -> Vec<u8> {
        serde_json::to_vec(&self).expect("numbers and booleans always serialize")
    }
}

/// Makes this process die with the driver, so that a killed campaign leaves nothing behind, nor
/// does one that dies by itself leave its memory.
fn die_with_the_driver() -> anyhow::Result<()> {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none)?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}
