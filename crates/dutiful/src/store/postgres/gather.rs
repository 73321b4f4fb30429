//! Gathers what many callers enqueue at the same moment: while one statement is under way, others
//! wait and go together with the next one, so that they share a commit. A caller alone waits for
//! nobody, unless many were answered a moment ago. Jobs with unique keys go by themselves, for a
//! key may be held by somebody's open transaction, and the others would wait with them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
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
/// … for about this long (the timer has steps of 1 ms).
const COME_AGAIN: Duration = Duration::from_millis(1);
/// Where they did not come (each was a request of its own), nobody is waited for until so many
/// statements have gone.
const IN_VAIN: u32 = 32;
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
    /// All who were expected have come.
    complete: Notify,
}

#[derive(Default)]
struct Queued {
    waiting: Vec<Waiting>,
    /// How many are expected before the next statement.
    expected: usize,
    /// Until so many statements have gone nobody is expected.
    alone: u32,
    /// True while somebody works off the line.
    busy: bool,
}

impl Queued {
    fn is_complete(&self) -> bool {
        self.waiting.len() >= self.expected
    }
}

impl Gathering {
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Many tasks that enqueue one by one come again as soon as they are answered, and all but the
    /// first would find the next statement gone: every other one would carry one job alone. So
    /// they are counted before they are answered, with those who came meanwhile, or the two would
    /// take turns for ever, half and half.
    fn expect_again(&self, callers: usize) {
        let mut line = self.lock();
        let all = callers + line.waiting.len();
        let rows: usize = line.waiting.iter().map(|one| one.jobs.len()).sum();
        if all >= CALLERS_MANY && rows < ROWS_MAX && line.alone == 0 {
            line.expected = all;
        }
    }

    /// Waits for all who are expected, if they come soon.
    async fn let_come_again(&self) {
        let complete = self.complete.notified();
        if self.lock().is_complete() {
            return;
        }
        // Whether they came is seen in the line: the last one may come as the time ends.
        let _ = tokio::time::timeout(COME_AGAIN, complete).await;
        let mut line = self.lock();
        if !line.is_complete() {
            line.alone = IN_VAIN;
        }
    }

    /// Takes a place in the line; says whether the caller has to begin to work it off.
    fn join(&self, one: Waiting) -> bool {
        let mut line = self.lock();
        line.waiting.push(one);
        if line.expected > 0 && line.is_complete() {
            self.complete.notify_waiters();
        }
        !std::mem::replace(&mut line.busy, true)
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
        line.expected = 0;
        line.alone = line.alone.saturating_sub(1);
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
        if self.gathering.join(Waiting { jobs, to }) {
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
    loop {
        db.gathering.let_come_again().await;
        let batch = db.gathering.next(rows_max);
        if batch.is_empty() {
            turn.ended = true;
            return;
        }
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
            db.gathering.expect_again(batch.len());
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

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::*;

    fn come(line: &Gathering, callers: usize) {
        for _ in 0..callers {
            line.join(Waiting { jobs: Vec::new(), to: oneshot::channel().0 });
        }
    }

    #[tokio::test]
    async fn callers_who_come_again_go_together_though_some_come_before_all_are_answered() {
        let line = Gathering::default();
        come(&line, CALLERS_MANY);
        assert_eq!(line.next(100).len(), CALLERS_MANY);
        for _ in 0..3 {
            line.expect_again(CALLERS_MANY);
            come(&line, CALLERS_MANY - 1);
            // It waits, and the last one comes.
            join(line.let_come_again(), async { come(&line, 1) }).await;
            assert_eq!(line.lock().alone, 0, "it ended because all were there");
            assert_eq!(line.next(100).len(), CALLERS_MANY);
        }
    }

    #[tokio::test]
    async fn callers_who_do_not_come_again_are_not_waited_for_each_time() {
        let line = Gathering::default();
        line.expect_again(CALLERS_MANY);
        come(&line, 1);
        line.let_come_again().await;
        assert_eq!(line.next(100).len(), 1, "one goes alone after all");
        for _ in 1..IN_VAIN {
            line.expect_again(CALLERS_MANY);
            assert_eq!(line.lock().expected, 0);
            line.next(100);
        }
        line.expect_again(CALLERS_MANY);
        assert_eq!(line.lock().expected, CALLERS_MANY);
    }
}
