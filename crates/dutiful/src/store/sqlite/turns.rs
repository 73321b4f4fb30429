//! Lets other connections to the file have their turn: SQLite's lock knows no queue, so a writer
//! that commits without a gap would starve everybody who tries again every now and then.
//!
//! A writer that was busy for a while pauses for a moment. It does so often while others were seen
//! to commit lately, and now and then while it seems to be alone: the first commit of a newcomer,
//! made in such a pause, is what gets it seen. So sharing costs a tenth, and being alone a
//! hundredth.

use std::time::{Duration, Instant};

use rusqlite::Connection;

/// How long each pause is: the others try again every millisecond.
const PAUSE: Duration = Duration::from_millis(2);
/// Busy for this long among others, it pauses.
const BUSY_AMONG_OTHERS: Duration = Duration::from_millis(20);
/// Busy for this long alone, it pauses.
const BUSY_ALONE: Duration = Duration::from_millis(200);
/// Others count as gone after this long without a commit.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// Whose turn it is, as far as one writer can tell.
pub(super) struct Turns {
    busy_since: Instant,
    /// Grows with every commit of another connection.
    version: i64,
    seen: Option<Instant>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { busy_since: Instant::now(), version: 0, seen: None }
    }

    /// The writer had nothing to do, which is a turn for everybody else.
    pub(super) fn idle(&mut self) {
        self.busy_since = Instant::now();
    }

    /// Pauses between two commits when others should have their turn.
    pub(super) fn between_commits(&mut self, conn: &Connection) {
        let busy = self.busy_since.elapsed();
        if busy < BUSY_AMONG_OTHERS {
            return;
        }
        self.look(conn);
        let among_others = self.seen.is_some_and(|seen| seen.elapsed() < SEEN_FOR);
        if among_others || busy >= BUSY_ALONE {
            std::thread::sleep(PAUSE);
            self.busy_since = Instant::now();
        }
    }

    fn look(&mut self, conn: &Connection) {
        let version = conn.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
        // If even this cannot be read, the next transaction says so to its caller.
        if let Ok(version) = version
            && version != self.version
        {
            // The first look has nothing to compare with.
            if self.version != 0 {
                self.seen = Some(Instant::now());
            }
            self.version = version;
        }
    }
}
