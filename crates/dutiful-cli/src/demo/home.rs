//! The directory in which a demo lives: the shop's file, pictures, reports and ledgers.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::failure::Failure;

/// Names of all places, below one directory that is removed at the end unless it was asked for.
#[derive(Debug)]
pub(crate) struct Home {
    root: PathBuf,
    _removed_on_drop: Option<TempDir>,
}

impl Home {
    /// Makes a temporary directory, or takes the one that the caller wants to keep.
    pub(crate) fn make(wanted: Option<&Path>) -> Result<Self, Failure> {
        let home = match wanted {
            Some(dir) => Self::at(dir)?,
            None => {
                let temporary = tempfile::Builder::new().prefix("dutiful-demo-").tempdir();
                let dir = temporary
                    .map_err(|error| Failure::failed(format!("make a directory: {error}")))?;
                Self { root: dir.path().to_owned(), _removed_on_drop: Some(dir) }
            }
        };
        for dir in [home.originals(), home.pictures(), home.parts(), home.reports(), home.ledgers()]
        {
            std::fs::create_dir_all(&dir).map_err(|error| {
                Failure::failed(format!(
                    "write to {}: {error}; give --dir a directory that you may write to",
                    home.root.display()
                ))
            })?;
        }
        Ok(home)
    }

    fn at(dir: &Path) -> Result<Self, Failure> {
        let failed = |why: String| Failure::failed(format!("use {}: {why}", dir.display()));
        std::fs::create_dir_all(dir).map_err(|error| {
            failed(format!("{error}; give --dir a directory that you may write to"))
        })?;
        let root = dir.canonicalize().map_err(|error| failed(error.to_string()))?;
        if root.to_str().is_none() {
            return Err(failed("its name is not UTF-8; give --dir another".into()));
        }
        let mut entries = root.read_dir().map_err(|error| failed(error.to_string()))?;
        if entries.next().is_some() {
            return Err(failed("it is not empty; give --dir a new or an empty directory".into()));
        }
        Ok(Self { root, _removed_on_drop: None })
    }

    /// Returns the home that the parent made, in a worker.
    pub(crate) fn existing(root: PathBuf) -> Self {
        Self { root, _removed_on_drop: None }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// True when the directory stays.
    pub(crate) fn is_kept(&self) -> bool {
        self._removed_on_drop.is_none()
    }

    /// The shop and the store, in one file.
    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("shop.db")
    }

    pub(crate) fn store_url(&self) -> String {
        format!("sqlite:{}", self.database().display())
    }

    /// The bundled pictures, as files.
    pub(crate) fn originals(&self) -> PathBuf {
        self.root.join("originals")
    }

    /// Resized pictures, one per order, complete whenever they are there.
    pub(crate) fn pictures(&self) -> PathBuf {
        self.root.join("pictures")
    }

    /// Files that somebody writes still, or wrote when it was killed.
    pub(crate) fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    pub(crate) fn reports(&self) -> PathBuf {
        self.root.join("reports")
    }

    pub(crate) fn ledgers(&self) -> PathBuf {
        self.root.join("ledgers")
    }

    pub(crate) fn shop_ledger(&self) -> PathBuf {
        self.ledgers().join("shop.ledger")
    }

    pub(crate) fn mail_ledger(&self) -> PathBuf {
        self.ledgers().join("mail.ledger")
    }

    pub(crate) fn worker_ledger(&self, number: u64) -> PathBuf {
        self.ledgers().join(format!("worker-{number}.ledger"))
    }

    /// What a worker says when it cannot go on.
    pub(crate) fn worker_errors(&self, number: u64) -> PathBuf {
        self.ledgers().join(format!("worker-{number}.stderr"))
    }
}
