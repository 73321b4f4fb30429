//! The ledgers of all processes, put together: what was said about each job, in order of time.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::ledger::{self, Entry, Id, Kind};

/// What all processes said.
#[derive(Debug, Default)]
pub struct History {
    /// About each job, in order of time.
    pub jobs: HashMap<Id, Vec<Entry>>,
    /// What happened to the processes, in order of time.
    pub signals: Vec<Entry>,
    /// Ledgers whose last record was cut off.
    pub torn: u64,
}

impl History {
    /// Reads the ledgers of a folder.
    ///
    /// # Errors
    /// As [`ledger::read_all`].
    pub fn read(dir: &Path) -> std::io::Result<Self> {
        let (entries, torn) = ledger::read_all(dir)?;
        Ok(Self { torn, ..Self::of(entries) })
    }

    /// Puts records together.
    pub fn of(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| (entry.at, entry.kind));
        let mut history = Self::default();
        for entry in entries {
            if entry.kind >= Kind::SelfFenced {
                history.signals.push(entry);
            } else {
                history.jobs.entry(entry.id).or_default().push(entry);
            }
        }
        history
    }

    /// Returns what was said about a job.
    pub fn job(&self, id: &Id) -> &[Entry] {
        self.jobs.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns how many records of a kind there are, over all jobs.
    pub fn count(&self, kind: Kind) -> u64 {
        self.jobs.values().flatten().filter(|entry| entry.kind == kind).count() as u64
    }

    /// Returns the signals of a kind.
    pub fn signals(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.signals.iter().filter(move |entry| entry.kind == kind)
    }

    /// Returns the processes that were killed, with the time.
    pub fn killed(&self) -> HashMap<u32, i64> {
        self.signals(Kind::Killed).map(|entry| (entry.pid, entry.at)).collect()
    }

    /// Returns the processes whose leases may have expired: those that were killed or stopped, and
    /// those that could not renew and fenced themselves (a disk may stand still for seconds).
    pub fn disturbed(&self) -> HashSet<u32> {
        let both = self.signals(Kind::Killed).chain(self.signals(Kind::Stopped));
        both.chain(self.signals(Kind::SelfFenced)).map(|entry| entry.pid).collect()
    }

    /// Returns how many handlers were cancelled by workers that could not renew.
    pub fn self_fenced(&self) -> u64 {
        self.signals(Kind::SelfFenced).map(|entry| entry.nonce.max(0) as u64).sum()
    }

    /// Returns how many slots the killed and stopped processes had in all.
    pub fn slots_lost(&self) -> u64 {
        let both = self.signals(Kind::Killed).chain(self.signals(Kind::Stopped));
        both.map(|entry| entry.nonce.max(0) as u64).sum()
    }
}

impl History {
    /// Returns how many slots workers had when the server went away, over all times that it did.
    pub fn slots_in_outages(&self) -> u64 {
        self.signals(Kind::ServerDown).map(|entry| entry.nonce.max(0) as u64).sum()
    }

    /// Returns how long it took until a completion was accepted after each return of the server,
    /// in µs, or `None` where none was.
    pub fn returns(&self) -> Vec<Option<i64>> {
        let mut accepted: Vec<_> =
            self.jobs.values().flat_map(|entries| of_kind(entries, Kind::DoneOk)).collect();
        accepted.sort_by_key(|entry| entry.at);
        let first = |up: i64| accepted.iter().find(|entry| entry.at >= up).map(|one| one.at - up);
        self.signals(Kind::ServerUp).map(|up| first(up.at)).collect()
    }
}

/// Returns the records of a kind.
pub fn of_kind(entries: &[Entry], kind: Kind) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(move |entry| entry.kind == kind)
}

/// Says whether there is a record of a kind.
pub fn has(entries: &[Entry], kind: Kind) -> bool {
    of_kind(entries, kind).next().is_some()
}
