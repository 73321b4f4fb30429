//! Gathers what many callers enqueue at the same moment: while one statement is under way, others
//! wait and go together with the next one, so that they share a commit. A caller alone waits for
//! nobody. Jobs with unique keys go by themselves, for a key may be held by somebody's open
//! transaction, and the others would wait with them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Db;
use super::errors::Trouble;
use super::wire::Line;
use crate::error::StoreError;
use crate::job::Record;
use crate::store::Enqueued;

/// Most rows in one statement, or in one COPY, unless one caller brings more.
const ROWS_MAX: usize = 1000;
const COPIED_MAX: usize = 4000;
/// Where so many callers were answered together, they are waited for once more …
const CALLERS_MANY: usize = 8;
/// … for this long at most.
const COME_AGAIN: Duration = Duration::from_micros(200);
/// How often a batch whose answer got lost is sent again: the same ids make that harmless.
const UNKNOWN_TRIES: u32 = 3;

struct Waiting {
    jobs: Vec<Record>,
    to: oneshot::Sender<Result<Vec<Enqueued>, StoreError>>,
}

/// Who waits for the next statement.
#[derive(Default)]
pub(super) struct Gathering {
    line: Mutex<Queued>,
}

#[derive(Default)]
struct Queued {
    waiting: Vec<Waiting>,
    /// True while somebody works off the line.
    busy: bool,
}

impl Gathering {
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Many tasks that enqueue one by one come again as soon as they are answered, and all but the
    /// first would find the next statement gone: every other one would carry one job alone.
    async fn let_come_again(&self, callers: usize) {
        if callers < CALLERS_MANY {
            return;
        }
        let answered = Instant::now();
        // Beside those who came meanwhile, or they would take turns for ever, half and half.
        let all = callers + self.lock().waiting.len();
        while self.lock().waiting.len() < all && answered.elapsed() < COME_AGAIN {
            tokio::task::yield_now().await;
        }
    }

    /// Takes the next callers, as many as fit; ends the work when there is none.
    fn next(&self, rows_max: usize) -> Vec<Waiting> {
        let mut line = self.lock();
        let mut rows = 0;
        let fits = |one: &&Waiting| {
            rows += one.jobs.len();
            rows <= rows_max
        };
        let n = line.waiting.iter().take_while(fits).count().max(1).min(line.waiting.len());
        line.busy = n > 0;
        line.waiting.drain(..n).collect()
    }
}

/// What a caller waits for.
pub(super) type Answer = oneshot::Receiver<Result<Vec<Enqueued>, StoreError>>;

impl Db {
    /// Puts the jobs of one caller into the line, from the caller's own thread: they are stored,
    /// together with those of others where they meet, even if the caller goes away.
    pub(super) fn gather(self: &Arc<Self>, jobs: Vec<Record>) -> Answer {
        let (to, answer) = oneshot::channel();
        let begin = {
            let mut line = self.gathering.lock();
            line.waiting.push(Waiting { jobs, to });
            !std::mem::replace(&mut line.busy, true)
        };
        if begin {
            let turn = Turn { db: self.clone(), ended: false };
            // Its answers go to each caller by itself.
            drop(self.wire.run(async move {
                work_off(turn).await;
                Ok(())
            }));
        }
        answer
    }

    /// Stores jobs of which some have unique keys.
    pub(super) async fn enqueue_keyed(&self, jobs: &[Record]) -> Result<Vec<Enqueued>, Trouble> {
        self.enqueue_surely(Line::Keyed, jobs).await
    }

    /// Stores a batch; where the answer got lost, asks again with the same ids.
    async fn enqueue_surely(&self, line: Line, jobs: &[Record]) -> Result<Vec<Enqueued>, Trouble> {
        let (sent, mut tries) = (Instant::now(), 0);
        loop {
            match self.enqueue(line, jobs, (tries > 0).then_some(sent)).await {
                Err(Trouble::Unknown(_)) if tries < UNKNOWN_TRIES => tries += 1,
                other => return other,
            }
        }
    }
}

/// The right to work off the line. Who loses it before the end (the store was closed, or a panic)
/// lets everybody go who waits there.
struct Turn {
    db: Arc<Db>,
    ended: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.ended {
            *self.db.gathering.lock() = Queued::default();
        }
    }
}

async fn work_off(mut turn: Turn) {
    let db = turn.db.clone();
    let rows_max = if db.wire.manner().prepares { COPIED_MAX } else { ROWS_MAX };
    let mut callers = 0;
    loop {
        db.gathering.let_come_again(callers).await;
        let batch = db.gathering.next(rows_max);
        if batch.is_empty() {
            turn.ended = true;
            return;
        }
        callers = batch.len();
        store_together(&db, batch).await;
    }
}

async fn store_together(db: &Db, mut batch: Vec<Waiting>) {
    if let [one] = &mut batch[..] {
        let answer = db.enqueue_surely(Line::Enqueue, &one.jobs).await;
        tell(batch.remove(0), answer.map_err(StoreError::from));
        return;
    }
    let lengths: Vec<_> = batch.iter().map(|one| one.jobs.len()).collect();
    let jobs: Vec<Record> = batch.iter_mut().flat_map(|one| one.jobs.drain(..)).collect();
    match db.enqueue_surely(Line::Enqueue, &jobs).await {
        Ok(stored) => {
            let mut stored = stored.into_iter();
            for (one, n) in batch.into_iter().zip(lengths) {
                tell(one, Ok(stored.by_ref().take(n).collect()));
            }
        }
        Err(trouble @ Trouble::Unknown(_)) => {
            let error = StoreError::from(trouble);
            batch.into_iter().for_each(|one| tell(one, Err(error.clone())));
        }
        // Something in it was refused: each by itself, so that the refusal stays with its caller.
        Err(_) => {
            let mut jobs = jobs.into_iter();
            for (one, n) in batch.into_iter().zip(lengths) {
                let own: Vec<Record> = jobs.by_ref().take(n).collect();
                let answer = db.enqueue_surely(Line::Enqueue, &own).await;
                tell(one, answer.map_err(StoreError::from));
            }
        }
    }
}

fn tell(one: Waiting, answer: Result<Vec<Enqueued>, StoreError>) {
    // A caller that went away no longer wants the answer; its jobs are stored all the same.
    let _ = one.to.send(answer);
}
