//! The shape of files: their opening sentence, their size, their depth and their width.

use crate::source::{Problem, Source, item_end};

/// No file is longer.
const FILE_LINES_MAX: usize = 500;
/// A file below this must be an idea of its own.
const FILE_LINES_MIN: usize = 40;
/// No function is longer.
const FUNCTION_LINES_MAX: usize = 70;
/// No line is wider.
const COLUMNS_MAX: usize = 100;
/// A line with one long text may keep this much beside it.
const BESIDE_TEXT_MAX: usize = 40;
/// No path goes deeper below `src`.
const FOLDERS_MAX: usize = 3;
/// The opening sentence ends within so many lines.
const SENTENCE_LINES_MAX: usize = 3;

/// A file opens with one `//!` sentence that says what it is for.
pub(crate) fn opening(source: &Source) -> Vec<Problem> {
    let says = |what: &str| vec![source.problem(0, what)];
    if !source.lines.first().is_some_and(|line| line.starts_with("//! ")) {
        return says("open the file with one `//! ` sentence that says what it is for");
    }
    let paragraph: Vec<_> =
        source.lines.iter().map_while(|line| line.strip_prefix("//! ")).collect();
    let ended = paragraph.iter().position(|line| line.contains(". ") || line.ends_with('.'));
    match ended {
        Some(line) if line < SENTENCE_LINES_MAX => Vec::new(),
        _ => says("end the opening sentence with a full stop within three lines"),
    }
}

/// A file has at most 500 lines.
pub(crate) fn file_length(source: &Source) -> Vec<Problem> {
    let lines = source.lines.len();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines: divide the file by idea, {FILE_LINES_MAX} are the limit");
    vec![source.problem(FILE_LINES_MAX, what)]
}

/// A file has at least 40 lines, or is the door of a folder, or is one of a verb, a command or a
/// campaign, or stands on the list.
pub(crate) fn dust(source: &Source, list: &[(&str, &str)]) -> Vec<Problem> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    let door = ["lib.rs", "main.rs", "mod.rs"].contains(&name);
    let folders = ["/tests/conformance/", "/src/commands/", "/dutiful-trust/tests/"];
    let per_verb = folders.iter().any(|folder| source.path.contains(folder));
    let named = list.iter().any(|(path, _)| source.path == *path);
    if door || per_verb || named || source.lines.len() >= FILE_LINES_MIN {
        return Vec::new();
    }
    let what = format!(
        "{} lines: move them to the file they belong to, or name this file with its reason in \
         SMALL of tests/tidy.rs",
        source.lines.len()
    );
    vec![source.problem(0, what)]
}

/// The list of small files names only files that exist and are small.
pub(crate) fn dust_list(sources: &[Source], list: &[(&str, &str)]) -> Vec<Problem> {
    let small =
        |path: &str| sources.iter().any(|s| s.path == path && s.lines.len() < FILE_LINES_MIN);
    let stale = list.iter().filter(|(path, why)| !small(path) || why.is_empty());
    let what = "strike it from SMALL of tests/tidy.rs: it is gone, large enough, or has no reason";
    stale.map(|(path, _)| Problem::new(path, 1, what)).collect()
}

/// A function has at most 70 lines, from its `fn` to its closing brace.
pub(crate) fn function_length(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (first, line) in source.code.iter().enumerate() {
        for (column, name) in function_names(line) {
            let lines = item_end(&source.code, first, column) - first + 1;
            if lines > FUNCTION_LINES_MAX {
                let what = format!(
                    "`{name}` has {lines} lines: give its steps names of their own, \
                     {FUNCTION_LINES_MAX} are the limit"
                );
                problems.push(source.problem(first, what));
            }
        }
    }
    problems
}

/// Returns the functions whose `fn` stands on this line: column and name.
fn function_names(line: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = line.chars().collect();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for at in 0..chars.len() {
        let starts = at == 0 || !is_word(chars[at - 1]);
        if starts && chars[at..].starts_with(&['f', 'n', ' ']) {
            let rest = chars[at + 3..].iter().skip_while(|c| **c == ' ');
            let name: String = rest.take_while(|c| is_word(**c) || **c == '#').collect();
            if !name.is_empty() {
                found.push((at, name));
            }
        }
    }
    found
}

/// Lines of Rust have at most 100 columns, unless one text or address makes them longer.
pub(crate) fn width(source: &Source) -> Vec<Problem> {
    let wide = source.lines.iter().enumerate().filter(|(n, line)| {
        let columns = line.chars().count();
        let one_text = columns - source.text_columns(*n) <= BESIDE_TEXT_MAX;
        columns > COLUMNS_MAX && !has_address(line) && !one_text
    });
    wide.map(|(n, line)| source.problem(n, too_wide(line))).collect()
}

/// Lines of any other text file of the house have at most 100 columns.
pub(crate) fn plain_width(path: &str, text: &str) -> Vec<Problem> {
    let wide = text.lines().enumerate();
    let wide = wide.filter(|(_, l)| l.chars().count() > COLUMNS_MAX && !has_address(l));
    wide.map(|(n, line)| Problem::new(path, n + 1, too_wide(line))).collect()
}

fn has_address(line: &str) -> bool {
    line.contains("://")
}

fn too_wide(line: &str) -> String {
    format!("{} columns: break the line, {COLUMNS_MAX} are the limit", line.chars().count())
}

/// No path is deeper than three folders under `src`.
pub(crate) fn depth(path: &str) -> Vec<Problem> {
    let Some((_, below)) = path.split_once("/src/") else {
        return Vec::new();
    };
    if below.matches('/').count() <= FOLDERS_MAX {
        return Vec::new();
    }
    vec![Problem::new(
        path,
        1,
        format!("move it up: {FOLDERS_MAX} folders under src are the limit"),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/a.rs", text)
    }

    #[test]
    fn refuses_a_file_without_an_opening_sentence() {
        for bad in ["", "use a;", "//!\n//! Late.", "/// Not of the file.", "//! no end\nuse a;"] {
            assert_eq!(opening(&source(bad)).len(), 1, "{bad:?}");
        }
        for good in ["//! What it is for.", "//! What it\n//! is for. And why.\n//!\n//! More."] {
            assert_eq!(opening(&source(good)), [], "{good:?}");
        }
    }

    #[test]
    fn refuses_long_files_and_dust() {
        assert_eq!(file_length(&source(&"a\n".repeat(500))), []);
        assert_eq!(file_length(&source(&"a\n".repeat(501))).len(), 1);
        assert_eq!(dust(&source(&"a\n".repeat(40)), &[]), []);
        assert_eq!(dust(&source(&"a\n".repeat(39)), &[]).len(), 1);
        assert_eq!(dust(&source("a"), &[("crates/x/src/a.rs", "why")]), []);
        assert_eq!(dust(&Source::new("crates/x/src/lib.rs", "a"), &[]), []);
        let list = [("crates/x/src/a.rs", "why"), ("crates/x/src/gone.rs", "why")];
        assert_eq!(dust_list(&[source("a")], &list).len(), 1);
        assert_eq!(dust_list(&[source(&"a\n".repeat(40))], &list).len(), 2);
        assert_eq!(dust_list(&[source("a")], &[("crates/x/src/a.rs", "")]).len(), 1);
    }

    #[test]
    fn measures_functions_past_braces_in_text() {
        let of = |lines: usize| {
            format!("pub fn long(a: &[u8; 3]) {{\n{}}}", "  \"}\";\n".repeat(lines - 2))
        };
        assert_eq!(function_length(&source(&of(70))), []);
        assert_eq!(function_length(&source(&of(71))).len(), 1);
        let declared = format!("fn a(\n);\n{}", "\n".repeat(90));
        assert_eq!(function_length(&source(&declared)), []);
        let pointer = format!("type A = fn(u32);\n{}struct B {{}}", "\n".repeat(90));
        assert_eq!(function_length(&source(&pointer)), []);
    }

    #[test]
    fn measures_width_but_for_one_text_or_address() {
        let long = "x".repeat(90);
        assert_eq!(width(&source(&format!("let a = {long}1;"))), []);
        assert_eq!(width(&source(&format!("let abcde = {long};"))).len(), 1);
        assert_eq!(width(&source(&format!("// why {long} …"))), []);
        assert_eq!(width(&source(&format!("// why this {long}"))).len(), 1);
        assert_eq!(width(&source(&format!("// https://a.example/{long}"))), []);
        assert_eq!(width(&source(&format!("\"why\"; // this {long}"))).len(), 1);
        assert_eq!(width(&source(&format!("\"one\n{long} {long}\n\""))), []);
        assert_eq!(width(&source(&format!("    #[error(\"{long} {{0}}\")]"))), []);
        assert_eq!(plain_width("a.sql", &format!("-- {long} {long}")).len(), 1);
        assert_eq!(plain_width("a.sql", &format!("-- {long}")), []);
    }

    #[test]
    fn refuses_paths_deeper_than_three_folders() {
        assert_eq!(depth("crates/x/src/store/sqlite/sql/claim.sql"), []);
        assert_eq!(depth("crates/x/src/a/b/c/d/e.rs").len(), 1);
        assert_eq!(depth("examples/a/b/c/d/e.rs"), []);
    }
}
