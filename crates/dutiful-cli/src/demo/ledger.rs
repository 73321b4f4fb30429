//! What really happened, noted outside the store: one append-only file per process.
//!
//! Each line is one write(2) on a file opened with O_APPEND, so a line that was written survives
//! the SIGKILL of its process, and nothing of it passes through the system that is judged.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// The notes of one process.
#[derive(Debug)]
pub(crate) struct Ledger(File);

impl Ledger {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        File::options().append(true).create(true).open(path).map(Self)
    }

    /// Appends one line of words.
    pub(crate) fn note(&self, line: impl Display) -> io::Result<()> {
        let line = format!("{line}\n");
        let written = (&self.0).write(line.as_bytes())?;
        if written < line.len() {
            return Err(io::Error::other("the disk took half a line of the ledger"));
        }
        Ok(())
    }
}

/// Returns the words of each complete line; a file that was never made has none.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Vec<String>>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let complete = text.rsplit_once('\n').map_or("", |(lines, _half)| lines);
    Ok(complete.lines().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_lines_over_reopening_and_leaves_out_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.ledger");
        assert!(read(&path).unwrap().is_empty());
        Ledger::open(&path).unwrap().note("start mail 1").unwrap();
        Ledger::open(&path).unwrap().note("end mail 1").unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"start ma").unwrap();
        assert_eq!(read(&path).unwrap(), [["start", "mail", "1"], ["end", "mail", "1"]]);
    }
}
