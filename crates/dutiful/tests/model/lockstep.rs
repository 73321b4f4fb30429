//! Runs a history on a store and on the model, step by step, and compares each answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dutiful::store::{
    ClaimRequest, Claimed, HeartbeatRequest, Lane, OnceRequest, RescueRequest, Retention, Store,
};
use dutiful::{Clock, JobId, Name, StoreError, Timestamp, WorkerId};

use crate::compare::{self, Same, same, same_debug};
use crate::meaning::{card, finish, json, millis, queue_name, seconds, type_name, worker_id};
use crate::spec::Model;
use crate::steps::{Ask, Ending, New, Step};

/// When the clock begins: 2026-11-23T18:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_us(1_795_456_800_000_000);
/// Everything is compared after each so many steps, and at the end.
const COMPARE_EVERY: usize = 10;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A store and the model that lives through the same history.
pub(crate) struct Lockstep {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) model: Model,
    pub(crate) clock: Clock,
    /// Every id ever handed in, in that order.
    pub(crate) ids: Vec<JobId>,
    /// Every claim ever answered, in that order.
    pub(crate) claims: Vec<(WorkerId, Claimed)>,
    /// False when the store's readers take small steps back of the clock for what they are.
    holds_small_steps: bool,
}

impl Lockstep {
    /// Runs the whole history.
    ///
    /// # Errors
    /// Says which step went how, and how it should have gone.
    pub(crate) async fn run(mut self, steps: &[Step]) -> Result<(), String> {
        self.set_clock(self.clock.now()).await?;
        for (n, step) in (1..).zip(steps) {
            let told = |why: String| format!("step {n}, {step:?}: {why}");
            self.step(step).await.map_err(|why| compare::named(&self, &told(why)))?;
            if n % COMPARE_EVERY == 0 {
                compare::numbers(&self).await.map_err(|why| compare::named(&self, &told(why)))?;
            }
        }
        compare::everything(&mut self).await.map_err(|why| compare::named(&self, &why))
    }

    /// Begins with an empty store.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Clock, holds_small_steps: bool) -> Self {
        let model = Model::default();
        let (ids, claims) = (Vec::new(), Vec::new());
        Self { store, model, clock, ids, claims, holds_small_steps }
    }

    /// Time, and what workers do.
    async fn step(&mut self, step: &Step) -> Same {
        let (store, model) = (self.store.clone(), &mut self.model);
        match step {
            Step::Pass { ms } => self.set_clock(self.clock.now().plus(millis(*ms))).await,
            Step::GoBack { ms } => self.set_clock(self.clock.now().minus(millis(*ms))).await,
            Step::Enqueue(jobs) => self.enqueue(jobs).await,
            Step::Claim(ask) => self.claim(ask).await,
            Step::Finish(ends) => self.finish(ends).await,
            Step::Heartbeat { worker, grips, lease_s } => {
                let (worker, fences) = (worker_id(*worker), self.fences(grips));
                let ask = HeartbeatRequest { worker, fences, lease: seconds(*lease_s) };
                same(store.heartbeat(ask.clone()).await, self.model.heartbeat(&ask))
            }
            Step::CancelRequests(worker) => {
                let told = store.cancel_requests(worker_id(*worker)).await;
                same(told.map(sorted), model.cancel_requests(worker_id(*worker)))
            }
            Step::Held(grips) => {
                let fences = self.fences(grips);
                same(store.held(fences.clone()).await, self.model.held(&fences))
            }
            Step::Note(said) => {
                let notes: Vec<_> = said.iter().filter_map(|one| self.note(one)).collect();
                same(store.note(notes.clone()).await, self.model.note(&notes))
            }
            Step::Register { worker, types, priority, quiet } => {
                let card = card(*worker, *types, *priority, *quiet);
                model.register(&card);
                same(store.register(card).await, ())
            }
            Step::Leave(worker) => {
                let worker = worker_id(*worker);
                model.leave(worker);
                same(store.leave(worker).await, ())
            }
            Step::Once { key, grip, ttl_s } => {
                let Some((_, claimed)) = self.grip(*grip) else { return Ok(()) };
                let (key, ttl) = (format!("effect {key}"), seconds(*ttl_s));
                let ask = OnceRequest { key, fence: claimed.fence, ttl };
                same(store.once(ask.clone()).await, self.model.once(&ask))
            }
            Step::OnceStore { key, grip, result } => {
                let Some((_, Claimed { fence, .. })) = self.grip(*grip) else { return Ok(()) };
                let (key, result) = (format!("effect {key}"), result.map(json));
                let told = store.once_store(key.clone(), fence, result.clone()).await;
                same(told, self.model.once_store(&key, fence, result.as_deref()))
            }
            _ => self.step_by_hand(step).await,
        }
    }

    /// What people do: changes by id, pauses, looks.
    async fn step_by_hand(&mut self, step: &Step) -> Same {
        let (store, model) = (self.store.clone(), &mut self.model);
        match step {
            Step::Cancel(jobs) => {
                let ids = self.jobs(jobs);
                same(store.cancel(ids.clone()).await, self.model.cancel(&ids))
            }
            Step::Retry(jobs) => {
                let ids = self.jobs(jobs);
                same(store.retry(ids.clone()).await, self.model.retry(&ids))
            }
            Step::Discard(jobs) => {
                let ids = self.jobs(jobs);
                same(store.discard(ids.clone()).await, self.model.discard(&ids))
            }
            Step::Reschedule(jobs, in_s) => {
                let (ids, at) = (self.jobs(jobs), self.at(*in_s));
                same(store.reschedule(ids.clone(), at).await, self.model.reschedule(&ids, at))
            }
            Step::Delete(jobs) => {
                let ids = self.jobs(jobs);
                same(store.delete(ids.clone()).await, self.model.delete(&ids))
            }
            Step::Pause(queue, paused) => {
                let queue = queue_name(*queue);
                same(store.pause(queue.clone(), *paused).await, model.pause(&queue, *paused))
            }
            Step::Clear { queue, limit } => self.clear(&queue_name(*queue), *limit).await,
            Step::Show(job) => compare::one(self, self.jobs(&[*job])[0]).await,
            Step::Result(jobs) => {
                let ids = self.jobs(jobs);
                compare::results(self, ids).await
            }
            Step::List(look) => compare::pages(self, self.filter(look)).await,
            Step::Workers => same_debug(store.workers().await, model.workers()),
            Step::Types(types) => {
                let names: Vec<_> = types.iter().map(|n| type_name(*n)).collect();
                same(store.types(names.clone()).await, model.types(&names))
            }
            _ => self.step_of_upkeep(step).await,
        }
    }

    /// What the leader does.
    async fn step_of_upkeep(&mut self, step: &Step) -> Same {
        let (store, model) = (self.store.clone(), &mut self.model);
        match step {
            Step::Lead { worker, ttl_s } => {
                let (worker, ttl) = (worker_id(*worker), seconds(*ttl_s));
                same(store.lead(worker, ttl).await, model.lead(worker, ttl))
            }
            Step::Abdicate { worker, term } => {
                let (worker, term) = (worker_id(*worker), self.term(*term));
                self.model.abdicate(worker, term);
                same(store.abdicate(worker, term).await, ())
            }
            Step::Promote { term, limit } => {
                let term = self.term(*term);
                let told = led(store.promote(term, *limit).await);
                same(told, self.model.promote(term, *limit))
            }
            Step::Rescue { term, crashes_max, limit, patience_s } => {
                let (term, patience) = (self.term(*term), seconds(*patience_s));
                let ask = RescueRequest { crashes_max: *crashes_max, limit: *limit, patience };
                // Patience is for owners that cannot write to a file; a server is there for all.
                let at_once = RescueRequest { patience: Duration::ZERO, ..ask };
                let is_file = store.facts().store == "sqlite";
                let expected = self.model.rescue(term, if is_file { ask } else { at_once });
                same_debug(led(store.rescue(term, ask).await), expected)
            }
            Step::Prune { term, completed_d, dead_d } => {
                let (term, days) = (self.term(*term), |n: u64| DAY * n as u32);
                let keep = Retention { completed: days(*completed_d), dead: days(*dead_d) };
                same(led(store.prune(term, keep).await), self.model.prune(term, keep))
            }
            Step::Fold(term) => {
                let term = self.term(*term);
                same(led(store.fold(term).await.map(drop)), self.model.fold(term))
            }
            _ => Err("no arm takes this step: add one where it belongs".into()),
        }
    }

    async fn enqueue(&mut self, jobs: &[New]) -> Same {
        let records: Vec<_> = jobs.iter().map(|new| self.record(new)).collect();
        same(self.store.enqueue(records.clone()).await, self.model.enqueue(&records))
    }

    /// The nonces are the store's to draw: the model is told them, but for being new they must not
    /// mean anything.
    async fn claim(&mut self, ask: &Ask) -> Same {
        let lane = |(queue, limit, at_most_once): &(u8, usize, usize)| Lane {
            queue: queue_name(*queue),
            limit: *limit,
            at_most_once: *at_most_once,
        };
        let knows = |n: &u8| ask.types & (1 << n) != 0;
        let types: HashSet<_> = (0..4).filter(knows).map(type_name).collect();
        let worker = worker_id(ask.worker);
        let ask = ClaimRequest {
            worker,
            lanes: ask.lanes.iter().map(lane).collect(),
            types: Arc::new(types),
            lease: seconds(ask.lease_s),
            limit: ask.limit,
            bytes: ask.bytes,
            crashed: ask.crashed,
        };
        let claimed = self.store.claim(ask.clone()).await.map_err(|error| error.to_string())?;
        self.model.nonce = claimed.first().map_or(0, |first| first.fence.nonce);
        let known = |(_, before): &(_, Claimed)| before.fence.nonce == self.model.nonce;
        if !claimed.is_empty() && self.claims.iter().any(known) {
            return Err(format!("the nonce {} was drawn before", self.model.nonce));
        }
        same_debug(Ok(&claimed), &self.model.claim(&ask))?;
        self.claims.extend(claimed.into_iter().map(|one| (worker, one)));
        Ok(())
    }

    /// Which jobs go is the store's to choose, of those that wait: the model is told them.
    async fn clear(&mut self, queue: &Name, limit: usize) -> Same {
        let waiting = self.model.waiting_in(queue);
        let told = self.store.clear(queue.clone(), limit).await;
        let left = self.store.result(waiting.clone()).await.map_err(|error| error.to_string())?;
        let gone = waiting.into_iter().zip(left).filter(|(_, left)| left.is_none());
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        let number = self.model.clear(queue, limit, &gone);
        same(told, number)?;
        same(Ok(gone.len()), number)
    }

    /// A worker ends its own attempts: those of the worker that the first grip belongs to.
    async fn finish(&mut self, ends: &[Ending]) -> Same {
        let grips = ends.iter().filter_map(|one| Some((one, self.grip(one.grip)?)));
        let grips: Vec<_> = grips.collect();
        let Some(worker) = grips.first().map(|(_, (worker, _))| *worker) else { return Ok(()) };
        let mine = grips.iter().filter(|(_, (whose, _))| *whose == worker);
        let ends: Vec<_> = mine.map(|(one, (_, claimed))| finish(one, claimed)).collect();
        same(self.store.finish(worker, ends.clone()).await, self.model.finish(worker, &ends))
    }

    /// Moves the clock. A write, though of nothing, shows it to the store as it shows to the model.
    async fn set_clock(&mut self, to: Timestamp) -> Same {
        let back = self.clock.now().since(to);
        if !back.is_zero() && back < seconds(1) && !self.holds_small_steps {
            return Ok(());
        }
        self.clock.set(to);
        self.model.look_at_clock(to);
        same(self.store.cancel(Vec::new()).await, Vec::new())
    }
}

/// Takes the refusal of a chore out of a store's errors.
fn led<T>(told: Result<T, StoreError>) -> Result<Result<T, i64>, StoreError> {
    match told {
        Ok(done) => Ok(Ok(done)),
        Err(StoreError::NotLeader(now)) => Ok(Err(now)),
        Err(error) => Err(error),
    }
}

fn sorted(mut ids: Vec<JobId>) -> Vec<JobId> {
    ids.sort_unstable();
    ids
}
