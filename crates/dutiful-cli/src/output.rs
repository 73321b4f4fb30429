//! What goes to stdout and stderr: one JSON line, or text and tables for people.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use comfy_table::{Cell, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// Writes a line to stdout. A reader that went away (`| head`) is no failure.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    piece(format_args!("{text}\n")).map(drop)
}

/// Writes text to stdout; says whether somebody reads it still.
pub(crate) fn piece(text: impl Display) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("write the answer to stdout: {error}"))),
    }
}

/// Writes a value to stdout as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(as_json(value)?)
}

/// Returns a value as one line of JSON.
pub(crate) fn as_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::failed(format!("write the answer as JSON: {error}")))
}

/// Writes a note for people to stderr, where it disturbs no pipe.
pub(crate) fn note(text: impl Display) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Returns an empty table with these column heads.
pub(crate) fn table<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(heads);
    table
}

/// Returns a number, or a dot for zero, so that the eye finds what matters.
pub(crate) fn count(n: u64) -> Cell {
    let cell = if n == 0 { Cell::new("·") } else { Cell::new(n) };
    cell.set_alignment(comfy_table::CellAlignment::Right)
}

/// Returns text on one line in which nothing can steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(' '),
            c if c.is_control() || turns(c) => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

/// Marks that turn the direction of what follows, and can make a line read as another one.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns at most `most` characters of plain text.
pub(crate) fn short(text: &str, most: usize) -> String {
    let text = plain(text);
    match text.char_indices().nth(most) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nothing_that_steers_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc\u{9b}"), "a\\u{1b}[31mb\\r c\\u{9b}");
        assert_eq!(plain("a\u{202e}b\u{200d}"), "a\\u{202e}b\u{200d}");
        assert_eq!(short("äöü", 3), "äöü");
        assert_eq!(short("äöüß", 3), "äöü…");
    }
}
