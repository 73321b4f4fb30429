//! What is kept of a command's output, in bounded memory: stdout's last line, the end of stderr.

use serde_json::value::RawValue;

/// Longest last line of stdout that can be a result.
pub(crate) const RESULT_BYTES_MAX: usize = 64 * 1024;
/// How much of the end of stderr becomes the error's message.
pub(crate) const TAIL_BYTES_MAX: usize = 4 * 1024;

/// How much of a line of stderr is told; more than the log of a job keeps of it.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Takes output as it comes.
pub(crate) trait Sink {
    /// Takes some more bytes.
    fn push(&mut self, bytes: &[u8]);
}

/// The last line that is not blank.
#[derive(Debug, Default)]
pub(crate) struct LastLine {
    current: Vec<u8>,
    current_too_long: bool,
    last: Option<Vec<u8>>,
}

impl Sink for LastLine {
    fn push(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.current.len() + piece.len() > RESULT_BYTES_MAX {
                self.current_too_long = true;
                self.current.clear();
            }
            if !self.current_too_long {
                self.current.extend_from_slice(piece);
            }
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
    }
}

impl LastLine {
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.current);
        if std::mem::take(&mut self.current_too_long) {
            self.last = None;
        } else if !line.trim_ascii().is_empty() {
            self.last = Some(line);
        }
    }

    /// Returns the line, if it is JSON.
    pub(crate) fn json(mut self) -> Option<Box<RawValue>> {
        self.end_line();
        serde_json::from_slice(&self.last?).ok()
    }
}

/// The end of what was written.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Sink for Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Cutting only at twice the size moves each byte once on average.
        if self.bytes.len() > 2 * TAIL_BYTES_MAX {
            self.bytes.drain(..self.bytes.len() - TAIL_BYTES_MAX);
            self.cut = true;
        }
    }
}

impl Tail {
    /// Returns it as text that every store keeps: whole characters, no NUL, at most 4 KiB.
    pub(crate) fn text(&self) -> String {
        let bytes = self.bytes.trim_ascii_end();
        let start = bytes.len().saturating_sub(TAIL_BYTES_MAX);
        let mut end = &bytes[start..];
        if self.cut || start > 0 {
            let inside = |byte: &u8| byte & 0xC0 == 0x80;
            end = &end[end.iter().take(3).take_while(|byte| inside(byte)).count()..];
        }
        let text = String::from_utf8_lossy(end).replace('\0', "\u{fffd}");
        // A replaced byte takes three; cut again.
        let surplus = text.len().saturating_sub(TAIL_BYTES_MAX);
        text[text.ceil_char_boundary(surplus)..].to_owned()
    }
}

/// The end of what was written, and each line of it told as it comes.
#[derive(Debug)]
pub(crate) struct Lines<F: FnMut(&str)> {
    tail: Tail,
    current: Vec<u8>,
    tell: F,
}

impl<F: FnMut(&str)> Lines<F> {
    /// Tells this function of each line that is not blank, without its end.
    pub(crate) fn new(tell: F) -> Self {
        Self { tail: Tail::default(), current: Vec::new(), tell }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.current);
        let line = String::from_utf8_lossy(line.trim_ascii_end());
        if !line.is_empty() {
            (self.tell)(&line);
        }
    }

    /// Tells of a last line without an end, and returns the end of everything.
    pub(crate) fn text(mut self) -> String {
        self.end_line();
        self.tail.text()
    }
}

impl<F: FnMut(&str)> Sink for Lines<F> {
    fn push(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_BYTES_MAX.saturating_sub(self.current.len());
            self.current.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(chunks: &[&str]) -> Option<String> {
        let mut line = LastLine::default();
        chunks.iter().for_each(|chunk| line.push(chunk.as_bytes()));
        line.json().map(|json| json.get().to_owned())
    }

    #[test]
    fn finds_the_last_line_however_it_arrives() {
        assert_eq!(json(&["{\"a\"", ":1}\n"]), Some("{\"a\":1}".to_owned()));
        assert_eq!(json(&["1\n2\n", "3"]), Some("3".to_owned()));
        assert_eq!(json(&["1\n\n  \n"]), Some("1".to_owned()));
        assert_eq!(json(&["1\nok\n"]), None);
        assert_eq!(json(&[""]), None);
        assert_eq!(json(&["1 2"]), None);
    }

    #[test]
    fn takes_no_result_that_is_too_long() {
        let fits = format!("\"{}\"", "x".repeat(RESULT_BYTES_MAX - 2));
        assert_eq!(json(&["1\n", &fits, "\n"]), Some(fits));
        let long = format!("\"{}\"", "x".repeat(RESULT_BYTES_MAX - 1));
        assert_eq!(json(&["1\n", &long, "\n"]), None);
        assert_eq!(json(&[&long, &long, "\n2"]), Some("2".to_owned()));
    }

    fn tail(chunks: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        chunks.iter().for_each(|chunk| tail.push(chunk));
        tail.text()
    }

    #[test]
    fn tells_each_line_however_it_arrives() {
        let mut told = Vec::new();
        let mut lines = Lines::new(|line: &str| told.push(line.to_owned()));
        let long = "x".repeat(LINE_BYTES_MAX + 10);
        for chunk in ["a", "b\r\n\n", "c\nd", "e\n", &long, "\nlast"] {
            lines.push(chunk.as_bytes());
        }
        assert!(lines.text().ends_with("x\nlast"));
        assert_eq!(told, ["ab", "c", "de", &long[..LINE_BYTES_MAX], "last"]);
    }

    #[test]
    fn keeps_whole_characters_of_the_end() {
        assert_eq!(tail(&[b"a", b"b\n"]), "ab");
        let many = "ü".repeat(TAIL_BYTES_MAX);
        assert_eq!(tail(&[b"x", many.as_bytes()]), "ü".repeat(TAIL_BYTES_MAX / 2));
        assert_eq!(tail(&[many.as_bytes(), b"x"]).len(), TAIL_BYTES_MAX - 1);
    }

    #[test]
    fn is_text_whatever_the_bytes_are() {
        assert_eq!(tail(&[b"a\0b\xff"]), "a\u{fffd}b\u{fffd}");
        let text = tail(&[&[0xff; 3 * TAIL_BYTES_MAX]]);
        assert!(text.len() <= TAIL_BYTES_MAX && text.chars().all(|c| c == '\u{fffd}'));
        let _ = tail(&[&[0x80; 3 * TAIL_BYTES_MAX]]);
    }
}
