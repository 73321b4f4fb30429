//! The outside ledger: what each process says it did, in a file that only this process appends to.
//!
//! A record is one `write(2)` of 48 bytes to a file opened with `O_APPEND`, so it is in the page
//! cache before the next line of the program runs, and SIGKILL cannot take it back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The size of a record.
pub const RECORD_BYTES: usize = 48;
/// What the names of ledgers end with.
const SUFFIX: &str = ".ledger";

/// The id of a job as its 16 bytes.
pub type Id = [u8; 16];

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A producer is about to enqueue; `attempt` says how the job has to end ([`END_COMPLETED`] …),
    /// `nonce` how many failures it will be charged.
    Intent = 1,
    /// The enqueue was acknowledged.
    Acked = 2,
    /// The producer rolled its transaction back, so the job must not exist.
    RolledBack = 3,
    /// A handler began.
    Start = 4,
    /// A handler did its work.
    Effect = 5,
    /// The store accepted the completion.
    DoneOk = 6,
    /// The store refused the completion: the lease was lost.
    DoneLost = 7,
    /// The worker gave the attempt back.
    Released = 8,
    /// A handler saw that it was cancelled.
    CancelledSeen = 9,
    /// A worker could not renew in time and cancelled its handlers; `nonce` is how many.
    SelfFenced = 19,
    /// The driver killed a process; `pid` is the target, `nonce` its slots.
    Killed = 20,
    /// The driver stopped a process (SIGSTOP); `pid` and `nonce` as above.
    Stopped = 21,
    /// The driver woke a process (SIGCONT).
    Continued = 22,
    /// The driver asked a process to end (SIGTERM).
    Asked = 23,
    /// The driver is about to end the server; `nonce` is how many slots all workers have.
    ServerDown = 24,
    /// The server takes connections again.
    ServerUp = 25,
}

/// In an [`Kind::Intent`]: the job has to end completed.
pub const END_COMPLETED: u32 = 0;
/// In an [`Kind::Intent`]: the job has to end dead, because its handler gives up.
pub const END_DEAD: u32 = 1;
/// In an [`Kind::Intent`]: the job has to end quarantined, because it kills who runs it.
pub const END_QUARANTINED: u32 = 2;
/// In an [`Kind::Intent`]: the job has to end completed, and raises the counter in the transaction
/// that completes it.
pub const END_COUNTED: u32 = 3;

impl Kind {
    const ALL: [Kind; 16] = [
        Kind::Intent,
        Kind::Acked,
        Kind::RolledBack,
        Kind::Start,
        Kind::Effect,
        Kind::DoneOk,
        Kind::DoneLost,
        Kind::Released,
        Kind::CancelledSeen,
        Kind::SelfFenced,
        Kind::Killed,
        Kind::Stopped,
        Kind::Continued,
        Kind::Asked,
        Kind::ServerDown,
        Kind::ServerUp,
    ];
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What happened.
    pub kind: Kind,
    /// To which job; zeros when it is about a process.
    pub id: Id,
    /// The attempt, or what [`Kind`] says.
    pub attempt: u32,
    /// The lease's nonce, or what [`Kind`] says.
    pub nonce: i64,
    /// When, in µs since 1970 by the clock of the machine.
    pub at: i64,
    /// Which process wrote it, or which process it is about.
    pub pid: u32,
}

impl Entry {
    /// Returns a record of now.
    pub fn now(kind: Kind, id: Id, attempt: u32, nonce: i64) -> Self {
        Self { kind, id, attempt, nonce, at: now_us(), pid: std::process::id() }
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.id);
        bytes[24..32].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.at.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.pid.to_le_bytes());
        let sum = checksum(&bytes[..44]);
        bytes[44..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == bytes[0])?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let long = |at: usize| i64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[8..24]);
        let (attempt, nonce, at, pid) = (word(4), long(24), long(32), word(40));
        (word(44) == checksum(&bytes[..44])).then_some(Self { kind, id, attempt, nonce, at, pid })
    }
}

/// FNV-1a: enough to tell a record from a torn or foreign one.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Returns µs since 1970 by the clock of the machine.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A ledger that this process appends to.
#[derive(Debug)]
pub struct Ledger {
    file: File,
}

impl Ledger {
    /// Opens the ledger of this process in `dir`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: &Path, name: &str) -> io::Result<Self> {
        let path = dir.join(format!("{name}-{}{SUFFIX}", std::process::id()));
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)? })
    }

    /// Appends a record with one `write(2)`.
    ///
    /// # Errors
    /// What the file system says; a record that was cut short is an error too.
    pub fn append(&self, entry: Entry) -> io::Result<()> {
        let written = (&self.file).write(&entry.to_bytes())?;
        if written == RECORD_BYTES {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::WriteZero, "the ledger took a part of a record"))
    }

    /// Appends a record about a job, or ends the process: what is not in the ledger must not
    /// happen, or the judge would blame the store for it.
    pub fn note(&self, kind: Kind, id: Id, attempt: u32, nonce: i64) {
        if self.append(Entry::now(kind, id, attempt, nonce)).is_err() {
            std::process::exit(NO_LEDGER);
        }
    }
}

/// The exit code of a process that can no longer write its ledger.
pub const NO_LEDGER: i32 = 70;

/// Reads the records of one file; says whether the last one was torn.
///
/// # Errors
/// What the file system says, or that a record within the file is not one.
pub fn read_file(path: &Path) -> io::Result<(Vec<Entry>, bool)> {
    let bytes = std::fs::read(path)?;
    let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
    let mut entries = Vec::with_capacity(records.len());
    for (n, record) in records.iter().enumerate() {
        match Entry::from_bytes(record) {
            Some(entry) => entries.push(entry),
            None if n + 1 == records.len() && rest.is_empty() => return Ok((entries, true)),
            None => {
                let what = format!("record {n} of {} is damaged", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
    }
    Ok((entries, !rest.is_empty()))
}

/// Reads all ledgers of a folder; says how many ended in a torn record.
///
/// # Errors
/// As [`read_file`].
pub fn read_all(dir: &Path) -> io::Result<(Vec<Entry>, u64)> {
    let (mut all, mut torn) = (Vec::new(), 0);
    for found in std::fs::read_dir(dir)? {
        let path = found?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            let (entries, is_torn) = read_file(&path)?;
            all.extend(entries);
            torn += u64::from(is_torn);
        }
    }
    Ok((all, torn))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind) -> Entry {
        Entry { kind, id: [7; 16], attempt: 3, nonce: -9, at: 1_795_456_800_000_001, pid: 42 }
    }

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("a{SUFFIX}"));
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn reads_back_every_kind_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path(), "test").unwrap();
        for kind in Kind::ALL {
            ledger.append(entry(kind)).unwrap();
        }
        let (entries, torn) = read_all(dir.path()).unwrap();
        assert_eq!(entries, Kind::ALL.map(entry));
        assert_eq!(torn, 0);
    }

    #[test]
    fn tolerates_a_torn_last_record_and_nothing_else() {
        let mut bytes = entry(Kind::Start).to_bytes().to_vec();
        bytes.extend_from_slice(&entry(Kind::Effect).to_bytes()[..20]);
        let (_dir, path) = file_of(&bytes);
        assert_eq!(read_file(&path).unwrap(), (vec![entry(Kind::Start)], true));

        let mut damaged = entry(Kind::Start).to_bytes().to_vec();
        damaged[30] ^= 1;
        let (_dir, path) = file_of(&damaged);
        assert_eq!(read_file(&path).unwrap(), (vec![], true), "damaged at its end is torn");
        damaged.extend_from_slice(&entry(Kind::Effect).to_bytes());
        let (_dir, path) = file_of(&damaged);
        assert_eq!(read_file(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
