//! Who may know whom inside the library: downward only, no circles, and backends behind the trait.

use crate::rust::{LIBRARY, word_places};
use crate::source::{Problem, Source};

/// Pure modules: they know themselves and `job`.
const GROUND: [&str; 7] = ["cron", "retry", "limit", "error", "clock", "id", "payload"];
/// What people and programs read of jobs: plain data over the ground and the seam's plain data.
const TOLD: [&str; 3] = ["inspect", "telemetry", "totals"];
/// The engine: it knows the seam, never what is behind it.
const ENGINE: [&str; 4] = ["worker", "upkeep", "workflow", "testing"];
/// What is behind the seam.
const BACKENDS: [&str; 3] = ["sqlite", "postgres", "redis"];
/// The crates of the backends' drivers.
const DRIVERS: [&str; 3] = ["rusqlite", "tokio_postgres", "redis"];

/// A path that a file names, from the root of the crate.
#[derive(Debug, PartialEq)]
struct Named {
    line: usize,
    path: Vec<String>,
}

/// Checks what a file of the library names, against the layer it stands in.
pub(crate) fn layers(source: &Source, glue: &[(&str, &str)]) -> Vec<Problem> {
    let Some(module) = module_of(&source.path) else {
        return Vec::new();
    };
    let is_glue = glue.iter().any(|(path, _)| source.path == *path);
    let mut problems = Vec::new();
    for named in named(source, &module) {
        if let Some(advice) = forbidden(&module, &named.path, is_glue) {
            let what =
                format!("`{}` from `{}`: {advice}", named.path.join("::"), module.join("::"));
            problems.push(source.problem(named.line, what));
        }
    }
    if module[0] != "store" {
        problems.extend(drivers(source));
    }
    problems
}

/// A face of the library knows its public API, never a backend.
pub(crate) fn faces(source: &Source) -> Vec<Problem> {
    if source.path.starts_with("crates/dutiful/") {
        return Vec::new();
    }
    let found = source.code.iter().enumerate().filter(|(_, line)| {
        BACKENDS.iter().any(|name| line.contains(&format!("dutiful::store::{name}")))
    });
    found.map(|(n, _)| source.problem(n, "connect by URL; backends are not for faces")).collect()
}

/// Returns the module that a file of the library is, or `None` for its root and other files.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix(LIBRARY)?.strip_suffix(".rs")?;
    let mut module: Vec<_> = inside.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    (module != ["lib"]).then_some(module)
}

/// Returns why a module may not name a path, if so.
fn forbidden(module: &[String], path: &[String], is_glue: bool) -> Option<&'static str> {
    let (here, there) = (module[0].as_str(), path[0].as_str());
    let is_backend = |path: &[String]| {
        path[0] == "store" && path.get(1).is_some_and(|name| BACKENDS.contains(&name.as_str()))
    };
    if here == "store" {
        let may = ["job", "store"].contains(&there) || GROUND.contains(&there);
        let may = may || TOLD.contains(&there);
        let other = is_backend(module) && is_backend(path) && module[1] != path[1];
        return match () {
            () if other => Some("a backend does not know another"),
            () if may || (is_glue && !ENGINE.contains(&there)) => None,
            () => {
                Some("stores know job, inspect, the ground and each other's seam, by module path")
            }
        };
    }
    let ground = GROUND.contains(&there) || there == "job";
    if here == "job" || GROUND.contains(&here) {
        return (!ground).then_some("the ground knows only itself and `job`, by module path");
    }
    if is_backend(path) {
        return Some("go through the trait in `store`, never to a backend");
    }
    if TOLD.contains(&here) {
        let may = ground || there == "store" || TOLD.contains(&there);
        return (!may).then_some("this is plain data: it knows the ground, job and the seam");
    }
    let upward = !ENGINE.contains(&here) && ENGINE.contains(&there);
    upward.then_some("the front does not know the engine; the engine knows the front")
}

/// Drivers stay behind the seam.
fn drivers(source: &Source) -> Vec<Problem> {
    let found = source.production().filter_map(|(n, line)| {
        let driver = DRIVERS.iter().find(|name| {
            word_places(line, name)
                .iter()
                .any(|at| line[at + name.len()..].starts_with("::") && !line[..*at].ends_with("::"))
        })?;
        Some(source.problem(n, format!("leave `{driver}` to its folder under store/")))
    });
    found.collect()
}

/// Returns every path from `crate` or `super` that code outside tests names.
fn named(source: &Source, module: &[String]) -> Vec<Named> {
    let mut code = vec![""; source.code.len()];
    source.production().for_each(|(n, line)| code[n] = line);
    let tokens = tokens(&code.join("\n"));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let after_path = at > 0 && tokens[at - 1].1 == "::";
        if after_path || !next_is(&tokens, at, "::") {
            at += 1;
            continue;
        }
        let mut prefix = module.to_vec();
        match tokens[at].1.as_str() {
            "crate" => (prefix, at) = (Vec::new(), at + 2),
            "super" => {
                while tokens.get(at).is_some_and(|t| t.1 == "super") && next_is(&tokens, at, "::") {
                    (_, at) = (prefix.pop(), at + 2);
                }
            }
            _ => {
                at += 1;
                continue;
            }
        }
        at = tree(&tokens, at, &prefix, &mut found);
    }
    found.retain(|named| !named.path.is_empty());
    found
}

fn next_is(tokens: &[(usize, String)], at: usize, text: &str) -> bool {
    tokens.get(at + 1).is_some_and(|token| token.1 == text)
}

/// Reads one tree of a `use` (or a plain path); returns where it ends.
fn tree(
    tokens: &[(usize, String)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Named>,
) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.0);
    while let Some((_, token)) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|t| t.1 != "}") {
                let end = tree(tokens, at, &path, found);
                at = if end > at { end } else { at + 1 };
                while tokens.get(at).is_some_and(|t| t.1 != "," && t.1 != "}") {
                    at += 1;
                }
                at += usize::from(tokens.get(at).is_some_and(|t| t.1 == ","));
            }
            return at + 1;
        }
        if token != "self" && token.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            path.push(token.clone());
        }
        if !next_is(tokens, at, "::") {
            at += 1;
            break;
        }
        at += 2;
    }
    found.push(Named { line, path });
    at
}

/// Cuts code into words, `::` and single characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (n, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let len = match word.unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                len => len,
            };
            found.push((n, rest[..len].to_owned()));
            rest = rest[len..].trim_start();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(file: &str, text: &str) -> Vec<String> {
        let source = Source::new(&format!("{LIBRARY}{file}"), text);
        let module = module_of(&source.path).expect("the file is a module");
        named(&source, &module).into_iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn reads_the_paths_that_a_file_names() {
        let text = "use crate::{id::JobId, store::{self, sqlite::Sqlite as S}, job::*};\n\
                    pub(crate) fn a(b: crate::error::Error) { super::rows::read::<u8>() }\n\
                    use super::super::retry; mod c { struct D { e: u8 } }\n\
                    #[cfg(test)]\nmod tests { use crate::worker; }";
        let found = paths("store/sqlite/mod.rs", text);
        assert_eq!(
            found,
            [
                "id::JobId",
                "store",
                "store::sqlite::Sqlite",
                "job",
                "error::Error",
                "store::rows::read",
                "retry",
            ]
        );
        assert_eq!(paths("store/sqlite/rows.rs", "super::write(x)"), ["store::sqlite::write"]);
    }

    #[test]
    fn refuses_what_a_layer_may_not_know() {
        let check = |file: &str, text: &str| {
            layers(&Source::new(&format!("{LIBRARY}{file}"), text), &[]).len()
        };
        for (file, bad) in [
            ("retry.rs", "use crate::store::Store;"),
            ("error.rs", "use crate::Client;"),
            ("store/mod.rs", "use crate::client::Client;"),
            ("store/postgres/mod.rs", "use crate::store::sqlite::rows;"),
            ("worker/claim.rs", "use crate::store::{Store, sqlite::Sqlite};"),
            ("upkeep/mod.rs", "fn a(s: &crate::store::sqlite::Sqlite) {}"),
            ("client.rs", "use crate::worker::Worker;"),
            ("enqueue.rs", "fn a(t: &rusqlite::Transaction<'_>) {}"),
            ("inspect.rs", "use crate::client::Client;"),
            ("worker/mod.rs", "use super::store::sqlite;"),
        ] {
            assert_eq!(check(file, bad), 1, "{file}: {bad}");
        }
        for (file, good) in [
            ("retry.rs", "use crate::error::Error;\nuse crate::job::State;"),
            ("store/sqlite/mod.rs", "use super::Store;\nuse crate::id::JobId;"),
            ("worker/claim.rs", "use crate::store::Store;\nuse crate::context::Context;"),
            ("lib.rs", "pub use crate::store::sqlite::Sqlite;"),
            ("worker/mod.rs", "#[cfg(test)]\nmod tests { use crate::store::sqlite; }"),
        ] {
            assert_eq!(check(file, good), 0, "{file}: {good}");
        }
    }

    #[test]
    fn lets_named_glue_know_the_front_but_not_the_engine() {
        let path = "crates/dutiful/src/store/sqlite/within.rs";
        let glue = [(path, "the caller's transaction")];
        let front = Source::new(path, "use crate::enqueue::Enqueue;");
        assert_eq!(layers(&front, &glue), []);
        assert_eq!(layers(&front, &[]).len(), 1);
        assert_eq!(layers(&Source::new(path, "use crate::worker::Worker;"), &glue).len(), 1);
    }

    #[test]
    fn refuses_backends_in_faces() {
        let text = "use dutiful::store::sqlite::Sqlite;";
        assert_eq!(faces(&Source::new("crates/dutiful-cli/src/a.rs", text)).len(), 1);
        assert_eq!(faces(&Source::new("crates/dutiful/tests/a.rs", text)), []);
        let good = "use dutiful::{Client, store::Store};";
        assert_eq!(faces(&Source::new("crates/dutiful-cli/src/a.rs", good)), []);
    }
}
