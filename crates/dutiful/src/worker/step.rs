//! A worker that does one thing at a time when it is told to, for tests: no thread, no poll, no
//! wait. It claims, runs and writes by the same code as a running one.

use std::sync::Arc;
use std::time::Instant;

use super::engine::{Buffered, Engine, Held, lock};
use super::{Worker, execute, finish};
use crate::clock::BootTime;
use crate::error::Error;
use crate::id::Fence;
use crate::job::Delivery;
use crate::store::{ClaimRequest, Lane};

/// A worker in single steps.
pub(crate) struct Step(Arc<Engine>);

impl Step {
    /// Puts a worker together and presents it to the store, without starting it.
    pub(crate) async fn new<A: Send + Sync + 'static>(worker: Worker<A>) -> Result<Self, Error> {
        let engine = worker.into_engine()?;
        super::guard::install_hook();
        engine.register().await?;
        Ok(Self(engine))
    }

    /// Claims one due job, runs its handler to the end, and writes how it ended. Returns its fence,
    /// or `None` when nothing is due.
    pub(crate) async fn run_one(&self) -> Result<Option<Fence>, Error> {
        let engine = &self.0;
        let lane = |queue| Lane { queue, limit: 1, at_most_once: 1 };
        let ask = ClaimRequest {
            worker: engine.worker,
            lanes: engine.pools.iter().map(|pool| lane(pool.queue.clone())).collect(),
            types: engine.types.clone(),
            lease: engine.settings.lease,
            limit: 1,
            bytes: usize::MAX,
            crashed: 1,
        };
        // An end that a user's transaction kept from being written last time.
        finish::write_now(engine).await?;
        let renewed = BootTime::now();
        let Some(job) = engine.store().claim(ask).await?.pop() else { return Ok(None) };
        let fence = job.fence;
        if job.delivery == Delivery::AtLeastOnce {
            let one = Held { fence, renewed, crashed: job.crashes > 0, attempt: None };
            lock(&engine.held).insert(fence.id, one);
        }
        let at = engine.pool_of(&job.queue);
        let next = Buffered { job, since: Instant::now() };
        execute::run_one(engine, &engine.pools[at], next).await;
        finish::write_now(engine).await?;
        Ok(Some(fence))
    }
}
