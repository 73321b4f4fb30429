//! What a handler sees of its attempt: the application, the job's metadata, and the fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{Fence, JobId, Name, WorkerId};
use crate::job::Delivery;
use crate::notes::Notes;
use crate::outcome::{Decision, HandlerError, RESULT_BYTES_MAX, Result};
use crate::store::{End, Finish, Held, Note, Once, OnceRequest};
use crate::telemetry::{Correlation, Run};

/// How long a second caller of a remembered effect waits before it looks again.
const ONCE_TAKEN_WAIT: Duration = Duration::from_secs(1);

/// What a handler gets beside its job. Cheap to clone.
pub struct Context<A> {
    /// The application, as it was given to the worker.
    pub app: Arc<A>,
    pub(crate) attempt: Arc<Attempt>,
}

impl<A> Clone for Context<A> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), attempt: self.attempt.clone() }
    }
}

/// Why an attempt is to stop before its handler has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Stop {
    No = 0,
    /// Somebody cancelled the job.
    Cancelled = 1,
    /// The worker ends and gives it back.
    Released = 2,
    /// The lease is lost, or could not be renewed: nothing may be written.
    Lost = 3,
    /// Its time is over.
    TimedOut = 4,
}

/// One attempt while it runs, shared by its handler, its slot and the heartbeat.
pub(crate) struct Attempt {
    pub(crate) fence: Fence,
    pub(crate) job_type: Name,
    pub(crate) queue: Name,
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
    pub(crate) max_attempts: u32,
    pub(crate) timeout: Duration,
    pub(crate) delivery: Delivery,
    pub(crate) unique: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) correlation: Correlation,
    pub(crate) trace_parent: Option<Arc<str>>,
    pub(crate) group: Option<String>,
    pub(crate) worker: WorkerId,
    pub(crate) client: Client,
    pub(crate) runtime: tokio::runtime::Handle,
    /// In the store's time.
    pub(crate) started_at: Timestamp,
    pub(crate) started: Instant,
    pub(crate) waited: Duration,
    pub(crate) cancel: CancellationToken,
    pub(crate) stop: AtomicU8,
    /// Set by whoever ends the attempt first: its slot, or the heartbeat that gave up on it.
    pub(crate) ended: AtomicBool,
    /// `complete_within` wrote the completion, so the store says whether it was committed.
    pub(crate) within: AtomicBool,
    /// What its handler says of it.
    pub(crate) notes: Notes,
}

impl Attempt {
    pub(crate) fn run(&self) -> Run<'_> {
        Run { fence: self.fence, queue: &self.queue, job_type: &self.job_type }
    }

    /// Describes the end of this attempt for the store.
    pub(crate) fn describe(&self, ran: Duration, end: End) -> Finish {
        Finish {
            fence: self.fence,
            queue: self.queue.clone(),
            job_type: self.job_type.clone(),
            failures: self.failures,
            unique: self.unique,
            delivery: self.delivery,
            started_at: self.started_at,
            ran,
            waited: self.waited,
            end,
        }
    }

    /// Returns the store's time, as far as this process knows it.
    fn now(&self) -> Timestamp {
        self.started_at.plus(self.started.elapsed())
    }

    /// Asks the handler to stop; the first reason stays.
    pub(crate) fn ask_to_stop(&self, why: Stop) {
        let no = Stop::No as u8;
        let _ = self.stop.compare_exchange(no, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        self.cancel.cancel();
    }

    pub(crate) fn stopping(&self) -> Stop {
        match self.stop.load(Ordering::SeqCst) {
            1 => Stop::Cancelled,
            2 => Stop::Released,
            3 => Stop::Lost,
            4 => Stop::TimedOut,
            _ => Stop::No,
        }
    }

    /// True when the worker no longer counts on this attempt: nothing that it completes from now on
    /// would be told as completed.
    pub(crate) fn is_given_up(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.stopping() == Stop::Lost
    }

    /// True for the one caller that ends the attempt.
    pub(crate) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::SeqCst)
    }
}

impl<A> Context<A> {
    /// Returns the job's id.
    pub fn id(&self) -> JobId {
        self.attempt.fence.id
    }

    /// Returns the number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt.fence.attempt
    }

    /// Returns how many attempts ended by an error or timeout before this one.
    pub fn failures(&self) -> u32 {
        self.attempt.failures
    }

    /// Returns how many workers in a row died while they ran this job.
    pub fn crashes(&self) -> u32 {
        self.attempt.crashes
    }

    /// Returns after how many failures the job is dead.
    pub fn max_attempts(&self) -> u32 {
        self.attempt.max_attempts
    }

    /// Returns how long this attempt may run.
    pub fn timeout(&self) -> Duration {
        self.attempt.timeout
    }

    /// Returns which promise the job has.
    pub fn delivery(&self) -> Delivery {
        self.attempt.delivery
    }

    /// Returns the queue.
    pub fn queue(&self) -> &str {
        self.attempt.queue.as_str()
    }

    /// Returns the type.
    pub fn job_type(&self) -> &str {
        self.attempt.job_type.as_str()
    }

    /// Returns when the job was enqueued.
    pub fn created_at(&self) -> Timestamp {
        self.attempt.created_at
    }

    /// Returns the caller's correlation id, else the job's id.
    pub fn correlation_id(&self) -> String {
        self.attempt.correlation.to_string()
    }

    /// Returns the W3C trace context of the enqueue.
    pub fn trace_parent(&self) -> Option<&str> {
        self.attempt.trace_parent.as_deref()
    }

    /// Returns the group.
    pub fn group(&self) -> Option<&str> {
        self.attempt.group.as_deref()
    }

    /// Returns the fence of this attempt. Its `attempt` grows with every claim of the job, so an
    /// outside system can refuse writes with a smaller one.
    pub fn fence(&self) -> Fence {
        self.attempt.fence
    }

    /// Returns a key that is the same for every attempt of this job, for services that remember
    /// keys (payment, mail).
    pub fn idempotency_key(&self) -> String {
        self.attempt.fence.id.to_string()
    }

    /// Returns the client of the worker. Jobs enqueued in a handler inherit its correlation id.
    pub fn client(&self) -> &Client {
        &self.attempt.client
    }

    /// Resolves when the attempt is to stop: cancelled, out of time, its lease lost, or the worker
    /// ending. An async handler is dropped then; a blocking one should look now and then.
    pub async fn cancelled(&self) {
        self.attempt.cancel.cancelled().await;
    }

    /// True when the attempt is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.attempt.cancel.is_cancelled()
    }

    /// Says how far it has come, in percent, and what it is doing: others see it in the job within
    /// a second. The last word counts; it is a hint for people and costs no commit of its own.
    pub fn progress(&self, percent: u8, note: impl AsRef<str>) {
        self.attempt.notes.progress(percent, note.as_ref(), self.attempt.now());
    }

    /// Adds a line to the log of this attempt, which stays with the job. The last 200 lines of an
    /// attempt are kept, each up to 1 KiB; they are written twice a second and with the attempt's
    /// end, so a crash may take the last ones.
    pub fn log(&self, line: impl AsRef<str>) {
        self.attempt.notes.log(line.as_ref(), self.attempt.now());
    }

    /// Keeps data for the next attempt of this job, should this one not get to its end; durable
    /// when it answers. Each call replaces what was kept before. At most 64 KiB of JSON.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the job is no longer ours; [`Error::Store`]; data over the limit.
    pub async fn save_checkpoint<T: Serialize + Sync>(&self, data: &T) -> Result<()> {
        let fence = self.attempt.fence;
        let checkpoint = serde_json::to_vec(data)?;
        if checkpoint.len() > RESULT_BYTES_MAX {
            let size = checkpoint.len();
            return Err(HandlerError::msg(format!(
                "the checkpoint has {size} bytes and the limit is {RESULT_BYTES_MAX}"
            )));
        }
        let note = Note { fence, progress: None, checkpoint: Some(checkpoint), log: Vec::new() };
        match self.attempt.client.call(self.client().store().note(vec![note])).await?.first() {
            Some(Held::Yes) => Ok(()),
            _ => Err(Error::LeaseLost(fence).into()),
        }
    }

    /// Returns what an attempt of this job kept last, or `None`.
    ///
    /// # Errors
    /// [`Error::Store`]; data of another type, such as an older version of the program kept.
    pub async fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let job = self.client().job(self.id()).await?;
        let kept = job.and_then(|job| job.checkpoint);
        Ok(kept.map(|json| serde_json::from_str(json.get())).transpose()?)
    }

    /// Waits for a future from a blocking handler. Not to be called from async code.
    pub fn wait<F: IntoFuture>(&self, future: F) -> F::Output {
        self.attempt.runtime.block_on(async { future.into_future().await })
    }

    /// Runs an effect whose result is remembered under `key` for `ttl` (a week is a good default):
    /// a later attempt of this job gets the stored result instead of running it again. A crash
    /// between the effect and the storing runs it again, so inside it is at-least-once.
    ///
    /// # Errors
    /// What the effect returns; an uncharged snooze while another live attempt is at it; a lost
    /// lease; a result over 64 KiB.
    pub async fn once<T, F>(&self, key: &str, ttl: Duration, effect: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce() -> Result<T>,
    {
        let fence = self.attempt.fence;
        let key = format!("{}/{key}", fence.id);
        let store = self.attempt.client.store();
        let ask = OnceRequest { key: key.clone(), fence, ttl };
        match store.once(ask).await? {
            Once::Known(result) => return Ok(serde_json::from_slice(&result)?),
            Once::Lost => return Err(Error::LeaseLost(fence).into()),
            Once::Taken => {
                let text = format!("another attempt is at \"{key}\"");
                return Err(HandlerError::msg(text).decide(Decision::Snooze(ONCE_TAKEN_WAIT)));
            }
            Once::Run => {}
        }
        let value = match effect().await {
            Ok(value) => value,
            Err(error) => {
                // Forgetting is a courtesy: an unfinished key of an ended attempt is free anyway.
                let _ = store.once_store(key, fence, None).await;
                return Err(error);
            }
        };
        let result = serde_json::to_vec(&value)?;
        if result.len() > RESULT_BYTES_MAX {
            let text = format!("the result of once(\"{key}\") is over {RESULT_BYTES_MAX} bytes");
            return Err(HandlerError::discard(HandlerError::msg(text)));
        }
        match store.once_store(key, fence, Some(result)).await? {
            Held::Yes => Ok(value),
            Held::Lost | Held::Locked => Err(Error::LeaseLost(fence).into()),
        }
    }
}
