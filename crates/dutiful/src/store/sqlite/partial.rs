//! A file that is written beside its final name and takes that name only when it is whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How the name of an unfinished file ends.
const ENDING: &str = ".partial";

/// An unfinished file; dropped before it is finished, it goes, with what SQLite put beside it.
pub(super) struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Makes an empty file for its owner alone, in the folder of the target.
    pub(super) fn beside(target: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{:08x}{ENDING}", fastrand::u32(..)));
        let path = target.with_file_name(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it durable under the target's name, which nothing may have yet.
    ///
    /// It must not be open in SQLite any more: to close a file drops SQLite's locks on it.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        match fs::hard_link(&self.path, target) {
            Ok(()) => fs::remove_file(&self.path)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            // Some file systems know no second name for a file.
            Err(_) if fs::symlink_metadata(target).is_ok() => {
                return Err(ErrorKind::AlreadyExists.into());
            }
            Err(_) => fs::rename(&self.path, target)?,
        }
        sync_folder(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for ending in ["", "-journal", "-wal", "-shm"] {
            // Most of them are not there; what cannot be removed is told of by `doctor`.
            let _ = fs::remove_file(with_ending(&self.path, ending));
        }
    }
}

/// Returns the path with something after its name.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut whole = path.as_os_str().to_owned();
    whole.push(ending);
    whole.into()
}

/// Makes durable which names the folder of this file has.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Returns the unfinished files of backups and restores in the folder of this file.
pub(super) fn left_beside(path: &Path) -> Vec<PathBuf> {
    let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    let entries = entries.into_iter().flatten().filter_map(Result::ok);
    let ours = entries.filter(|entry| is_ours(&entry.file_name().to_string_lossy()));
    ours.map(|entry| entry.path()).collect()
}

/// Knows a name that `beside` made, also with what SQLite put after it.
fn is_ours(name: &str) -> bool {
    let number = name
        .strip_prefix('.')
        .and_then(|name| name.split_once(ENDING))
        .and_then(|(before, _)| before.rsplit_once('.'));
    number.is_some_and(|(_, hex)| hex.len() == 8 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_name_only_when_finished_and_from_nobody() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let target = dir.path().join("a.db");
        drop(Partial::beside(&target).expect("it is made"));
        let names = || dir.path().read_dir().expect("it is a folder").count();
        assert_eq!(names(), 0, "given up, it leaves nothing");
        let whole = Partial::beside(&target).expect("it is made");
        assert_eq!(left_beside(&target), [whole.path().to_owned()]);
        whole.finish(&target).expect("nothing has the name");
        assert!(target.exists() && names() == 1);
        let late = Partial::beside(&target).expect("it is made");
        let error = late.finish(&target).expect_err("the name is taken");
        assert_eq!((error.kind(), names()), (ErrorKind::AlreadyExists, 1));
        assert!(is_ours(".a.db.0f3a9c21.partial-journal"));
        for other in [".a.db.partial", "a.db.0f3a9c21.partial", ".film.part", ".x.12345678"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
