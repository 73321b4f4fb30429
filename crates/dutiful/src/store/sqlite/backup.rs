//! Writes a consistent copy of the file while workers go on, under its name only when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::errors::Trouble;
use super::partial::Partial;
use super::statements::prepare;
use super::{SqliteStore, open};
use crate::error::StoreError;
use crate::inspect::Backup;
use crate::store::Reply;
use crate::store::connect::apart;

pub(super) fn backup(store: &SqliteStore, to: PathBuf) -> Reply<'_, Backup> {
    // Asked first, so that a closed or forked store says so.
    let open = store.read(|_, _| Ok(()));
    Box::pin(async move {
        open.await?;
        let from = store.path.clone().ok_or(StoreError::Unsupported {
            what: "write a backup",
            store: "sqlite in memory",
            advice: "keep jobs that matter in a file",
        })?;
        if let Some(file) = &store.file {
            file.check()?;
        }
        apart("dutiful-backup", move || write(&from, &to)).await
    })
}

fn write(from: &Path, to: &Path) -> Result<Backup, StoreError> {
    let wrong = |reason: String| StoreError::Backup { verb: "write", path: to.into(), reason };
    let target = free_place(to).map_err(wrong)?;
    let cannot =
        |error: std::io::Error| wrong(format!("{error}; name a place with space to write"));
    let copy = Partial::beside(&target).map_err(cannot)?;
    let text = copy.path().to_str().ok_or_else(|| wrong("name it in UTF-8".into()))?;
    let conn = open::reader(from)?;
    let copied = || -> Result<u64, Trouble> {
        prepare(&conn, "backup", "copy")?.execute([text])?;
        // Read back from the copy: that it opens and answers is part of the promise.
        let written = Connection::open(copy.path())?;
        Ok(prepare(&written, "backup", "jobs")?.query_row([], |row| row.get(0))?)
    };
    let jobs = copied().map_err(|trouble| match StoreError::from(trouble) {
        StoreError::Full => wrong("no space is left there; free some, or name another disk".into()),
        StoreError::Unavailable(text) => wrong(text),
        other => other,
    })?;
    let bytes = fs::metadata(copy.path()).map_err(cannot)?.len();
    copy.finish(&target).map_err(cannot)?;
    Ok(Backup { path: target, bytes, jobs })
}

/// Returns the whole path of a file that is not there yet, or what stands there.
fn free_place(to: &Path) -> Result<PathBuf, String> {
    match fs::symlink_metadata(to) {
        Ok(meta) if meta.is_symlink() => {
            return Err("it is a symbolic link; name the file itself".into());
        }
        Ok(meta) if meta.is_dir() => return Err("it is a directory; name a file in it".into()),
        Ok(_) => return Err("it exists already; name a new file, or delete that one".into()),
        Err(_) => {}
    }
    let name = to.file_name().ok_or("it names no file; name one")?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))
        .map_err(|error| format!("{error}; name a folder that exists"))?;
    Ok(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_or_nameless_place_is_refused_in_words() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let says = |path: &Path| free_place(path).expect_err("it cannot be written");
        assert!(says(dir.path()).contains("directory"));
        let taken = dir.path().join("taken");
        fs::write(&taken, b"x").expect("it is written");
        assert!(says(&taken).contains("exists already"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("it is linked");
        assert!(says(&link).contains("symbolic link"));
        assert!(says(&dir.path().join("no/such/a.db")).contains("folder"));
        assert!(free_place(&dir.path().join("a.db")).is_ok());
    }
}
