//! What a server keeps beside the jobs (tokens, the log of its operators, …): plain data of the
//! verbs `keep` and `kept`.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::Name;

/// Longest time for which a thing is kept that is not kept for ever: a hundred years.
const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Something to keep under a key of a shelf, or to forget.
#[derive(Clone, Debug)]
pub struct Keep {
    /// What kind of thing it is.
    pub shelf: Name,
    /// Its name there.
    pub key: String,
    /// The bytes to keep; `None` forgets what is there.
    pub value: Option<Vec<u8>>,
    /// What must be true of what is there.
    pub when: KeepWhen,
    /// For how long; `None` is for ever. What is older is as good as forgotten, and is deleted by
    /// `prune`.
    pub ttl: Option<Duration>,
}

impl Keep {
    /// For how long, as far as a time that far ahead can be written.
    pub fn bounded_ttl(&self) -> Option<Duration> {
        self.ttl.map(|ttl| ttl.min(TTL_MAX))
    }
}

/// What must be true of what is there, so that it may be replaced or forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeepWhen {
    /// Nothing.
    Always,
    /// There is nothing, or nothing that is still kept.
    Absent,
    /// It has this version: nobody has written it since it was read.
    Version(i64),
}

/// Which kept things to look at: those with `from <= key < to` on one shelf.
#[derive(Clone, Debug)]
pub struct KeptRange {
    /// Which shelf.
    pub shelf: Name,
    /// The first key, by its bytes.
    pub from: String,
    /// The first key that is not meant any more; `None` is the end.
    pub to: Option<String>,
    /// The last key first.
    pub newest_first: bool,
    /// At most so many.
    pub limit: usize,
}

impl KeptRange {
    /// The end of the range: no text sorts behind the last character.
    pub fn end(&self) -> &str {
        self.to.as_deref().unwrap_or("\u{10ffff}")
    }
}

/// A thing that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptItem {
    /// Its name on its shelf.
    pub key: String,
    /// The bytes.
    pub value: Vec<u8>,
    /// Grows with every write, also when it was forgotten in between: never below the µs since
    /// 1970 at which it was written.
    pub version: i64,
    /// Until when it is kept; `None` is for ever.
    pub until: Option<Timestamp>,
}
