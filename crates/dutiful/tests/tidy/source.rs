//! A file of the project as the checks see it: what is code, what is comment, what is text.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Something that breaks a rule, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    what: String,
}

impl Problem {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Fails the calling test with every problem on a line of its own.
#[track_caller]
pub(crate) fn expect_none(problems: Vec<Problem>) {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    assert!(lines.is_empty(), "{} to put right:\n{}", lines.len(), lines.join("\n"));
}

/// A string literal: where its opening quote stands, and what is in it.
#[derive(Debug)]
pub(crate) struct Literal {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) text: String,
}

/// A Rust file, taken apart. Line and column numbers in here start at 0; problems count from 1.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    /// The lines with comments and the insides of literals blanked, columns kept.
    pub(crate) code: Vec<String>,
    pub(crate) literals: Vec<Literal>,
    /// Whether each line belongs to a test.
    pub(crate) test: Vec<bool>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (masked, literals) = mask(text);
        let code: Vec<String> = masked.split('\n').map(str::to_owned).collect();
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        if lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let test = if is_test_path(path) { vec![true; code.len()] } else { test_lines(&code) };
        Self { path: path.to_owned(), lines, code, literals, test }
    }

    /// The lines of code that are no test, with their numbers.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.code.iter().enumerate();
        numbered.filter(|(n, _)| !self.test[*n]).map(|(n, line)| (n, line.as_str()))
    }

    /// Returns how many columns of a line are the insides of string literals.
    pub(crate) fn text_columns(&self, line: usize) -> usize {
        let pieces = self.literals.iter().filter(|l| l.line <= line).filter_map(|l| {
            let piece = l.text.split('\n').nth(line - l.line)?;
            Some(piece.chars().count())
        });
        pieces.sum()
    }

    pub(crate) fn problem(&self, line: usize, what: impl Into<String>) -> Problem {
        Problem::new(&self.path, line + 1, what)
    }
}

fn is_test_path(path: &str) -> bool {
    path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    path.canonicalize().expect("the workspace that this test was built from is there")
}

/// Returns the paths of all files of the project, relative to its root, in order.
pub(crate) fn all_paths() -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("a folder of the project can be listed");
        for entry in entries {
            let path = entry.expect("an entry of the project can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() || ["target", ".git", "node_modules"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(&root).expect("the walk began at the root");
                found.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Reads a file of the project; text that is not UTF-8 is read with replacement characters.
pub(crate) fn read(path: &str) -> String {
    let bytes = std::fs::read(root().join(path)).unwrap_or_else(|e| panic!("read {path}: {e}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns every Rust file of the project, taken apart once.
pub(crate) fn rust_files() -> &'static [Source] {
    static FILES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let paths = all_paths();
        let rust = paths.iter().filter(|path| path.ends_with(".rs"));
        let mut sources: Vec<_> = rust.map(|path| Source::new(path, &read(path))).collect();
        let tests: Vec<_> = sources.iter().flat_map(test_modules).collect();
        for source in sources.iter_mut().filter(|source| tests.contains(&source.path)) {
            source.test.fill(true);
        }
        sources
    });
    &FILES
}

/// Returns the files that a file declares as modules for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').unwrap_or_default();
    let folder = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    let declared = source.code.iter().enumerate().filter(|(n, _)| source.test[*n]);
    let names =
        declared.filter_map(|(_, line)| line.trim().strip_prefix("mod ")?.strip_suffix(';'));
    names.flat_map(|m| [format!("{folder}/{m}.rs"), format!("{folder}/{m}/mod.rs")]).collect()
}

/// Blanks comments and the insides of string and character literals.
fn mask(text: &str) -> (String, Vec<Literal>) {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = chars.clone();
    let mut literals = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let (open, shut, len) = match rest {
            ['/', '/', ..] => (0, 0, find(rest, |tail| tail[0] == '\n')),
            ['/', '*', ..] => (0, 0, block_comment(rest)),
            ['"', ..] => (1, 1, quoted(rest, '"')),
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => (1, 1, quoted(rest, '\'')),
            ['r', ..] if let Some(hashes) = raw_hashes(&chars, at) => {
                (hashes + 2, hashes + 1, raw_end(rest, hashes))
            }
            _ => {
                at += 1;
                continue;
            }
        };
        if open > 0 && rest[0] != '\'' {
            let inside = &rest[open..len.saturating_sub(shut).max(open)];
            literals.push(literal(&chars[..at], inside.iter().collect()));
        }
        let inside = at + open.min(1)..at + len - shut.min(1);
        masked[inside].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        if open > 1 {
            (masked[at], masked[at + len - 1]) = ('"', '"');
        }
        at += len;
    }
    (masked.into_iter().collect(), literals)
}

fn literal(before: &[char], text: String) -> Literal {
    let line = before.iter().filter(|c| **c == '\n').count();
    let column = before.iter().rev().take_while(|c| **c != '\n').count();
    Literal { line, column, text }
}

/// Returns the first place where the rest fits, or the end.
fn find(text: &[char], fits: impl Fn(&[char]) -> bool) -> usize {
    (0..text.len()).find(|at| fits(&text[*at..])).unwrap_or(text.len())
}

fn block_comment(text: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match &text[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

/// Returns the length of a literal with escapes, both quotes included.
fn quoted(text: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Returns how many `#` a raw string has that begins with the `r` here, if one does.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let mut before = chars[..at].iter().rev().take_while(|c| is_word(c));
    match (before.next(), before.next()) {
        (None, _) | (Some('b' | 'c'), None) => {}
        _ => return None,
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn raw_end(text: &[char], hashes: usize) -> usize {
    let body = &text[hashes + 2..];
    let ends = |tail: &[char]| {
        tail[0] == '"' && tail.len() > hashes && tail[1..=hashes].iter().all(|c| *c == '#')
    };
    (hashes + 2 + find(body, ends) + 1 + hashes).min(text.len())
}

/// Marks the lines of items under `#[cfg(test)]`, and of the bugs that tests put in on purpose.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    for (first, line) in code.iter().enumerate() {
        let starts = ["#[cfg(test)]", "#[cfg(all(test,", "#[test]", "#[tokio::test", "#[cfg(bug "];
        let starts = starts.iter().any(|attribute| line.contains(attribute));
        if starts && !test[first] {
            let last = item_end(code, first, 0);
            test[first..=last].fill(true);
        }
    }
    test
}

/// Returns the line on which the item ends that begins here: at its last brace, or its semicolon.
pub(crate) fn item_end(code: &[String], line: usize, column: usize) -> usize {
    let (mut braces, mut others) = (0_i32, 0_i32);
    for (n, text) in code.iter().enumerate().skip(line) {
        let skip = if n == line { column } else { 0 };
        for c in text.chars().skip(skip) {
            match c {
                '{' => braces += 1,
                '}' => braces -= 1,
                '(' | '[' => others += 1,
                ')' | ']' => others -= 1,
                _ => {}
            }
            let ended = (c == '}' && braces <= 0) || (c == ';' && braces == 0);
            if ended && others <= 0 {
                return n;
            }
        }
    }
    code.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("crates/x/src/a.rs", text).code.join("\n")
    }

    #[test]
    fn blanks_comments_and_literals_and_keeps_columns() {
        assert_eq!(code("a(\"}{\") // }"), "a(\"  \")     ");
        assert_eq!(code("x /* { /* } */ { */ y"), format!("x {} y", " ".repeat(17)));
        assert_eq!(code(r#"f("\"{", '{', '\'', '"')"#), r#"f("   ", ' ', '  ', ' ')"#);
        assert_eq!(code("r#\"a\"b{\"# }"), "\"       \" }");
        assert_eq!(code("br\"\\\" {"), "b\"  \" {");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("r#type + var\"x\""), "r#type + var\" \"");
        assert_eq!(code("\"one\ntwo{\" }"), "\"   \n    \" }");
    }

    #[test]
    fn keeps_the_text_and_place_of_literals() {
        let source =
            Source::new("crates/x/src/a.rs", "a;\n b(\"SELECT 1\", r##\"x\"#y\"##, \"\");");
        let found: Vec<_> =
            source.literals.iter().map(|l| (l.line, l.column, l.text.as_str())).collect();
        assert_eq!(found, [(1, 3, "SELECT 1"), (1, 15, "x\"#y"), (1, 28, "")]);
    }

    #[test]
    fn knows_which_files_are_tests_of_another() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\nmod tests { fn c() {} }";
        let of = |path: &str| test_modules(&Source::new(path, text));
        assert_eq!(of("crates/x/src/mod.rs"), ["crates/x/src/b.rs", "crates/x/src/b/mod.rs"]);
        assert_eq!(of("crates/x/src/d.rs"), ["crates/x/src/d/b.rs", "crates/x/src/d/b/mod.rs"]);
    }

    #[test]
    fn knows_which_lines_are_tests() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { \"}\"; }\n}\nfn c() {}\n";
        let source = Source::new("crates/x/src/a.rs", text);
        assert_eq!(source.test[..6], [false, true, true, true, true, false]);
        let source = Source::new("crates/x/src/a.rs", "#[cfg(test)]\nmod tests;\nfn c() {}");
        assert_eq!(source.test, [true, true, false]);
        let source = Source::new("crates/x/src/a.rs", "fn a() {}\n#[test]\nfn b() {\n}\nfn c() {}");
        assert_eq!(source.test, [false, true, true, true, false]);
        assert!(Source::new("crates/x/tests/a.rs", "fn a() {}").test[0]);
    }
}
