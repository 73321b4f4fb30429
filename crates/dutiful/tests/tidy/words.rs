//! One word a concept: the glossary's table of words not to use, and marks of unfinished work.

use crate::rust::word_places;
use crate::source::Problem;

/// The page that says which words not to use.
pub(crate) const GLOSSARY: &str = "docs/glossary.md";

/// Marks of unfinished work and of how the work is organised; they belong in no file.
/// (Written in two halves, so that this file does not contain them.)
const MARKS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("issue", " #"),
    concat!("ag", "ent"),
];
/// Words of the field in which a mark is no mark.
const HARMLESS: [&str; 2] = [concat!("user-", "ag", "ent"), concat!("user_", "ag", "ent")];

/// A word not to use, and the one to use for it.
#[derive(Debug, PartialEq)]
pub(crate) struct Synonym {
    pub(crate) not: String,
    pub(crate) but: String,
}

/// Reads the glossary's table whose heading is `| not | but | …`.
pub(crate) fn synonyms(glossary: &str) -> Vec<Synonym> {
    let rows = glossary.lines().skip_while(|line| !line.starts_with("| not | but |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let pair = |c: Vec<&str>| Synonym { not: c[1].to_lowercase(), but: c[2].to_owned() };
    cells.filter(|cells| cells.len() > 3).map(pair).collect()
}

/// No file uses a word that the glossary replaces.
pub(crate) fn one_word(path: &str, text: &str, synonyms: &[Synonym]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        for synonym in synonyms.iter().filter(|s| !word_places(&line, &s.not).is_empty()) {
            let what = format!("say \"{}\", not \"{}\"", synonym.but, synonym.not);
            problems.push(Problem::new(path, n + 1, what));
        }
    }
    problems
}

/// No file has a mark of unfinished work.
pub(crate) fn marks(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let mut lower = line.to_lowercase();
        for harmless in HARMLESS {
            lower = lower.replace(harmless, "");
        }
        for mark in MARKS {
            let found = if mark.chars().all(char::is_uppercase) {
                !word_places(line, mark).is_empty()
            } else {
                !word_places(&lower, mark).is_empty()
            };
            if found {
                let what = format!("finish it or strike it: \"{mark}\" stays in no file");
                problems.push(Problem::new(path, n + 1, what));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_applies_the_words_not_to_use() {
        let glossary =
            "# Words\n\n| not | but | why |\n|---|---|---|\n| Work item | job | x |\n\nend";
        let synonyms = synonyms(glossary);
        assert_eq!(synonyms, [Synonym { not: "work item".into(), but: "job".into() }]);
        assert_eq!(one_word("a.rs", "// takes a work item", &synonyms).len(), 1);
        assert_eq!(one_word("a.rs", "// network items", &synonyms), []);
    }

    #[test]
    fn finds_marks_of_unfinished_work() {
        for mark in MARKS {
            assert_eq!(marks("a.rs", &format!("// {mark}: later")).len(), 1, "{mark}");
        }
        assert_eq!(marks("a.rs", HARMLESS[0]), []);
        assert_eq!(marks("a.rs", "// the reagent XXXL"), []);
    }
}
