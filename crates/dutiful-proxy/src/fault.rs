//! What can be done to connections, and how a test says to which of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// What the client says.
    ToServer,
    /// What the server answers.
    ToClient,
}

impl Way {
    /// Both directions, for the faults that take several.
    pub const BOTH: &'static [Self] = &[Self::ToServer, Self::ToClient];
}

/// One value for each direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Each<T> {
    /// For what the client says.
    pub to_server: T,
    /// For what the server answers.
    pub to_client: T,
}

impl<T> Each<T> {
    /// Returns the value of one direction.
    pub fn of(&self, way: Way) -> &T {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        }
    }

    pub(crate) fn of_mut(&mut self, way: Way) -> &mut T {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }
}

/// On which side of a message a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nothing of the message goes on; the cut happens when its first byte comes.
    Before,
    /// All of the message goes on, and nothing behind it; the cut does not wait for more.
    After,
}

/// What is done to a connection.
///
/// A later delay, throttle or blackhole replaces an earlier one of the same direction; cuts add up
/// and the first one reached wins. A cut lets whoever receives in its direction have every byte
/// that went on, and then the end of the stream; the sender's side is reset.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Holds each read (64 KiB at most) for `base` and up to `jitter` more, one after another. The
    /// jitter follows from the proxy's seed, the connection's id and the place in the stream.
    Delay {
        /// The directions that are slow.
        ways: &'static [Way],
        /// What every read waits at least.
        base: Duration,
        /// What is added at most.
        jitter: Duration,
    },
    /// Lets so many bytes a second go on, in each of the directions.
    Throttle {
        /// The directions that are slow.
        ways: &'static [Way],
        /// At least 1.
        bytes_per_second: u32,
    },
    /// Half-open: sockets stay, nothing goes on, and neither does the news that an end has closed.
    Blackhole {
        /// The directions that are cut off.
        ways: &'static [Way],
        /// `true` reads and drops, so the sender believes that it was heard. `false` does not
        /// read, so the sender blocks once the buffers are full; healed, it loses nothing.
        reads: bool,
    },
    /// Lets exactly `n` bytes go on, then cuts.
    CutAtByte {
        /// The direction whose bytes are counted.
        way: Way,
        /// 0 cuts at once.
        n: u64,
    },
    /// Cuts beside the `k`-th message. Without a framing there are no messages, so no cut.
    CutAtMessage {
        /// The direction whose messages are counted.
        way: Way,
        /// The first message is 1.
        k: u64,
        /// Whether that message itself goes on.
        side: Side,
    },
    /// Resets both ends at once (RST). What was not yet read may be lost.
    Reset,
    /// Closes at once in order; a new connection is accepted and closed, and never gets through.
    Refuse,
}

impl Fault {
    /// Panics where a test asks for what cannot be.
    pub(crate) fn check(&self) {
        match self {
            Self::CutAtMessage { k: 0, .. } => panic!("messages are counted from 1"),
            Self::Throttle { bytes_per_second: 0, .. } => {
                panic!("a throttle lets something pass; a `Blackhole` lets nothing")
            }
            _ => {}
        }
    }
}

/// Which connections a fault is for.
#[derive(Debug, Clone)]
pub struct Which {
    pub(crate) pick: Pick,
    once: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Pick {
    All,
    Id(u64),
    Next(u64),
    Sent(Vec<u8>),
}

impl Which {
    /// Every connection.
    pub fn all() -> Self {
        Self { pick: Pick::All, once: false }
    }

    /// The connection with this id. The proxy numbers from 0 as it accepts.
    pub fn id(id: u64) -> Self {
        Self { pick: Pick::Id(id), once: false }
    }

    /// Of the connections accepted from now on the one with this number, from 0.
    pub fn next(n: u64) -> Self {
        Self { pick: Pick::Next(n), once: false }
    }

    /// Connections that sent a statement (Query, Parse) or a startup packet with this text, letters
    /// as given. Looks at the first 64 KiB of a message.
    pub fn sent(text: impl Into<Vec<u8>>) -> Self {
        Self { pick: Pick::Sent(text.into()), once: false }
    }

    /// Of these only the first, so that a client that tries again gets through.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

/// A fault that waits for its connections.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) pick: Pick,
    pub(crate) fault: Fault,
    once: bool,
    spent: AtomicBool,
}

impl Rule {
    /// `accepted` is how many connections there have been, which "next" is counted from.
    pub(crate) fn new(which: Which, fault: Fault, accepted: u64) -> Self {
        fault.check();
        let pick = match which.pick {
            Pick::Next(n) => Pick::Id(accepted + n),
            pick => pick,
        };
        Self { pick, fault, once: which.once, spent: AtomicBool::new(false) }
    }

    /// Takes one use of the rule; `false` when it had only one.
    pub(crate) fn take(&self) -> bool {
        !self.spent.swap(self.once, Ordering::Relaxed)
    }
}
