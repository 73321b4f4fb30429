//! One verb, one row: the table in ARCHITECTURE.md against the trait, the SQL and the conformance.

use std::collections::BTreeSet;

use crate::source::{Problem, item_end};

/// The page that has the table.
pub(crate) const PAGE: &str = "ARCHITECTURE.md";

/// What really exists.
#[derive(Debug, Default)]
pub(crate) struct House {
    /// The methods of `trait Store`.
    pub(crate) verbs: BTreeSet<String>,
    /// The stems of `src/store/*/sql/*.sql`.
    pub(crate) sql: BTreeSet<String>,
    /// The stems of `tests/conformance/*.rs`, but for `main` and what is shared.
    pub(crate) conformance: BTreeSet<String>,
}

/// A row: which verb, which files.
#[derive(Debug)]
struct Row {
    line: usize,
    verb: String,
    sql: Vec<String>,
    conformance: Vec<String>,
}

/// Checks that the table has no hole: no verb without a row, no row without its files, no file
/// without a row.
pub(crate) fn holes(page: &str, house: &House) -> Vec<Problem> {
    let rows = rows(page);
    let mut problems = Vec::new();
    let mut says = |line: usize, what: String| problems.push(Problem::new(PAGE, line + 1, what));
    for verb in &house.verbs {
        match rows.iter().filter(|row| row.verb == *verb).count() {
            1 => {}
            n => says(0, format!("`{verb}` has {n} rows in the verb table: give it one")),
        }
    }
    for row in &rows {
        let known = house.verbs.contains(&row.verb);
        if !known && row.sql.is_empty() {
            says(row.line, format!("`{}` is no verb of the trait: strike the row", row.verb));
        }
        for missing in row.sql.iter().filter(|stem| !house.sql.contains(*stem)) {
            says(row.line, format!("sql/{missing}.sql does not exist: write it, or put –"));
        }
        for missing in row.conformance.iter().filter(|stem| !house.conformance.contains(*stem)) {
            says(row.line, format!("tests/conformance/{missing}.rs does not exist: write it"));
        }
        if known && row.conformance.is_empty() {
            says(row.line, format!("`{}` names no conformance file: write its tests", row.verb));
        }
    }
    for stem in &house.sql {
        if !rows.iter().any(|row| row.sql.contains(stem)) {
            says(0, format!("sql/{stem}.sql stands in no row: name its verb"));
        }
    }
    for stem in &house.conformance {
        if !rows.iter().any(|row| row.conformance.contains(stem)) {
            says(0, format!("tests/conformance/{stem}.rs stands in no row: name its verb"));
        }
    }
    problems
}

/// Reads the rows that begin with a verb in backticks, below a heading row with the columns
/// `verb`, `SQL` and `conformance`.
fn rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut columns: Option<(usize, usize)> = None;
    for (line, text) in page.lines().enumerate() {
        let Some(inner) = text.trim().strip_prefix('|') else {
            columns = None;
            continue;
        };
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        if cells[0].eq_ignore_ascii_case("verb") {
            let column = |word: &str| cells.iter().position(|c| c.to_lowercase().contains(word));
            columns = column("sql").zip(column("conformance"));
        } else if let (Some((sql, conformance)), [verb]) = (columns, &names(cells[0])[..]) {
            let files =
                |column: usize| cells.get(column).map(|cell| names(cell)).unwrap_or_default();
            let (sql, conformance) = (files(sql), files(conformance));
            rows.push(Row { line, verb: verb.clone(), sql, conformance });
        }
    }
    rows
}

/// Returns the names in backticks, without folder and ending.
fn names(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let stem = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or_default();
        file.split('.').next().unwrap_or_default().to_owned()
    };
    quoted.map(stem).filter(|stem| !stem.is_empty()).collect()
}

/// Returns the methods of `trait Store` from the blanked code of `store/mod.rs`.
pub(crate) fn verbs(code: &[String]) -> BTreeSet<String> {
    let Some(first) = code.iter().position(|line| line.starts_with("pub trait Store")) else {
        return BTreeSet::new();
    };
    let body = &code[first..=item_end(code, first, 0)];
    let methods = body.iter().filter_map(|line| line.trim().strip_prefix("fn "));
    methods.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_TEXT: &str = "\
| verb | SQL | conformance |\n|---|---|---|\n\
| `claim` | `claim.sql` `claim_types` | `claim` |\n| `close` | – | `close` |\n\
\nelsewhere\n\n| `not_a_row` | x |\n";

    fn house() -> House {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        House {
            verbs: set(&["claim", "close"]),
            sql: set(&["claim", "claim_types"]),
            conformance: set(&["claim", "close"]),
        }
    }

    #[test]
    fn accepts_a_table_without_holes() {
        assert_eq!(holes(PAGE_TEXT, &house()), []);
    }

    #[test]
    fn finds_each_kind_of_hole() {
        let with = |change: fn(&mut House) -> bool| {
            let mut house = house();
            assert!(change(&mut house), "the house is changed");
            holes(PAGE_TEXT, &house).len()
        };
        assert_eq!(with(|h| h.verbs.insert("finish".into())), 1, "a verb without a row");
        assert_eq!(with(|h| h.verbs.remove("close")), 1, "a row without a verb");
        assert_eq!(with(|h| h.sql.remove("claim")), 1, "a row without its SQL");
        assert_eq!(with(|h| h.sql.insert("stray".into())), 1, "SQL without a row");
        assert_eq!(with(|h| h.conformance.remove("claim")), 1, "a row without its tests");
        assert_eq!(with(|h| h.conformance.insert("stray".into())), 1, "tests without a row");
        let untested = PAGE_TEXT.replace("| – | `close` |", "| – | – |");
        assert_eq!(holes(&untested, &house()).len(), 2, "a verb without tests");
        assert!(holes("", &house()).len() >= 2, "no table at all");
    }

    #[test]
    fn reads_the_methods_of_the_trait() {
        let text = "pub trait Store: Send {\n    fn a(&self);\n    fn b<T>(&self) {}\n}\nfn c() {}";
        let code: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(verbs(&code), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    }
}
