//! From a URL to checked connections: what the file is, where it lies, and how SQLite must treat
//! it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};

use super::errors::{BUSY_MAX, Trouble};
use super::writer::lock;
use crate::clock::BootTime;
use crate::error::StoreError;

/// The oldest SQLite without the WAL-reset corruption.
const VERSION_MIN: i32 = 3_051_003;
/// The smallest page of SQLite, and so its smallest file.
const PAGE_BYTES_MIN: u64 = 512;
/// Page cache of the writer.
const CACHE_KIB: i64 = 16 * 1024;
/// A WAL larger than this is cut back at a checkpoint.
pub(super) const WAL_BYTES_MAX: i64 = 64 * 1024 * 1024;
/// Pages in the WAL after which the writer checkpoints.
const CHECKPOINT_PAGES: i64 = 4000;
/// A file up to this size is checked in full after an unclean end.
pub(super) const CHECK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a URL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `None` is `:memory:`.
    pub(super) path: Option<PathBuf>,
    /// The file may not grow over so many bytes.
    pub(super) max_bytes: Option<i64>,
    /// A network file system was allowed by hand.
    pub(super) network: bool,
    /// A file that is not there is a mistake, and is not made.
    pub(super) must_exist: bool,
}

impl Target {
    /// Parses `sqlite:FILE[?max_bytes=N][&network=allow]` or `sqlite::memory:`.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let wrong = |reason: &str| StoreError::Url { url: url.into(), reason: reason.into() };
        let rest = url.strip_prefix("sqlite:").unwrap_or(url);
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if place.is_empty() {
            return Err(wrong("it names no file; write sqlite:jobs.db"));
        }
        let path = (place != ":memory:").then(|| PathBuf::from(place));
        let mut target = Self { path, max_bytes: None, network: false, must_exist: false };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("max_bytes", n)) => match n.parse() {
                    Ok(n) if n > 0 => target.max_bytes = Some(n),
                    _ => return Err(wrong("max_bytes must be a number of bytes")),
                },
                Some(("network", "allow")) => target.network = true,
                _ => return Err(wrong("it knows max_bytes=N and network=allow after the ?")),
            }
        }
        Ok(target)
    }
}

/// Looks at the file before SQLite does, makes it with mode 0600 when it is not there, and returns
/// its canonical path.
pub(super) fn prepare_file(path: &Path, target: &Target) -> Result<PathBuf, StoreError> {
    // One at a time: whoever makes the file closes it again before anybody else here opens it.
    static PREPARING: Mutex<()> = Mutex::new(());
    let _alone = lock(&PREPARING);
    let wrong = |reason: String| StoreError::Open { path: path.into(), reason };
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            return Err(wrong("it is a directory; name a file in it".into()));
        }
        Ok(meta) if meta.is_symlink() => {
            return Err(wrong("it is a symbolic link; name the file itself".into()));
        }
        Ok(meta) if !meta.is_file() => return Err(wrong("it is not a regular file".into())),
        // SQLite takes a file shorter than its smallest page for an empty database, and would write
        // over somebody's notes. Of longer ones it looks at the header itself.
        Ok(meta) if (1..PAGE_BYTES_MIN).contains(&meta.len()) => {
            let size = meta.len();
            let reason = format!("its {size} bytes are no SQLite database; name another file");
            return Err(wrong(reason));
        }
        Ok(_) => {
            // Asked, for SQLite alone would quietly read on; but not by opening it: to close any
            // descriptor of a file drops the locks that this process holds on it (POSIX), those of
            // another client too, and then another process takes the WAL from under us.
            access(path, Access::READ_OK | Access::WRITE_OK)
                .map_err(|e| wrong(format!("{e}; allow reading and writing")))?;
        }
        Err(_) if target.must_exist => {
            return Err(wrong(
                "there is no such file; check the name and the folder (enqueue, work and migrate \
                 make a new store)"
                    .into(),
            ));
        }
        Err(_) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            match made {
                Ok(_) => {}
                // Another process was faster; its file is as good.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(wrong(format!("{e}; name a place that can be written"))),
            }
        }
    }
    let canonical = fs::canonicalize(path).map_err(|e| wrong(e.to_string()))?;
    if !target.network && is_network(&canonical) {
        return Err(wrong(
            "it lies on a network file system, whose locks SQLite cannot trust; use a local disk, \
             or Postgres (or ?network=allow at your own risk)"
                .into(),
        ));
    }
    Ok(canonical)
}

pub(super) fn is_network(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    if let Ok(stat) = rustix::fs::statfs(path) {
        return is_network_kind(stat.f_type as u32);
    }
    let _ = path;
    false
}

/// Knows the kernel's numbers of NFS, SMB, CIFS, SMB2, 9P and Lustre.
pub(super) fn is_network_kind(f_type: u32) -> bool {
    const NETWORKS: [u32; 6] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x0BD0_0BD0];
    NETWORKS.contains(&f_type)
}

/// Opens the connection that writes.
pub(super) fn writer(target: &Target, path: Option<&Path>) -> Result<Connection, StoreError> {
    assert!(
        rusqlite::version_number() >= VERSION_MIN,
        "linked with SQLite {}, which can corrupt a WAL file; at least 3.51.3 is needed",
        rusqlite::version()
    );
    let conn = match path {
        Some(path) => Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)),
        None => Connection::open_in_memory(),
    };
    let mut conn = conn.map_err(|e| StoreError::from(Trouble::from(e)))?;
    set_up_writer(&mut conn, target).map_err(|trouble| explain(trouble.into(), path))?;
    Ok(conn)
}

fn set_up_writer(conn: &mut Connection, target: &Target) -> Result<(), Trouble> {
    conn.busy_handler(Some(wait_for_lock))?;
    conn.set_prepared_statement_cache_capacity(128);
    keep_plans(conn)?;
    conn.pragma_update(None, "page_size", 4096)?;
    if target.path.is_some() {
        let mode = switch_to_wal(conn)?;
        if mode != "wal" {
            let reason = format!("its journal mode is {mode}, and WAL was refused");
            return Err(StoreError::Unavailable(reason).into());
        }
    }
    #[cfg(not(bug = "sync_off"))]
    conn.pragma_update(None, "synchronous", "FULL")?;
    #[cfg(bug = "sync_off")]
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
    if let Some(bytes) = target.max_bytes {
        let page: i64 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        conn.query_row(&format!("PRAGMA max_page_count = {}", (bytes / page).max(1)), [], |_| {
            Ok(())
        })?;
    }
    Ok(())
}

/// Of several who open a new file at once some are turned away without the busy handler being
/// asked, so they are made to try again here.
fn switch_to_wal(conn: &Connection) -> Result<String, Trouble> {
    let begun = BootTime::now();
    loop {
        let mode = conn.query_row("PRAGMA journal_mode = wal", [], |row| row.get(0));
        match mode.map_err(Trouble::from) {
            Err(Trouble(StoreError::Busy { .. })) if BootTime::now().since(begun) < BUSY_MAX => {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

/// Which file was opened, to notice when it is deleted or replaced: what is written then is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { path: path.into(), device: meta.dev(), inode: meta.ino() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says no when the path no longer leads to this file.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if Self::of(&self.path).is_ok_and(|now| now == *self) {
            return Ok(());
        }
        Err(StoreError::Open {
            path: self.path.clone(),
            reason: "it was deleted, moved or replaced while it was in use; put it back, or start \
                     the program anew"
                .into(),
        })
    }
}

/// Opens a connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let open = || -> Result<Connection, Trouble> {
        let mut conn = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        conn.busy_handler(Some(wait_for_lock))?;
        conn.set_prepared_statement_cache_capacity(64);
        keep_plans(&conn)?;
        Ok(conn)
    };
    open().map_err(|trouble| explain(trouble.into(), Some(path)))
}

/// Without this SQLite looks at the values bound to `= ?` and `LIMIT ?` when it plans, and so plans
/// each cached statement anew for each new value, which costs more than running it.
fn keep_plans(conn: &Connection) -> Result<(), Trouble> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// Tries again every millisecond: with SQLite's own growing pauses one process can starve another.
pub(super) fn wait_for_lock(tries: i32) -> bool {
    if cfg!(bug = "locks_not_awaited") {
        return false;
    }
    const STEP: Duration = Duration::from_millis(1);
    std::thread::sleep(STEP);
    (tries as u128) < BUSY_MAX.as_millis()
}

/// Says of an error at the opening what it means for this file.
pub(super) fn explain(error: StoreError, path: Option<&Path>) -> StoreError {
    let Some(path) = path else { return error };
    let reason = match error {
        StoreError::Corrupt(text) => {
            format!("{text}; it is not a SQLite database, or damaged: name another file")
        }
        StoreError::Busy { waited } => format!(
            "another program has held its lock for {waited:?}; end that program or its transaction"
        ),
        StoreError::Unavailable(text) => text,
        other => return other,
    };
    StoreError::Open { path: path.into(), reason }
}

/// Checks the structure of a file whose last worker did not end in order.
pub(super) fn quick_check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let bytes = fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
    if bytes > CHECK_BYTES_MAX {
        return Ok(());
    }
    let verdict = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match verdict {
        Ok(text) if text == "ok" => Ok(()),
        Ok(text) => Err(StoreError::Corrupt(text)),
        Err(error) => Err(explain(Trouble::from(error).into(), Some(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_network_file_systems_are_refused() {
        let (nfs, cifs, plan9) = (0x6969, 0xFF53_4D42, 0x0102_1997);
        assert!([nfs, cifs, plan9].into_iter().all(is_network_kind));
        let (ext4, tmpfs, btrfs, xfs) = (0xEF53, 0x0102_1994, 0x9123_683E, 0x5846_5342);
        assert!(![ext4, tmpfs, btrfs, xfs].into_iter().any(is_network_kind));
    }

    #[test]
    fn a_url_says_where_and_how_or_is_refused() {
        let path = |url| Target::parse(url).map(|target| target.path);
        assert_eq!(path("sqlite:jobs.db").ok(), Some(Some("jobs.db".into())));
        assert_eq!(path("sqlite:///var/jobs.db").ok(), Some(Some("/var/jobs.db".into())));
        assert_eq!(path("sqlite::memory:").ok(), Some(None));
        let limited =
            Target::parse("sqlite:a.db?max_bytes=4096&network=allow").expect("it is valid");
        assert_eq!((limited.max_bytes, limited.network), (Some(4096), true));
        for wrong in ["sqlite:", "sqlite:a.db?max_bytes=0", "sqlite:a.db?sync=off", "sqlite:?x"] {
            assert!(matches!(path(wrong), Err(StoreError::Url { .. })), "{wrong}");
        }
    }
}
