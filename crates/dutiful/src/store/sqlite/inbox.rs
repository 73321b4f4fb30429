//! What callers handed in and the writer has not taken yet: a line with one head for the urgent.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::writer::{Work, lock};

/// Most rows (as callers estimate them) in one commit.
const ROWS_PER_COMMIT: usize = 4000;
/// How long an open transaction waits for the claim of a worker that was just woken. The wake-up
/// of a thread takes 40 to 60 µs, a commit of its own at least twice that.
const JOINS_WITHIN: Duration = Duration::from_micros(80);

/// Work of about so many rows.
pub(super) struct Waiting {
    pub(super) rows: usize,
    pub(super) work: Box<dyn Work>,
}

#[derive(Default)]
pub(super) struct Inbox {
    line: Mutex<Line>,
    somebody: Condvar,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

impl Inbox {
    /// Puts work at the end of the line, or at its head; gives it back after the close.
    pub(super) fn put(&self, work: Waiting, first: bool) -> Result<(), Waiting> {
        let mut line = lock(&self.line);
        if line.closed {
            return Err(work);
        }
        if first {
            line.waiting.push_front(work);
        } else {
            line.waiting.push_back(work);
        }
        drop(line);
        self.somebody.notify_one();
        Ok(())
    }

    /// Takes no more work; what waits is still done.
    pub(super) fn close(&self) {
        lock(&self.line).closed = true;
        self.somebody.notify_one();
    }

    /// Returns all that waits (nothing when closed), and whether we had to wait for it.
    pub(super) fn next_batch(&self) -> (Vec<Waiting>, bool) {
        let mut line = lock(&self.line);
        let mut waited = false;
        while line.waiting.is_empty() && !line.closed {
            waited = true;
            line = self.somebody.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = Vec::new();
        line.take_into(&mut batch);
        (batch, waited)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.line).waiting.is_empty()
    }

    /// Adds what waits, or comes within a moment, to a batch that is not committed yet.
    pub(super) fn join_batch(&self, batch: &mut Vec<Waiting>) {
        let line = lock(&self.line);
        let waits = |line: &mut Line| line.waiting.is_empty() && !line.closed;
        let (mut line, _) = self
            .somebody
            .wait_timeout_while(line, JOINS_WITHIN, waits)
            .unwrap_or_else(PoisonError::into_inner);
        line.take_into(batch);
    }
}

impl Line {
    fn take_into(&mut self, batch: &mut Vec<Waiting>) {
        let mut rows: usize = batch.iter().map(|one| one.rows).sum();
        while rows < ROWS_PER_COMMIT {
            let Some(next) = self.waiting.pop_front() else { break };
            rows += next.rows;
            batch.push(next);
        }
    }
}
