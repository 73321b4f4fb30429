//! What Rust code may not say: `unwrap`, `unsafe`, prints, clocks, features and SQL out of place.

use crate::source::{Problem, Source};

/// The one file that may contain `unsafe`: faults on disk need a VFS of SQLite.
const UNSAFE_FILE: &str = "crates/dutiful-trust/src/vfs.rs";
/// The sources of the library.
pub(crate) const LIBRARY: &str = "crates/dutiful/src/";
/// The shortest reason that `expect` may give, in words.
const REASON_WORDS_MIN: usize = 2;
/// Where `cfg(feature)` may stand in the library.
const FEATURE_FILES: [&str; 4] = ["lib.rs", "store/mod.rs", "store/connect.rs", "telemetry.rs"];
/// What asks the machine for the time.
const CLOCKS: [&str; 4] = ["SystemTime::now", "Instant::now", "clock_gettime", "Utc::now"];
/// The clock that a named file may use.
const STOPWATCH: &str = "Instant::now";
/// What prints, reads the environment, or ends the process.
const SIDE_EFFECTS: [&str; 12] = [
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "dbg!",
    "env::var",
    "env::vars",
    "env::args",
    "env::set_var",
    "io::stdout",
    "io::stderr",
    "io::stdin",
];
/// SQL wherever it stands in a text.
const SQL: [&str; 8] = [
    "SELECT ",
    "INSERT INTO",
    "INSERT OR ",
    "DELETE FROM",
    "CREATE TABLE",
    "CREATE INDEX",
    "ALTER TABLE",
    "DROP TABLE",
];
/// SQL when a text begins with it; `true` where the SQLite store may: the settings of a
/// connection and the brackets of the writer's group are one statement without parameters each.
const SQL_FIRST: [(&str, bool); 6] = [
    ("PRAGMA ", true),
    ("BEGIN", true),
    ("COMMIT", true),
    ("ROLLBACK", true),
    ("SAVEPOINT ", true),
    ("WITH ", false),
];

/// No `unwrap` outside tests, and every `expect` says why it cannot happen.
pub(crate) fn unwraps(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, line) in source.production() {
        if line.contains(".unwrap()") || line.contains(".unwrap_err()") {
            let what = "return the error, or `expect(\"why it cannot happen\")`";
            problems.push(source.problem(n, what));
        }
        for column in places(line, ".expect(") {
            if !has_reason(source, n, column) {
                let what = "say in `expect` why it cannot happen, in a sentence";
                problems.push(source.problem(n, what));
            }
        }
    }
    problems
}

fn has_reason(source: &Source, line: usize, column: usize) -> bool {
    let reason = source.literals.iter().find(|l| (l.line, l.column) > (line, column));
    reason.is_some_and(|l| {
        l.line <= line + 1 && l.text.split_whitespace().count() >= REASON_WORDS_MIN
    })
}

/// No `unsafe`, but for the one file that is named for it.
pub(crate) fn unsafes(source: &Source) -> Vec<Problem> {
    if source.path == UNSAFE_FILE {
        return Vec::new();
    }
    let numbered = source.code.iter().enumerate();
    let found = numbered.filter(|(_, line)| has_word(line, "unsafe"));
    let what = format!("write it without `unsafe`; only {UNSAFE_FILE} may");
    found.map(|(n, _)| source.problem(n, what.as_str())).collect()
}

/// The library asks for features in its seams only.
pub(crate) fn features(source: &Source) -> Vec<Problem> {
    let Some(file) = source.path.strip_prefix(LIBRARY) else {
        return Vec::new();
    };
    if FEATURE_FILES.contains(&file) {
        return Vec::new();
    }
    let found = source.production().filter(|(_, line)| {
        let line = line.replace(' ', "");
        line.contains("feature=") && line.contains("cfg")
    });
    let what = format!("decide about features in one of {}", FEATURE_FILES.join(", "));
    found.map(|(n, _)| source.problem(n, what.as_str())).collect()
}

/// Only `clock.rs` asks for the time; a named file may measure how long its own steps take.
pub(crate) fn clocks(source: &Source, stopwatches: &[(&str, &str)]) -> Vec<Problem> {
    let in_library = source.path.starts_with(LIBRARY);
    if !in_library || source.path == format!("{LIBRARY}clock.rs") {
        return Vec::new();
    }
    let named = stopwatches.iter().any(|(path, _)| source.path == *path);
    let measures = named || has_pausable_clock(source);
    let asked = CLOCKS.iter().filter(|clock| !(measures && **clock == STOPWATCH));
    let found = source.production().filter(|(_, line)| asked.clone().any(|c| line.contains(c)));
    found.map(|(n, _)| source.problem(n, "take the time from a `Clock`, it is an input")).collect()
}

/// The runtime's clock paces the engine: a test can stop it and move it, so it is an input.
fn has_pausable_clock(source: &Source) -> bool {
    let imports = |from: &str| {
        source.production().any(|(_, line)| line.contains(from) && line.contains("Instant"))
    };
    imports("use tokio::time::") && !imports("use std::time::")
}

/// The library prints nothing and reads no environment.
pub(crate) fn side_effects(source: &Source) -> Vec<Problem> {
    if !source.path.starts_with(LIBRARY) {
        return Vec::new();
    }
    let found = source.production().filter_map(|(n, line)| {
        let word = SIDE_EFFECTS.iter().find(|word| !word_places(line, word).is_empty())?;
        let what = format!("leave `{word}` to programs: return it, take it, or emit an event");
        Some(source.problem(n, what))
    });
    found.collect()
}

/// SQL stands in its own files, and in those that are named with a reason.
pub(crate) fn sql(source: &Source, named: &[(&str, &str)]) -> Vec<Problem> {
    if named.iter().any(|(path, _)| source.path == *path) {
        return Vec::new();
    }
    let sqlite = source.path.starts_with(&format!("{LIBRARY}store/sqlite/"));
    let mut problems = Vec::new();
    for literal in source.literals.iter().filter(|l| !source.test[l.line]) {
        let text = literal.text.trim_start();
        let updates = text.contains("UPDATE ") && text.contains("SET ");
        let first = SQL_FIRST.iter().any(|(word, allowed)| {
            text.starts_with(word) && !(sqlite && *allowed && !text.contains('?'))
        });
        if updates || first || SQL.iter().any(|word| text.contains(word)) {
            let what = "move the SQL to a file of its own under sql/ and `include_str!` it";
            problems.push(source.problem(literal.line, what));
        }
    }
    problems
}

/// Returns the columns at which a text begins in a line.
fn places(line: &str, text: &str) -> Vec<usize> {
    line.match_indices(text).map(|(at, _)| line[..at].chars().count()).collect()
}

/// Returns the places where a text begins that no word character touches from outside.
pub(crate) fn word_places(line: &str, word: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let found = line.match_indices(word).filter(|(at, _)| {
        let after = line[at + word.len()..].starts_with(is_word) && word.ends_with(is_word);
        !after && !line[..*at].ends_with(is_word)
    });
    found.map(|(at, _)| at).collect()
}

fn has_word(line: &str, word: &str) -> bool {
    !word_places(line, word).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(text: &str) -> Source {
        Source::new("crates/dutiful/src/worker/a.rs", text)
    }

    #[test]
    fn refuses_unwrap_and_bare_expect_outside_tests() {
        assert_eq!(unwraps(&library("a.unwrap();\nb.unwrap_err();")).len(), 2);
        assert_eq!(unwraps(&library("a.expect(\"\");\nb.expect(reason);")).len(), 2);
        assert_eq!(unwraps(&library("a.expect(\"ids are unique\");")), []);
        assert_eq!(unwraps(&library("a.expect(\n  \"ids are unique\");")), []);
        assert_eq!(unwraps(&library("// a.unwrap()\n\"a.unwrap()\"; b.unwrap_or(1)")), []);
        assert_eq!(unwraps(&library("#[cfg(test)]\nmod tests { fn f() { a.unwrap() } }")), []);
    }

    #[test]
    fn refuses_unsafe_but_in_the_named_file() {
        assert_eq!(unsafes(&library("unsafe { a() }")).len(), 1);
        assert_eq!(unsafes(&library("#![forbid(unsafe_code)] // unsafe")), []);
        assert_eq!(unsafes(&Source::new(UNSAFE_FILE, "unsafe { a() }")), []);
    }

    #[test]
    fn refuses_features_outside_the_seams() {
        let text = "#[cfg(feature = \"sqlite\")]\nmod a;";
        assert_eq!(features(&library(text)).len(), 1);
        assert_eq!(features(&Source::new("crates/dutiful/src/lib.rs", text)), []);
        assert_eq!(features(&library("#[cfg(unix)]\nmod a;")), []);
        assert_eq!(features(&library("if cfg!(all(unix, feature = \"otel\")) {}")).len(), 1);
    }

    #[test]
    fn refuses_clocks_prints_and_environment_in_the_library() {
        let named = [("crates/dutiful/src/worker/a.rs", "why")];
        assert_eq!(clocks(&library("let a = std::time::Instant::now();"), &[]).len(), 1);
        assert_eq!(clocks(&library("Instant::now()"), &named), []);
        assert_eq!(clocks(&library("SystemTime::now()"), &named).len(), 1);
        let pausable = "use tokio::time::{Instant, sleep};\nlet a = Instant::now();";
        assert_eq!(clocks(&library(pausable), &[]), []);
        let both = format!("use std::time::{{Duration, Instant}};\n{pausable}");
        assert_eq!(clocks(&library(&both), &[]).len(), 1);
        let clock = Source::new("crates/dutiful/src/clock.rs", "SystemTime::now()");
        assert_eq!(clocks(&clock, &[]), []);
        assert_eq!(clocks(&Source::new("crates/dutiful-cli/src/a.rs", "Instant::now()"), &[]), []);
        for bad in ["println!(\"\")", "std::env::var(\"A\")", "eprint!(\"\")", "dbg!(a)"] {
            assert_eq!(side_effects(&library(bad)).len(), 1, "{bad}");
        }
        for good in ["env!(\"A\")", "// println!()", "my_println!()", "env::variant()"] {
            assert_eq!(side_effects(&library(good)), [], "{good}");
        }
    }

    #[test]
    fn refuses_sql_in_rust() {
        for bad in [
            "q(\"SELECT 1\")",
            "q(\"  UPDATE a SET b = 1\")",
            "q(\"DELETE FROM a\")",
            "q(\"BEGIN IMMEDIATE\")",
            "q(\"PRAGMA a\")",
            "q(r#\"INSERT INTO a\"#)",
        ] {
            assert_eq!(sql(&library(bad), &[]).len(), 1, "{bad}");
        }
        for good in ["// SELECT 1", "\"selected 3\"", "\"ask `PRAGMA integrity_check`\""] {
            assert_eq!(sql(&library(good), &[]), [], "{good}");
        }
        let store = |text: &str| Source::new("crates/dutiful/src/store/sqlite/mod.rs", text);
        assert_eq!(sql(&store("\"PRAGMA journal_mode\"; \"BEGIN IMMEDIATE\""), &[]), []);
        assert_eq!(sql(&store("\"SELECT 1\""), &[]).len(), 1);
    }
}
