//! What happened, counted: each commit appends one row for each (queue, type, event) in it, the
//! leader folds rows into totals, and readers add both. So the numbers of a whole fleet are exact.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rusqlite::{Connection, params};

use super::errors::Trouble;
use super::statements::prepare;
use crate::id::Name;
pub(super) use crate::store::tally::Event;
use crate::store::tally::{BUCKETS, bucket};
use crate::totals::{ERROR_CLASS_OTHER, ERROR_CLASSES_MAX, Spread};

/// The counts of one transaction, written at its end.
#[derive(Default)]
pub(super) struct Tally {
    index: HashMap<Key, usize>,
    rows: Vec<(Key, Row)>,
    /// The row that was counted last: most often it is the next one too.
    last: usize,
    /// How many attempts failed, by queue and type and the class of their failure.
    failures: BTreeMap<(Name, Name), BTreeMap<String, i64>>,
}

type Key = (Name, Name, Event);

#[derive(Default)]
pub(super) struct Row {
    pub(super) n: i64,
    pub(super) ran: Option<Histogram>,
    pub(super) waited: Option<Histogram>,
}

impl Tally {
    pub(super) fn count(&mut self, queue: &Name, job_type: &Name, event: Event) {
        self.add(queue, job_type, event, 1);
    }

    pub(super) fn add(&mut self, queue: &Name, job_type: &Name, event: Event, n: i64) {
        self.row(queue, job_type, event).n += n;
    }

    /// Counts a run with how long it took and how long it had been due.
    pub(super) fn run(
        &mut self,
        queue: &Name,
        job_type: &Name,
        event: Event,
        times: (Duration, Duration),
    ) {
        self.times(queue, job_type, event, times);
        self.row(queue, job_type, event).n += 1;
    }

    /// Notes the times of a run that was counted before.
    pub(super) fn times(
        &mut self,
        queue: &Name,
        job_type: &Name,
        event: Event,
        times: (Duration, Duration),
    ) {
        let row = self.row(queue, job_type, event);
        row.ran.get_or_insert_default().add(times.0);
        row.waited.get_or_insert_default().add(times.1);
    }

    /// Counts a run that failed, with what it failed with.
    pub(super) fn failed(
        &mut self,
        queue: &Name,
        job_type: &Name,
        class: &str,
        times: (Duration, Duration),
    ) {
        self.run(queue, job_type, Event::Failed, times);
        let classes = self.failures.entry((queue.clone(), job_type.clone())).or_default();
        match classes.get_mut(class) {
            Some(n) => *n += 1,
            None => drop(classes.insert(class.to_owned(), 1)),
        }
    }

    fn row(&mut self, queue: &Name, job_type: &Name, event: Event) -> &mut Row {
        let is_it = |key: &Key| key.2 == event && key.1 == *job_type && key.0 == *queue;
        if !self.rows.get(self.last).is_some_and(|(key, _)| is_it(key)) {
            let key = (queue.clone(), job_type.clone(), event);
            let next = self.rows.len();
            self.last = *self.index.entry(key.clone()).or_insert(next);
            if self.last == next {
                self.rows.push((key, Row::default()));
            }
        }
        &mut self.rows[self.last].1
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.index.clear();
        self.failures.clear();
    }

    /// Writes the counts and forgets them.
    pub(super) fn write(&mut self, conn: &Connection) -> Result<(), Trouble> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut add = prepare(conn, "fold", "add")?;
        self.index.clear();
        for ((queue, job_type, event), row) in self.rows.drain(..) {
            let blob = |histogram: Option<Histogram>| histogram.map(|h| h.to_bytes());
            let (ran, waited) = (blob(row.ran), blob(row.waited));
            add.execute(params![
                queue.as_str(),
                job_type.as_str(),
                event as i64,
                row.n,
                ran,
                waited
            ])?;
        }
        drop(add);
        self.write_failures(conn)
    }
}

impl Tally {
    /// One statement for each class: of a thousand like failures in one commit it is one.
    fn write_failures(&mut self, conn: &Connection) -> Result<(), Trouble> {
        for ((queue, job_type), classes) in std::mem::take(&mut self.failures) {
            let mut add = prepare(conn, "fold", "failed")?;
            for (class, n) in classes {
                let most = ERROR_CLASSES_MAX as i64;
                let (queue, job_type) = (queue.as_str(), job_type.as_str());
                add.execute(params![queue, job_type, class, n, ERROR_CLASS_OTHER, most])?;
            }
        }
        Ok(())
    }
}

/// How many durations fell into each bucket, and their sum in µs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    sum_us: u64,
    buckets: [u64; BUCKETS],
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        self.sum_us = self.sum_us.saturating_add(took.as_micros() as u64);
        self.buckets[bucket(took)] += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
    }

    pub(super) fn spread(&self) -> Spread {
        Spread { buckets: self.buckets, sum: Duration::from_micros(self.sum_us) }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let numbers = std::iter::once(&self.sum_us).chain(&self.buckets);
        numbers.flat_map(|n| n.to_le_bytes()).collect()
    }

    /// Returns `None` for bytes of another shape, which are then left out of the sum.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut numbers =
            bytes.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().unwrap_or_default()));
        let mut histogram = Self { sum_us: numbers.next()?, ..Self::default() };
        for bucket in &mut histogram.buckets {
            *bucket = numbers.next()?;
        }
        Some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::migrate;

    #[test]
    fn like_failures_of_a_commit_are_one_row_and_those_that_were_rolled_back_none() {
        let conn = Connection::open_in_memory().expect("it opens");
        assert!(migrate::migrate(&conn, None).is_ok(), "the schema is made");
        let (mut tally, name) = (Tally::default(), Name::stored("mail"));
        let fail = |tally: &mut Tally, times: usize| {
            for _ in 0..times {
                tally.failed(&name, &name, "Smtp", (Duration::ZERO, Duration::ZERO));
            }
        };
        fail(&mut tally, 7);
        tally.clear();
        let before = conn.total_changes();
        fail(&mut tally, 1000);
        assert!(tally.write(&conn).is_ok());
        assert_eq!(conn.total_changes() - before, 2, "one of the tally, one of the class");
        let n = "SELECT n FROM dutiful_failure_total WHERE class = 'Smtp'";
        assert_eq!(conn.query_row(n, [], |row| row.get::<_, i64>(0)), Ok(1000));
        assert!(tally.write(&conn).is_ok());
        assert_eq!(conn.total_changes() - before, 2, "it is written once");
    }
}
