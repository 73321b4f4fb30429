//! A reader that holds a snapshot of the bench's file, as a long report or a forgotten shell would:
//! SQLite cannot cut the WAL back while it is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rusqlite::{Connection, OpenFlags};

/// How often the file is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// A snapshot that is held from the moment at which the file has a schema.
pub(crate) struct Snapshot {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<(f64, f64)>>,
}

impl Snapshot {
    /// Waits for the file in the background, and holds the first snapshot that it can get.
    pub(crate) fn hold(file: PathBuf) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        Self { over, thread: std::thread::spawn(move || hold(&file, &end)) }
    }

    /// Ends it; returns for how many seconds it was held, and the MiB of the WAL at the end.
    pub(crate) fn let_go(self) -> Result<(f64, f64)> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| anyhow!("hold the snapshot: its thread panicked"))?
    }
}

fn hold(file: &Path, over: &AtomicBool) -> Result<(f64, f64)> {
    let pause = || std::thread::sleep(LOOK);
    let conn = loop {
        if over.load(Ordering::SeqCst) {
            return Err(anyhow!("hold a snapshot: the bench ended before its file was there"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let Ok(conn) = Connection::open_with_flags(file, flags) else {
            pause();
            continue;
        };
        // The look begins the snapshot; before there is a schema it fails, and is tried again.
        if conn.execute_batch(include_str!("sql/snapshot.sql")).is_ok() {
            break conn;
        }
        pause();
    };
    let begun = Instant::now();
    let wal = file.with_extension("db-wal");
    let mut bytes = 0;
    while !over.load(Ordering::SeqCst) {
        pause();
        bytes = std::fs::metadata(&wal).map_or(bytes, |meta| meta.len());
    }
    drop(conn);
    Ok((begun.elapsed().as_secs_f64(), bytes as f64 / (1024.0 * 1024.0)))
}
