//! The names of things: job ids, queue and type names, worker ids, and the fence of one attempt.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::InvalidJob;

/// Longest name of a queue or a type, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// The id of a job: a UUIDv7, made by the client, so that ids sort by the time of the enqueue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// Returns a new id, larger than every id made before it by this process.
    #[expect(clippy::new_without_default, reason = "an id that appears by default is a bug")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the id with these 16 bytes; any UUID will do, though only a UUIDv7 sorts by time.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the 16 bytes as the stores keep them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Returns the smallest id of this time (µs since 1970), to cut ranges of ids by time.
    pub fn floor(at_us: i64) -> Self {
        let ms = (at_us.max(0) / 1000) as u64;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = InvalidJob;
    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidJob::Id { given: clip(text) })
    }
}

/// The name of a queue or of a type: 1 to 128 of the characters `A-Z a-z 0-9 _ . : -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Returns the checked name of a `what` ("queue", "type").
    ///
    /// # Errors
    /// [`InvalidJob::Name`] when it is empty, too long or has any other character.
    pub fn new(what: &'static str, text: &str) -> Result<Self, InvalidJob> {
        Self::check(what, text)?;
        Ok(Self(text.into()))
    }

    pub(crate) fn check(what: &'static str, text: &str) -> Result<(), InvalidJob> {
        let fits = !text.is_empty() && text.len() <= NAME_BYTES_MAX;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
        if fits && text.bytes().all(plain) {
            return Ok(());
        }
        Err(InvalidJob::Name { what, given: clip(text) })
    }

    /// Returns a name that was checked before it was stored.
    pub(crate) fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// One start of one worker process: random, so that a restart is never mistaken for the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct WorkerId(pub i64);

impl WorkerId {
    /// Returns a new random id.
    pub fn random() -> Self {
        Self(fastrand::i64(1..))
    }
}

/// The right to write about one attempt: every write of a worker names it and changes exactly one
/// row, or is refused as `LeaseLost`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fence {
    /// The job.
    pub id: JobId,
    /// The number of this attempt; grows with each claim, so it orders the attempts of a job and
    /// can be handed to outside systems that refuse a smaller one.
    pub attempt: u32,
    /// A random number drawn by the claim.
    pub nonce: i64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{:016x}", self.id, self.attempt, self.nonce)
    }
}

/// Cuts text that somebody typed to what fits in an error message.
pub(crate) fn clip(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
