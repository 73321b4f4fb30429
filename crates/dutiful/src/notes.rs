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
        let note = one_line(note);
        let note = (!note.is_empty()).then_some(note);
        self.said().progress = Some(Progress { percent: percent.min(100), note, at });
    }

    /// Adds a line; of many that nobody has written yet the oldest go.
    pub(crate) fn log(&self, text: &str, at: Timestamp) {
        let text = one_line(text);
        let mut said = self.said();
        said.lines = said.lines.saturating_add(1);
        let number = said.lines;
        said.log.push(LogLine { number, at, text });
        if said.log.len() > 2 * LOG_LINES_MAX as usize {
            said.log.drain(..LOG_LINES_MAX as usize);
        }
    }

    /// Takes what is to be written, if anything.
    pub(crate) fn take(&self, fence: Fence) -> Option<Note> {
        let mut said = self.said();
        if said.progress.is_none() && said.log.is_empty() {
            return None;
        }
        let mut log = std::mem::take(&mut said.log);
        let surplus = log.len().saturating_sub(LOG_LINES_MAX as usize);
        log.drain(..surplus);
        Some(Note { fence, progress: said.progress.take(), checkpoint: None, log })
    }

    /// Takes back what could not be written; what was said since wins.
    pub(crate) fn put_back(&self, note: Note) {
        let mut said = self.said();
        let mut log = note.log;
        log.append(&mut said.log);
        said.log = log;
        said.progress = said.progress.take().or(note.progress);
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let note = notes.take(FENCE).expect("there is much to write");
        assert_eq!(note.log.len(), LOG_LINES_MAX as usize);
        let last = note.log.last().expect("a last line");
        assert_eq!((last.number, &*last.text), (10_000, "line 9999"));
        assert!(notes.take(FENCE).is_none(), "it was taken");
    }

    #[test]
    fn what_is_put_back_comes_before_what_was_said_since() {
        let notes = Notes::default();
        notes.log("one", Timestamp::default());
        notes.progress(10, "early", Timestamp::default());
        let early = notes.take(FENCE).expect("a note");
        notes.log("two\nlines\0", Timestamp::default());
        notes.progress(200, "", Timestamp::default());
        notes.put_back(early);
        let note = notes.take(FENCE).expect("a note");
        let lines: Vec<_> = note.log.iter().map(|l| (l.number, l.text.as_str())).collect();
        assert_eq!(lines, [(1, "one"), (2, "two lines\u{FFFD}")]);
        let progress = note.progress.expect("the last word");
        assert_eq!((progress.percent, progress.note), (100, None));
    }
}
