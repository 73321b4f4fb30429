//! Random histories: whatever happened, the numbers equal the rows, and each job has one place.

use std::collections::HashMap;
use std::time::Duration;

use crate::harness::*;

promises![the_numbers_equal_the_rows_after_any_history, every_job_stands_in_exactly_one_place];

/// Steps of one history.
const STEPS: usize = 1000;
/// The numbers are compared after each so many steps.
const COMPARE_EVERY: usize = 100;
const QUEUES: [&str; 3] = ["a", "b", "c"];

/// A store, what its worker holds, and what was seen to happen.
struct History {
    lab: Lab,
    luck: fastrand::Rng,
    known: Vec<JobId>,
    held: Vec<Claimed>,
    stalled: u64,
}

impl History {
    fn new(lab: Lab, seed: u64) -> Self {
        let luck = fastrand::Rng::with_seed(seed);
        Self { lab, luck, known: Vec::new(), held: Vec::new(), stalled: 0 }
    }

    async fn step(&mut self) -> Kept {
        match self.luck.u8(..100) {
            0..25 => self.enqueue().await,
            25..45 => self.claim().await,
            45..66 => self.finish().await,
            66..78 => self.change().await,
            _ => self.chores().await,
        }
    }

    fn some_ids(&mut self) -> Vec<JobId> {
        let n = self.luck.usize(..4).min(self.known.len());
        (0..n).map(|_| self.known[self.luck.usize(..self.known.len())]).collect()
    }

    async fn enqueue(&mut self) -> Kept {
        let jobs: Vec<_> = (0..self.luck.usize(..6)).map(|_| self.any_job()).collect();
        let asked = jobs.len();
        let stored = self.lab.store.enqueue(jobs).await?;
        assert_eq!(stored.len(), asked);
        let new = stored.iter().filter(|s| s.outcome == EnqueueOutcome::New);
        self.known.extend(new.map(|s| s.id));
        Ok(())
    }

    fn any_job(&mut self) -> Record {
        let luck = &mut self.luck;
        let known = luck.choice(&self.known).copied().filter(|_| luck.u8(..10) == 0);
        Record {
            id: known.unwrap_or_else(JobId::new),
            queue: name(QUEUES[luck.usize(..3)]),
            priority: luck.u16(..3),
            delay: Duration::from_secs(luck.u64(..3) * luck.u64(..20)),
            unique_key: (luck.u8(..3) == 0).then(|| format!("key {}", luck.u8(..5))),
            delivery: if luck.u8(..6) == 0 { Delivery::AtMostOnce } else { Delivery::AtLeastOnce },
            ..job()
        }
    }

    async fn claim(&mut self) -> Kept {
        let lanes = QUEUES.map(|queue| lane(queue, self.luck.usize(..4))).to_vec();
        let limit = self.luck.usize(..8);
        let claimed = self.lab.store.claim(ClaimRequest { lanes, ..self.lab.ask(limit) }).await?;
        assert!(claimed.len() <= limit);
        self.held.extend(claimed);
        Ok(())
    }

    async fn finish(&mut self) -> Kept {
        let mut ends = Vec::new();
        for _ in 0..self.luck.usize(..4).min(self.held.len()) {
            let job = self.held.swap_remove(self.luck.usize(..self.held.len()));
            let wait = Duration::from_secs(self.luck.u64(..40));
            let end = match self.luck.u8(..8) {
                0 => End::Failed(oops(), wait),
                1 => End::Dead(oops(), DeadReason::Exhausted),
                2 => End::Snoozed(wait),
                3 => End::Released,
                4 => End::Cancelled,
                _ => End::Completed(None),
            };
            ends.push(self.lab.finish(&job, end));
            if self.luck.u8(..5) == 0 {
                self.held.push(job);
            }
        }
        self.lab.store.finish(self.lab.worker, ends).await?;
        Ok(())
    }

    async fn change(&mut self) -> Kept {
        let ids = self.some_ids();
        let (asked, store) = (ids.len(), self.lab.store.clone());
        let at = self.lab.clock.now().plus(Duration::from_secs(self.luck.u64(..60)));
        let answers = match self.luck.u8(..6) {
            0 => store.cancel(ids).await?,
            1 | 2 => store.retry(ids).await?,
            3 => store.discard(ids).await?,
            4 => store.reschedule(ids, at).await?,
            _ => store.delete(ids).await?,
        };
        assert_eq!(answers.len(), asked);
        Ok(())
    }

    async fn chores(&mut self) -> Kept {
        match self.luck.u8(..6) {
            0 | 1 => drop(self.lab.promote().await),
            2 => self.stalled += self.lab.rescue(self.luck.u32(..4)).await.len() as u64,
            3 => {
                let term = self.lab.term().await;
                self.lab.store.fold(term).await?;
            }
            4 => {
                let queue = name(QUEUES[self.luck.usize(..3)]);
                self.lab.store.pause(queue, self.luck.u8(..4) == 0).await?;
            }
            _ => self.lab.pass(self.luck.u64(..25)),
        }
        Ok(())
    }

    /// Counts the rows of every state in every queue.
    async fn rows(&self) -> Result<HashMap<(String, State), u64>, StoreError> {
        let mut counted = HashMap::new();
        for state in State::ALL {
            let mut before = None;
            loop {
                let filter = Filter { state: Some(state), before, ..Filter::default() };
                let page = self.lab.store.list(Filter { limit: Some(1000), ..filter }).await?;
                for one in &page.jobs {
                    assert_eq!(one.state, state);
                    *counted.entry((one.queue.to_string(), state)).or_default() += 1;
                }
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
        }
        Ok(counted)
    }

    async fn compare(&self) -> Kept {
        let rows = self.rows().await?;
        let stats = self.lab.store.stats().await?;
        assert_eq!(stats.totals.stalled_total, self.stalled);
        for queue in &stats.queues {
            let of = |state| rows.get(&(queue.queue.to_string(), state)).copied().unwrap_or(0);
            let c = queue.counts;
            let told = [c.pending, c.scheduled, c.active, c.failed, c.completed, c.dead];
            let counted = [
                of(State::Pending),
                of(State::Scheduled),
                of(State::Active) + of(State::Stalled),
                of(State::Failed),
                of(State::Completed),
                of(State::Dead),
            ];
            assert_eq!((told, c.cancelled), (counted, of(State::Cancelled)), "{}", queue.queue);
        }
        let all: u64 = rows.values().sum();
        let t = stats.totals;
        let told = t.pending + t.scheduled + t.active + t.failed + t.completed + t.dead;
        assert_eq!(told + t.cancelled, all, "no row is in a queue that the numbers forgot");
        Ok(())
    }
}

async fn the_numbers_equal_the_rows_after_any_history(lab: Lab) -> Kept {
    let mut history = History::new(lab, 20_261_123);
    for step in 1..=STEPS {
        history.step().await?;
        if step % COMPARE_EVERY == 0 {
            history.compare().await?;
        }
    }
    assert!(history.known.len() > STEPS / 4, "much happened");
    assert!(history.stalled > 10, "{} were rescued", history.stalled);
    Ok(())
}

async fn every_job_stands_in_exactly_one_place(lab: Lab) -> Kept {
    let mut history = History::new(lab, 7);
    for _ in 0..STEPS / 2 {
        history.step().await?;
    }
    let mut seen: HashMap<JobId, State> = HashMap::new();
    for state in State::ALL {
        let filter = Filter { state: Some(state), limit: Some(1000), ..Filter::default() };
        for one in history.lab.store.list(filter).await?.jobs {
            let before = seen.insert(one.id, state);
            assert_eq!(before, None, "{} is {state} too", one.id);
        }
    }
    for id in &history.known {
        assert_eq!(history.lab.state(*id).await, seen.get(id).copied(), "{id}");
    }
    Ok(())
}
