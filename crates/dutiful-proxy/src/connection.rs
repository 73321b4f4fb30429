//! One connection: the faults that hold for it, and what of the bytes at hand may go on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::fault::{Each, Fault, Pick, Rule, Side, Way};
use crate::framing::{Framing, TEXT_MAX, Wire};

/// How many different statements of a connection are remembered, to strike it by one of them.
const TEXTS_MAX: usize = 1000;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order: both ends closed, or it was refused.
    Closed,
    /// By a reset of both ends: a fault's, or one end's own that was passed on.
    Reset,
    /// Cut in this direction.
    Cut(Way),
}

/// What a connection has done so far.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its number in the order of acceptance, from 0.
    pub id: u64,
    /// The time since it was accepted.
    pub age: Duration,
    /// Bytes that went on.
    pub bytes: Each<u64>,
    /// Whole messages that went on.
    pub messages: Each<u64>,
    /// The sum of the delays that its reads were given.
    pub delayed: Each<Duration>,
    /// Whether messages could no longer be told, as under encryption; then they are not counted.
    pub opaque: bool,
    /// How it ended, or `None` while it is open.
    pub end: Option<End>,
}

/// A connection as its two pipes and the test's calls share it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: u64,
    pub(crate) seed: u64,
    accepted: Instant,
    state: Mutex<State>,
    /// Wakes the pipes, so that they look at the state anew.
    pub(crate) changed: watch::Sender<()>,
}

/// Everything that decides what happens to the next byte.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) lanes: Each<Lane>,
    pub(crate) end: Option<End>,
    wire: Wire,
    /// Rules that wait for a text.
    waiting: Vec<Arc<Rule>>,
    texts: HashSet<Vec<u8>>,
    /// Faults that hold once the client's stream has gone on up to a place.
    deferred: Vec<(u64, Fault)>,
}

/// One direction: the faults that hold, and the counts.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) delay: Option<(Duration, Duration)>,
    pub(crate) rate: Option<u32>,
    pub(crate) hole: Option<Hole>,
    /// Bytes were dropped: going on would join two ends that do not belong together.
    pub(crate) lost: bool,
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) delayed: Duration,
    cuts: Vec<Cut>,
    released: u64,
    begun: u64,
    messages: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hole {
    Drops,
    DoesNotRead,
}

/// Where the stream ends, counted from the connection's first byte and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Byte(u64),
    Message(u64, Side),
}

/// How much of the bytes at hand may go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) len: usize,
    /// The cut comes behind them.
    pub(crate) cut: bool,
    /// A text came that a rule waited for: look at the faults anew.
    pub(crate) struck: bool,
}

impl Shared {
    pub(crate) fn new(id: u64, seed: u64, framing: Framing) -> Self {
        let state = State {
            lanes: Each::default(),
            end: None,
            wire: Wire::new(framing),
            waiting: Vec::new(),
            texts: HashSet::new(),
            deferred: Vec::new(),
        };
        let (changed, _) = watch::channel(());
        Self { id, seed, accepted: Instant::now(), state: Mutex::new(state), changed }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look(&self) -> Connection {
        let state = self.lock();
        let Each { to_server, to_client } = &state.lanes;
        Connection {
            id: self.id,
            age: self.accepted.elapsed(),
            bytes: Each { to_server: to_server.written, to_client: to_client.written },
            messages: Each { to_server: to_server.messages, to_client: to_client.messages },
            delayed: Each { to_server: to_server.delayed, to_client: to_client.delayed },
            opaque: state.wire.opaque(),
            end: state.end,
        }
    }

    /// Applies a rule now if the connection fits it; returns whether it did. A rule with a text
    /// that was not sent yet is kept for later when `waits`.
    pub(crate) fn apply(&self, rule: &Arc<Rule>, waits: bool) -> bool {
        let mut state = self.lock();
        let fits = state.end.is_none()
            && match &rule.pick {
                Pick::All => true,
                Pick::Id(id) => *id == self.id,
                Pick::Next(_) => false,
                Pick::Sent(text) => state.texts.iter().any(|sent| contains(sent, text)),
            };
        let hit = fits && rule.take();
        if hit {
            state.install(&rule.fault);
        } else if waits && matches!(rule.pick, Pick::Sent(_)) {
            state.waiting.push(rule.clone());
        }
        drop(state);
        self.changed.send_replace(());
        hit
    }

    /// Takes every fault away. What lost bytes is reset, as by a peer that missed some.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.deferred.clear();
        for way in Way::BOTH {
            let lane = state.lanes.of_mut(*way);
            (lane.delay, lane.rate, lane.hole) = (None, None, None);
            lane.cuts.clear();
            if lane.lost {
                state.end.get_or_insert(End::Reset);
            }
        }
        drop(state);
        self.changed.send_replace(());
    }
}

impl State {
    fn install(&mut self, fault: &Fault) {
        let mut each = |ways: &[Way], set: &dyn Fn(&mut Lane)| {
            ways.iter().for_each(|way| set(self.lanes.of_mut(*way)));
        };
        match *fault {
            Fault::Delay { ways, base, jitter } => {
                each(ways, &|lane| lane.delay = Some((base, jitter)));
            }
            Fault::Throttle { ways, bytes_per_second } => {
                each(ways, &|lane| lane.rate = Some(bytes_per_second));
            }
            Fault::Blackhole { ways, reads } => {
                let hole = if reads { Hole::Drops } else { Hole::DoesNotRead };
                each(ways, &|lane| lane.hole = Some(hole));
            }
            Fault::CutAtByte { way, n } => {
                each(&[way], &|lane| lane.cuts.push(Cut::Byte(lane.released + n)));
            }
            Fault::CutAtMessage { way, k, side } => {
                each(&[way], &|lane| lane.cuts.push(Cut::Message(lane.begun + k, side)));
            }
            Fault::Reset => self.end = Some(End::Reset),
            Fault::Refuse => self.end = Some(End::Closed),
        }
    }

    /// Decides how much of `bytes` may go on. `more` says whether others may follow them: a message
    /// that a rule wants to search is held until it is whole.
    pub(crate) fn release(&mut self, way: Way, bytes: &[u8], more: bool) -> Release {
        let mut release = Release::default();
        loop {
            let room = self.lanes.of(way).room();
            let rest = &bytes[release.len..];
            let visible = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            if visible == 0 {
                return Release { cut: room == 0, ..release };
            }
            let mut wire = self.wire.clone();
            let piece = wire.step(way, &rest[..visible]);
            if way == Way::ToServer && !self.waiting.is_empty() && !wire.opaque() {
                let partial = piece.begins && !piece.ends && visible == rest.len();
                if partial && more && visible < TEXT_MAX {
                    return release;
                }
                let rule = self.waiting.iter().position(|rule| fits(rule, wire.text()));
                if let Some(rule) = rule {
                    // What stands before this message goes on first: the fault is not for it.
                    if release.len == 0 {
                        self.strike(rule, piece.len);
                        release.struck = true;
                    }
                    return release;
                }
            }
            let lane = self.lanes.of_mut(way);
            if piece.begins && lane.cuts.contains(&Cut::Message(lane.begun + 1, Side::Before)) {
                return Release { cut: true, ..release };
            }
            self.wire = wire;
            release.len += piece.len;
            if lane.pass(piece.len, piece.begins, piece.ends) {
                return Release { cut: true, ..release };
            }
            if piece.ends && way == Way::ToServer && self.texts.len() < TEXTS_MAX {
                self.remember();
            }
        }
    }

    /// Applies a rule whose text has come, in a message of this length. A cut of the answers waits
    /// until the message has gone on: else an earlier answer could keep it from the server.
    fn strike(&mut self, rule: usize, len: usize) {
        let rule = self.waiting.remove(rule);
        if !rule.take() {
            return;
        }
        match &rule.fault {
            fault @ (Fault::CutAtByte { way: Way::ToClient, .. }
            | Fault::CutAtMessage { way: Way::ToClient, .. }) => {
                let end = self.lanes.to_server.released + len as u64;
                self.deferred.push((end, fault.clone()));
            }
            fault => self.install(fault),
        }
    }

    /// Counts what was written, and applies what waited for it.
    pub(crate) fn wrote(&mut self, way: Way, n: usize) {
        self.lanes.of_mut(way).written += n as u64;
        let written = self.lanes.to_server.written;
        for (_, fault) in
            self.deferred.extract_if(.., |(end, _)| *end <= written).collect::<Vec<_>>()
        {
            self.install(&fault);
        }
    }

    fn remember(&mut self) {
        let text = self.wire.text();
        if !text.is_empty() && !self.texts.contains(text) {
            self.texts.insert(text.to_vec());
        }
    }
}

impl Lane {
    /// How many bytes may go on before a cut by bytes.
    fn room(&self) -> u64 {
        let places = self.cuts.iter().filter_map(|cut| match cut {
            Cut::Byte(n) => Some(n.saturating_sub(self.released)),
            Cut::Message(..) => None,
        });
        places.min().unwrap_or(u64::MAX)
    }

    /// Counts what goes on; returns whether a cut stands behind it.
    fn pass(&mut self, len: usize, begins: bool, ends: bool) -> bool {
        self.released += len as u64;
        self.begun += u64::from(begins);
        self.messages += u64::from(ends);
        ends && self.cuts.contains(&Cut::Message(self.begun, Side::After))
    }
}

fn fits(rule: &Rule, sent: &[u8]) -> bool {
    matches!(&rule.pick, Pick::Sent(text) if contains(sent, text))
}

fn contains(sent: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && sent.windows(text.len()).any(|window| window == text)
}
