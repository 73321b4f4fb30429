//! The rules of the house that a program can check; CONTRIBUTING.md says why they are there.
//!
//! Each test names what holds everywhere; when it fails it lists `file:line: what to do`. Each
//! checker in `tidy/` has tests of its own that show what it refuses.

#[path = "tidy/deps.rs"]
mod deps;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/sql.rs"]
mod sql;
#[path = "tidy/table.rs"]
mod table;
#[path = "tidy/words.rs"]
mod words;

use std::collections::BTreeSet;

use source::{Problem, Source, all_paths, expect_none, read, rust_files};

/// Files under 40 lines that are an idea of their own, each with its reason.
const SMALL: [(&str, &str); 1] =
    [("crates/dutiful/examples/welcome.rs", "the shortest whole program, as the README shows it")];

/// Files of a store that know the front, each with its reason.
const GLUE: [(&str, &str); 3] = [
    (
        "crates/dutiful/src/store/sqlite/within.rs",
        "`.within(&tx)` and `complete_within(&tx)` are builders of the front on a transaction",
    ),
    (
        "crates/dutiful/src/store/postgres/within.rs",
        "`.within(&mut tx)` and `complete_within(&mut tx)`, the same for the drivers of Postgres",
    ),
    (
        "crates/dutiful/src/store/postgres/json.rs",
        "what within.rs sends of an attempt of the front",
    ),
];

/// Files that measure how long their own steps take, each with its reason.
const STOPWATCHES: [(&str, &str); 6] = [
    (
        "crates/dutiful/src/store/common/list.rs",
        "how long a search has gone on, for who asked for no longer one",
    ),
    (
        "crates/dutiful/src/store/sqlite/wal.rs",
        "how long ago the log was looked at: a span of one thread, as in turns.rs",
    ),
    (
        "crates/dutiful/src/store/sqlite/turns.rs",
        "its turns on the file: a span of one thread, never written, never compared with a job's",
    ),
    (
        "crates/dutiful/src/worker/claim.rs",
        "when the claim's answer came, to tell how long its jobs waited here for a slot",
    ),
    (
        "crates/dutiful/src/worker/execute.rs",
        "the wait for a slot is added to the store's time of the claim, no clock is compared",
    ),
    ("crates/dutiful/src/worker/step.rs", "when the claim's answer came, as in claim.rs"),
];

/// Files with SQL of their own outside `sql/`, each with its reason.
const SQL_FILES: [(&str, &str); 2] = [
    (
        "adapters/dutiful-diesel/src/lib.rs",
        "Diesel reads columns by name, so it gives the only column of a statement of ours one",
    ),
    (
        "crates/dutiful/src/store/sqlite/migrate.rs",
        "the version of the schema is read and written before any file of a version applies",
    ),
];

#[test]
fn every_file_opens_with_what_it_is_for() {
    each_rust_file(shape::opening);
}

#[test]
fn no_file_is_over_500_lines() {
    each_rust_file(shape::file_length);
}

#[test]
fn no_file_under_40_lines_is_without_reason() {
    let sources = rust_files();
    let mut problems: Vec<_> = sources.iter().flat_map(|s| shape::dust(s, &SMALL)).collect();
    problems.extend(shape::dust_list(sources, &SMALL));
    expect_none(problems);
}

#[test]
fn no_function_is_over_70_lines() {
    each_rust_file(shape::function_length);
}

#[test]
fn no_line_is_over_100_columns() {
    let plain = all_paths().into_iter().filter(|path| {
        path.ends_with(".sql") || ["test", ".ci/run", "justfile"].contains(&path.as_str())
    });
    let mut problems: Vec<_> =
        plain.flat_map(|path| shape::plain_width(&path, &read(&path))).collect();
    problems.extend(rust_files().iter().flat_map(shape::width));
    expect_none(problems);
}

#[test]
fn no_path_is_deeper_than_three_folders_under_src() {
    expect_none(all_paths().iter().flat_map(|path| shape::depth(path)).collect());
}

#[test]
fn nothing_unwraps_outside_tests() {
    each_rust_file(rust::unwraps);
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifests = all_paths().into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    let mut problems = deps::lints(&manifests.collect::<Vec<_>>());
    problems.extend(rust_files().iter().flat_map(rust::unsafes));
    expect_none(problems);
}

#[test]
fn sql_stands_only_in_its_own_files() {
    each_rust_file(|source| rust::sql(source, &SQL_FILES));
}

#[test]
fn every_sql_file_says_what_it_does_and_why_its_locks_are_safe() {
    let sql =
        all_paths().into_iter().filter(|path| path.contains("/src/") && path.ends_with(".sql"));
    expect_none(sql.flat_map(|path| sql::opening(&path, &read(&path))).collect());
}

#[test]
fn features_are_decided_in_the_seams() {
    each_rust_file(rust::features);
}

#[test]
fn modules_know_only_those_below_them() {
    each_rust_file(|source| layers::layers(source, &GLUE));
}

#[test]
fn faces_know_no_backend() {
    each_rust_file(layers::faces);
}

#[test]
fn only_the_clock_asks_for_the_time() {
    each_rust_file(|source| rust::clocks(source, &STOPWATCHES));
}

#[test]
fn the_library_prints_nothing_and_reads_no_environment() {
    each_rust_file(rust::side_effects);
}

#[test]
fn the_verb_table_has_no_hole() {
    let paths = all_paths();
    let stems = |folder: &str, ending: &str| -> BTreeSet<String> {
        let inside = paths.iter().filter_map(|path| {
            let (before, name) = path.rsplit_once('/')?;
            let stem = name.strip_suffix(ending)?;
            (before.starts_with("crates/dutiful/") && before.ends_with(folder)).then_some(stem)
        });
        inside.map(str::to_owned).collect()
    };
    let store = Source::new("store/mod.rs", &read("crates/dutiful/src/store/mod.rs"));
    let mut conformance = stems("tests/conformance", ".rs");
    conformance.retain(|stem| !["main", "mod", "harness", "runtime_role"].contains(&stem.as_str()));
    let verbs = table::verbs(&store.code);
    assert!(verbs.len() > 10, "the methods of `trait Store` were not found: {verbs:?}");
    let house = table::House { verbs, sql: stems("/sql", ".sql"), conformance };
    assert!(paths.iter().any(|path| path == table::PAGE), "write {}", table::PAGE);
    expect_none(table::holes(&read(table::PAGE), &house));
}

#[test]
fn every_page_of_the_guide_is_in_its_index_and_in_the_documentation() {
    let (index, module) = ("docs/guide/README.md", "crates/dutiful/src/guide.rs");
    let (listed, included) = (read(index), read(module));
    let paths = all_paths();
    let pages = paths.iter().filter_map(|path| path.strip_prefix("docs/guide/"));
    let pages: Vec<_> = pages.filter(|page| *page != "README.md").collect();
    assert!(pages.len() > 3, "the pages were not found");
    let missing = |page: &&str| {
        let from_index = !listed.contains(&format!("]: {page}\n"));
        let from_module = !included.contains(&format!("\"{page}\""));
        let what = format!("add the page {page}");
        let problem = |path: &str, is: bool| is.then(|| Problem::new(path, 1, what.as_str()));
        [problem(index, from_index), problem(module, from_module)]
    };
    expect_none(pages.iter().flat_map(missing).flatten().collect());
}

#[test]
fn licences_are_permissive_and_no_crate_is_banned() {
    let metadata = deps::metadata();
    let mut problems = deps::licences(&metadata);
    problems.extend(deps::bans(&metadata));
    problems.extend(deps::downward(&metadata));
    expect_none(problems);
}

#[test]
fn the_library_chooses_at_most_14_crates_each_with_its_reason() {
    let path = "crates/dutiful/Cargo.toml";
    expect_none(deps::choices(path, &read(path)));
}

#[test]
fn there_is_one_word_a_concept() {
    let synonyms = words::synonyms(&read(words::GLOSSARY));
    assert!(synonyms.len() > 3, "the glossary's table of words not to use was not found");
    each_text(|path, text| {
        let excused = path == words::GLOSSARY || path.starts_with("crates/dutiful/tests/tidy");
        if excused { Vec::new() } else { words::one_word(path, text, &synonyms) }
    });
}

#[test]
fn nothing_is_left_unfinished() {
    each_text(words::marks);
}

/// Applies a check to every Rust file of the project.
fn each_rust_file(check: impl Fn(&Source) -> Vec<Problem>) {
    let sources = rust_files();
    assert!(sources.len() > 10, "the sources were not found");
    expect_none(sources.iter().flat_map(check).collect());
}

/// Applies a check to every text that people of the house wrote.
fn each_text(check: impl Fn(&str, &str) -> Vec<Problem>) {
    let ours = [".rs", ".sql", ".md", ".toml", ".sh", "test", ".ci/run", "justfile"];
    let paths = all_paths().into_iter().filter(|path| ours.iter().any(|end| path.ends_with(end)));
    expect_none(paths.flat_map(|path| check(&path, &read(&path))).collect());
}
