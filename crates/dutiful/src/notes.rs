//! What a handler says of its attempt while it runs: gathered here, bounded, written now and then.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::id::Fence;
use crate::inspect::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LogLine, Progress};
use crate::outcome::clean;
use crate::store::Note;

/// What was said and is not yet written.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    progress: Option<Progress>,
    log: Vec<LogLine>,
    /// Lines so far, written or not.
    lines: u32,
}

impl Notes {
    /// Remembers the last word on how far it has come.
    pub(crate) fn progress(&self, percent: u8, note: &str, at: Timestamp) {
        self.said().progress = Some(Progress::new(percent, note, at));
    }

    /// Adds a line; of many that nobody has written yet the oldest go.
    pub(crate) fn log(&self, text: &str, at: Timestamp) {
        let mut said = self.said();
        said.lines = said.lines.saturating_add(1);
        let line = LogLine::new(said.lines, at, text);
        said.log.push(line);
        if said.log.len() > 2 * LOG_LINES_MAX as usize {
            said.log.drain(..LOG_LINES_MAX as usize);
        }
    }

    /// Returns what is to be written, if anything. It stays here until it is known to be written:
    /// the attempt may end meanwhile, and then its end takes all of it along.
    pub(crate) fn unwritten(&self, fence: Fence) -> Option<Note> {
        let said = self.said();
        if said.progress.is_none() && said.log.is_empty() {
            return None;
        }
        let surplus = said.log.len().saturating_sub(LOG_LINES_MAX as usize);
        let (progress, log) = (said.progress.clone(), said.log[surplus..].to_vec());
        Some(Note { fence, progress, checkpoint: None, log })
    }

    /// Forgets what was written; what was said since stays.
    pub(crate) fn written(&self, note: &Note) {
        let mut said = self.said();
        if said.progress == note.progress {
            said.progress = None;
        }
        let last = note.log.last().map_or(0, |line| line.number);
        said.log.retain(|line| line.number > last);
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Returns what is kept of it: 100 at most, and the note as one line of a kilobyte at most.
    pub fn new(percent: u8, note: &str, at: Timestamp) -> Self {
        let note = one_line(note);
        Self { percent: percent.min(100), note: (!note.is_empty()).then_some(note), at }
    }
}

impl LogLine {
    /// Returns what is kept of it: one line, a kilobyte at most.
    pub fn new(number: u32, at: Timestamp, text: &str) -> Self {
        Self { number, at, text: one_line(text) }
    }
}

/// Cuts to the limit and keeps it one line.
fn one_line(text: &str) -> String {
    clean(text.trim_end(), LOG_LINE_BYTES_MAX).replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENCE: Fence = Fence { id: crate::JobId::from_bytes([7; 16]), attempt: 1, nonce: 1 };

    #[test]
    fn a_flood_of_lines_keeps_its_numbers_and_its_end() {
        let notes = Notes::default();
        for n in 0..10_000 {
            notes.log(&format!("line {n}"), Timestamp::default());
        }
        let note = notes.unwritten(FENCE).expect("there is much to write");
        assert_eq!(note.log.len(), LOG_LINES_MAX as usize);
        let last = note.log.last().expect("a last line");
        assert_eq!((last.number, &*last.text), (10_000, "line 9999"));
        notes.written(&note);
        assert!(notes.unwritten(FENCE).is_none(), "all of it was written");
    }

    #[test]
    fn an_end_takes_along_what_is_only_on_its_way() {
        let notes = Notes::default();
        notes.log("one", Timestamp::default());
        notes.progress(10, "early", Timestamp::default());
        let early = notes.unwritten(FENCE).expect("a note");
        notes.log("two\nlines\0", Timestamp::default());
        notes.progress(200, "", Timestamp::default());
        let said = || notes.unwritten(FENCE).expect("a note");
        let lines = |note: &Note| -> Vec<(u32, String)> {
            note.log.iter().map(|line| (line.number, line.text.clone())).collect()
        };
        let both = [(1, "one".to_owned()), (2, "two lines\u{FFFD}".to_owned())];
        assert_eq!(lines(&said()), both, "nobody knows whether the first was written");
        notes.written(&early);
        assert_eq!(lines(&said()), both[1..]);
        let progress = said().progress.expect("the last word");
        assert_eq!((progress.percent, progress.note), (100, None));
    }
}
