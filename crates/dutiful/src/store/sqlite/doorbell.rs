//! Tells sleeping workers that something may have become claimable: at once within this process,
//! and within a few ms of a commit by any other connection, by polling SQLite's `data_version`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::writer::lock;
use crate::clock::BootTime;

/// How often a sleeper's store looks for commits of other connections.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// A counter of rings that can be awaited.
pub(super) struct Doorbell {
    rings: watch::Sender<u64>,
    woken: AtomicBool,
    sleepers: Mutex<Sleepers>,
    somebody: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How far apart the last two looks were.
    lag: Mutex<Option<Duration>>,
}

#[derive(Default)]
struct Sleepers {
    asleep: usize,
    closed: bool,
}

impl Doorbell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            rings: watch::Sender::new(1),
            woken: AtomicBool::new(false),
            sleepers: Mutex::default(),
            somebody: Condvar::new(),
            thread: Mutex::new(None),
            lag: Mutex::new(None),
        })
    }

    pub(super) fn ring(&self) {
        self.rings.send_modify(|n| *n += 1);
    }

    /// Rings ahead of a commit, if somebody sleeps here: whoever wakes can join it.
    pub(super) fn ring_ahead(&self) {
        if lock(&self.sleepers).asleep > 0 {
            self.woken.store(true, Ordering::SeqCst);
            self.ring();
        }
    }

    /// Says, once, whether somebody was woken ahead of a commit.
    pub(super) fn woke_somebody(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// Waits until it rang more often than `heard`; returns how often it rang.
    pub(super) async fn wait(&self, heard: u64) -> u64 {
        let now = *self.rings.borrow();
        if now > heard {
            return now;
        }
        let _asleep = Asleep::new(self);
        let mut rings = self.rings.subscribe();
        match rings.wait_for(|n| *n > heard).await {
            Ok(n) => *n,
            Err(_) => heard,
        }
    }

    /// Returns how late a commit of another connection may have been heard of lately; `None` where
    /// nobody slept, or there is no other.
    pub(super) fn lag(&self) -> Option<Duration> {
        *lock(&self.lag)
    }

    /// Starts the thread that watches for commits of other connections; it ends with the bell.
    pub(super) fn watch(self: &Arc<Self>, conn: Connection) -> std::io::Result<()> {
        let bell = Arc::downgrade(self);
        let thread = std::thread::Builder::new()
            .name("dutiful-doorbell".into())
            .spawn(move || look_for_commits(&bell, &conn))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Stops to watch; returns the thread, whose connection goes with it.
    pub(super) fn close(&self) -> Option<JoinHandle<()>> {
        lock(&self.sleepers).closed = true;
        self.somebody.notify_one();
        lock(&self.thread).take()
    }
}

struct Asleep<'a>(&'a Doorbell);

impl<'a> Asleep<'a> {
    fn new(bell: &'a Doorbell) -> Self {
        lock(&bell.sleepers).asleep += 1;
        bell.somebody.notify_one();
        Self(bell)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        lock(&self.0.sleepers).asleep -= 1;
    }
}

fn look_for_commits(bell: &Weak<Doorbell>, conn: &Connection) {
    // Nobody sleeping means nobody to wake: then the thread sleeps too, and looks now and then
    // whether the store is still there.
    const STILL_THERE: Duration = Duration::from_secs(1);
    let (mut seen, mut looked) = (0, None);
    while let Some(bell) = bell.upgrade() {
        let sleepers = lock(&bell.sleepers);
        if sleepers.closed {
            return;
        }
        if sleepers.asleep == 0 {
            let _ = bell.somebody.wait_timeout(sleepers, STILL_THERE);
            looked = None;
            continue;
        }
        drop(sleepers);
        let version = conn.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
        if let Ok(version) = version
            && version != seen
        {
            seen = version;
            bell.ring();
        }
        let now = BootTime::now();
        if let Some(before) = looked.replace(now) {
            *lock(&bell.lag) = Some(now.since(before));
        }
        drop(bell);
        std::thread::sleep(LOOK_EVERY);
    }
}
