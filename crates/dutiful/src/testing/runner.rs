//! A worker that runs one job at a time when a test tells it to.

use std::time::Duration;

use super::Lab;
use crate::error::Error;
use crate::id::JobId;
use crate::inspect::{AttemptOutcome, JobInfo};
use crate::worker::{Step, Worker};

/// After so many runs a drain counts as endless.
pub const RUNS_MAX: usize = 10_000;

/// A worker in single steps. Its leases are never renewed and cancel requests are not heard: a test
/// of those runs the worker itself.
pub struct Runner<'a> {
    lab: &'a Lab,
    step: Step,
}

/// An attempt that was run, and the job as it stands after it.
#[derive(Debug)]
pub struct Ran {
    /// Which job.
    pub id: JobId,
    /// The number of the attempt.
    pub attempt: u32,
    /// How it ended. [`AttemptOutcome::Running`] when its end could not be written, or was refused
    /// because another attempt runs.
    pub outcome: AttemptOutcome,
    /// The job after it.
    pub job: JobInfo,
}

impl<'a> Runner<'a> {
    pub(super) async fn new<A: Send + Sync + 'static>(
        lab: &'a Lab,
        worker: Worker<A>,
    ) -> Result<Self, Error> {
        Ok(Self { lab, step: Step::new(worker).await? })
    }

    /// Claims one due job, runs its handler to the end and writes how it ended; `None` when nothing
    /// is due.
    ///
    /// # Errors
    /// What the store says at the claim or at the finish: a planned fault, for one.
    pub async fn try_run_one(&self) -> Result<Option<Ran>, Error> {
        let mut ran = self.step.run_one().await?;
        if ran.is_none() {
            // What is to run again without a wait became due just now.
            self.lab.upkeep().await;
            ran = self.step.run_one().await?;
        }
        let Some(fence) = ran else { return Ok(None) };
        let job = self.lab.job(fence.id).await;
        let mine = job.attempts.iter().find(|one| one.number == fence.attempt);
        let outcome = mine.map_or(AttemptOutcome::Running, |one| one.outcome);
        Ok(Some(Ran { id: fence.id, attempt: fence.attempt, outcome, job }))
    }

    /// The same for tests that plan no faults.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn run_one(&self) -> Option<Ran> {
        match self.try_run_one().await {
            Ok(ran) => ran,
            Err(error) => panic!("failed to {error}"),
        }
    }

    /// Runs jobs until none is due, those that handlers enqueue too.
    ///
    /// # Panics
    /// When the store fails, or after [`RUNS_MAX`] runs.
    pub async fn drain(&self) -> Vec<Ran> {
        let mut all = Vec::new();
        self.drain_into(&mut all).await;
        all
    }

    /// Runs all that becomes due within a time, which passes in leaps from one due time to the
    /// next: retries, delays and snoozes, in their order.
    ///
    /// # Panics
    /// As [`Runner::drain`].
    pub async fn drain_for(&self, time: Duration) -> Vec<Ran> {
        let end = self.lab.clock().now().plus(time);
        let mut all = Vec::new();
        loop {
            self.drain_into(&mut all).await;
            let left = end.since(self.lab.clock().now());
            match self.lab.upkeep().await {
                Some(next) if next <= left && !left.is_zero() => {
                    self.lab.advance(next.max(Duration::from_micros(1))).await;
                }
                _ => {
                    self.lab.advance(left).await;
                    self.drain_into(&mut all).await;
                    return all;
                }
            }
        }
    }

    async fn drain_into(&self, all: &mut Vec<Ran>) {
        while let Some(ran) = self.run_one().await {
            all.push(ran);
            assert!(all.len() < RUNS_MAX, "{RUNS_MAX} runs, and still something is due");
        }
    }
}
