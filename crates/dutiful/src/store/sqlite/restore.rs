//! Puts a backup in the place of a store, as the beginning of a new life: whoever worked on the old
//! one is refused by fence and by term, and a process that has the old file open by its identity.
//!
//! All of it is done on a copy beside the place; the place changes by one rename at the end.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};

use super::change::cancel;
use super::errors::Trouble;
use super::migrate;
use super::open::{self, Target};
use super::partial::{Partial, sync_folder, with_ending};
use super::rows::Names;
use super::rows::job_id;
use super::statements::prepare;
use super::tally::{Event, Tally};
use super::writer::Txn;
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::id::JobId;
use crate::inspect::Restored;

/// By how much the leader's term grows: more than it can have grown since the backup, so that no
/// term of the old life is ever reached again.
const TERMS: i64 = 1_000_000;
/// What the attempt log says of attempts that were active in the backup.
const MESSAGE: &str = "the store was restored from a backup in which this attempt was active";
/// What SQLite keeps beside a file. A log of another file would be replayed into a new one.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

pub(crate) fn restore(
    url: &str,
    backup: &Path,
    over: bool,
    clock: &Clock,
) -> Result<Restored, StoreError> {
    let path = place(url, over)?;
    let wrong =
        |reason: String| StoreError::Backup { verb: "restore", path: backup.into(), reason };
    check_source(backup, &path).map_err(wrong)?;
    let cannot = |error: std::io::Error| wrong(format!("{error}; allow reading and writing"));
    let copy = Partial::beside(&path).map_err(cannot)?;
    copy_into(backup, copy.path()).map_err(cannot)?;
    let (jobs, leases_ended) = begin_anew(copy.path(), clock.now()).map_err(|t| match t.0 {
        StoreError::Corrupt(text) => wrong(format!("it is damaged ({text}); take another one")),
        StoreError::Unavailable(text) => wrong(text),
        other => other,
    })?;
    let aside = if over { move_aside(&path, clock.now())? } else { None };
    copy.finish(&path).map_err(|error| not_there(&path, &error))?;
    Ok(Restored { path, jobs, leases_ended, aside })
}

fn not_there(path: &Path, error: &std::io::Error) -> StoreError {
    let reason = format!("it could not be put there: {error}; restore it once more");
    StoreError::Open { path: path.into(), reason }
}

/// Returns where the store is to be, with its folder's whole path.
fn place(url: &str, over: bool) -> Result<PathBuf, StoreError> {
    let target = Target::parse(url)?;
    let path = target.path.ok_or(StoreError::Unsupported {
        what: "restore a backup",
        store: "sqlite in memory",
        advice: "name a file, as in sqlite:jobs.db",
    })?;
    let wrong = |reason: String| StoreError::Open { path: path.clone(), reason };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))
        .map_err(|error| wrong(format!("{error}; name a folder that exists")))?;
    let whole = folder.join(path.file_name().ok_or_else(|| wrong("it names no file".into()))?);
    if !target.network && open::is_network(&folder) {
        return Err(wrong("it lies on a network file system; use a local disk".into()));
    }
    match fs::symlink_metadata(&whole) {
        Ok(meta) if meta.is_symlink() => {
            Err(wrong("it is a symbolic link; name the file itself".into()))
        }
        Ok(meta) if !meta.is_file() => Err(wrong("it is not a regular file".into())),
        Ok(_) if over => Ok(whole),
        Ok(_) => Err(wrong(
            "it exists already; name another place, or restore with --replace, which moves it aside"
                .into(),
        )),
        Err(_) => match BESIDE.iter().find(|ending| with_ending(&whole, ending).exists()) {
            Some(ending) if !over => Err(wrong(format!(
                "a log of an older store lies beside it ({ending}); move that away, or restore \
                 with --replace"
            ))),
            _ => Ok(whole),
        },
    }
}

/// Says what is wrong with a backup that SQLite alone would not see.
fn check_source(backup: &Path, place: &Path) -> Result<(), String> {
    let meta = fs::metadata(backup).map_err(|error| format!("{error}; name a backup"))?;
    if !meta.is_file() {
        return Err("it is not a regular file; name a backup".into());
    }
    let log = fs::metadata(with_ending(backup, "-wal"));
    if log.is_ok_and(|log| log.len() > 0) {
        return Err(
            "a log lies beside it, so it is a store in use or a part of one; make a backup \
                    of it with `dutiful backup`"
                .into(),
        );
    }
    let same = fs::metadata(place)
        .is_ok_and(|there| (there.dev(), there.ino()) == (meta.dev(), meta.ino()));
    if same { Err("it is the store itself; name another file".into()) } else { Ok(()) }
}

fn copy_into(backup: &Path, copy: &Path) -> std::io::Result<()> {
    let mut to = File::options().write(true).open(copy)?;
    std::io::copy(&mut File::open(backup)?, &mut to)?;
    Ok(())
}

/// Checks the copy and ends in it what belonged to the old life; returns its jobs and how many
/// leases there were.
fn begin_anew(copy: &Path, now: Timestamp) -> Result<(u64, u64), Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(copy, flags)?;
    // Without a log of its own, so that the file alone is all of it.
    conn.query_row("PRAGMA journal_mode = delete", [], |_| Ok(()))?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt(verdict).into());
    }
    if migrate::version(&conn)? == 0 {
        let text = "no store of Dutiful is in it; name a file that `dutiful backup` wrote";
        return Err(StoreError::Unavailable(text.into()).into());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    migrate::within(&conn, None)?;
    let ended = end_old_life(&conn, now)?;
    let jobs = prepare(&conn, "backup", "jobs")?.query_row([], |row| row.get(0))?;
    conn.execute_batch("COMMIT")?;
    Ok((jobs, ended))
}

fn end_old_life(conn: &Connection, now: Timestamp) -> Result<u64, Trouble> {
    let run = |step: &'static str, with: &[&dyn rusqlite::ToSql]| -> Result<usize, Trouble> {
        Ok(prepare(conn, "restore", step)?.execute(with)?)
    };
    let mut asked = prepare(conn, "restore", "asked")?;
    let asked: Vec<JobId> = asked.query_map([], |row| job_id(row, 0))?.collect::<Result<_, _>>()?;
    run("log", params![now.us(), MESSAGE])?;
    run("count", params![Event::Stalled as i64])?;
    run("to_ready", params![now.us()])?;
    let ended = run("end", params![])?;
    let (mut tally, mut names, mut ring) = (Tally::default(), Names::default(), false);
    for id in asked {
        // As at a rescue: its worker never heard the request, the next one need not begin.
        let (tally, names, ring) = (&mut tally, &mut names, &mut ring);
        cancel(&mut Txn { conn, now, tally, names, ring }, id)?;
    }
    tally.write(conn)?;
    run("unheard", params![fastrand::i64(1..)])?;
    run("stopped", params![])?;
    run("term", params![TERMS])?;
    Ok(ended as u64)
}

/// Moves the file and what lies beside it to another name; returns that name, `None` when nothing
/// was there.
fn move_aside(path: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let digits: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let aside = with_ending(path, &format!(".replaced-{digits}"));
    let cannot = |error: std::io::Error| {
        let reason = format!("it could not be moved aside: {error}; allow writing in its folder");
        StoreError::Open { path: path.into(), reason }
    };
    // While the old store's lock is ours nobody is acknowledged what ends up aside. A file that is
    // no database any more has no writers to keep out.
    let old = lock_old(path)?;
    let mut moved = None;
    for ending in [""].into_iter().chain(BESIDE) {
        let from = with_ending(path, ending);
        if fs::symlink_metadata(&from).is_ok() {
            fs::rename(&from, with_ending(&aside, ending)).map_err(cannot)?;
            moved = Some(aside.clone());
        }
    }
    sync_folder(path).map_err(cannot)?;
    drop(old);
    Ok(moved)
}

fn lock_old(path: &Path) -> Result<Option<Connection>, StoreError> {
    let lock = || -> Result<Connection, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(super::errors::BUSY_MAX)?;
        // As far as its readers allow, so that little depends on two files that move one by one.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        conn.execute_batch("BEGIN IMMEDIATE")?;
        Ok(conn)
    };
    match lock().map_err(StoreError::from) {
        Ok(conn) => Ok(Some(conn)),
        Err(busy @ StoreError::Busy { .. }) => Err(open::explain(busy, Some(path))),
        Err(_) => Ok(None),
    }
}
