//! Keeps the write-ahead log short when readers overlap.
//!
//! SQLite copies the log into the file by itself, but begins it anew only in a moment in which
//! nobody reads from it. Readers that overlap without a gap let it grow for as long as they do.
//! When it has grown, the writer asks for that moment: new readers then read from the file, and
//! those that read from the log are waited for, briefly. Whoever holds a snapshot for long is not
//! waited for; the log is tried again later and later, for each try costs the writer its wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::open::{WAL_BYTES_MAX, wait_for_lock};
use super::partial::with_ending;

/// The log is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Readers are waited for so long, in tries of 1 ms: they ask short questions …
const TRIES: i32 = 50;
/// … and whoever keeps the log for longer is let alone for this long, then for twice as long …
const AGAIN_MIN: Duration = Duration::from_secs(5);
/// … up to this.
const AGAIN_MAX: Duration = Duration::from_secs(80);

/// The log of one file, seen from its writer.
pub(super) struct Wal {
    path: PathBuf,
    next: Instant,
    again: Duration,
}

impl Wal {
    pub(super) fn of(file: &Path) -> Self {
        Self {
            path: with_ending(file, "-wal"),
            next: Instant::now() + LOOK_EVERY,
            again: AGAIN_MIN,
        }
    }

    /// Cuts the log back if it has grown. Called between two transactions.
    pub(super) fn keep_short(&mut self, conn: &mut Connection) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + LOOK_EVERY;
        let bytes = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
        if bytes <= WAL_BYTES_MAX as u64 {
            self.again = AGAIN_MIN;
        } else if !cut(conn) {
            self.next = now + self.again;
            self.again = (self.again * 2).min(AGAIN_MAX);
        }
    }
}

/// Returns whether the log begins anew. A failure is no harm: the next commit goes on in it.
fn cut(conn: &mut Connection) -> bool {
    let patient = conn.busy_handler(Some(|tries| tries < TRIES && wait_for_lock(tries)));
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = conn.query_row(checkpoint, [], |row| row.get::<_, i64>(0));
    let restored = conn.busy_handler(Some(wait_for_lock));
    patient.is_ok() && restored.is_ok() && busy == Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grew_is_cut_and_a_reader_is_not_waited_for_long() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("t.db");
        let open = || Connection::open(&file).expect("it opens");
        let (mut conn, reader) = (open(), open());
        conn.execute_batch(
            "PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF;
             CREATE TABLE t (bytes BLOB);",
        )
        .expect("the table is made");
        let mut wal = Wal::of(&file);
        let length = |wal: &Wal| std::fs::metadata(&wal.path).map_or(0, |meta| meta.len());
        let grow = |conn: &Connection| {
            conn.execute("INSERT INTO t VALUES (zeroblob(?1))", [WAL_BYTES_MAX + 1])
                .expect("it is written");
        };
        let look = |wal: &mut Wal, conn: &mut Connection| {
            wal.next = Instant::now();
            wal.keep_short(conn);
        };
        grow(&conn);
        look(&mut wal, &mut conn);
        assert_eq!(length(&wal), 0);
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").expect("a snapshot is held");
        grow(&conn);
        let begun = Instant::now();
        look(&mut wal, &mut conn);
        assert!(length(&wal) > WAL_BYTES_MAX as u64, "somebody reads from it");
        assert!(begun.elapsed() < Duration::from_secs(4), "but it was not waited for");
        assert_eq!(wal.again, AGAIN_MIN * 2, "and is let alone for longer");
        reader.execute_batch("COMMIT").expect("it lets go");
        look(&mut wal, &mut conn);
        assert_eq!(length(&wal), 0);
    }
}
