//! What a file of SQL opens with: what it does, its parameters, and why its locks are safe.

use std::collections::BTreeSet;

use crate::source::Problem;

/// The shortest opening comment, in words.
const WORDS_MIN: usize = 5;
/// One of these says why the locks are safe.
const LOCKS: [&str; 3] = ["lock", "begin immediate", "reads only"];
/// A section whose parameters are those of the section before it says so.
const THE_SAME: &str = "the same";

/// A file of SQL opens with a comment on what it does and, in a store, on its locks; it names the
/// parameters of each statement there or in the comment right above it.
pub(crate) fn opening(path: &str, text: &str) -> Vec<Problem> {
    let mut sections = sections(text).into_iter();
    let head = sections.next().unwrap_or_default();
    let comment = head.comment.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut problems = Vec::new();
    if comment.split(' ').count() < WORDS_MIN {
        let what = "open with a comment: what it does, its parameters, why its locks are safe";
        return vec![Problem::new(path, 1, what)];
    }
    let of_store = path.contains("/store/") && !path.contains("/migrations/");
    if of_store && !LOCKS.iter().any(|word| comment.contains(word)) {
        let what = format!("say in the opening comment why its locks are safe ({LOCKS:?})");
        problems.push(Problem::new(path, 1, what));
    }
    let opened = explained(&head.comment);
    let mut before = BTreeSet::new();
    for section in std::iter::once(head).chain(sections) {
        let mut named = explained(&section.comment);
        if section.comment.contains(THE_SAME) {
            named.extend(before);
        }
        for missing in
            section.parameters.iter().filter(|p| !named.contains(p) && !opened.contains(p))
        {
            let what = format!("say in the comment above what ?{missing} is");
            problems.push(Problem::new(path, section.line + 1, what));
        }
        before = named;
    }
    problems
}

/// A comment and the statement below it.
#[derive(Debug, Default)]
struct Section {
    line: usize,
    comment: String,
    parameters: BTreeSet<usize>,
}

/// Cuts a file at its comments; the first section is how it opens.
fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut in_comment = true;
    for (line, text) in text.lines().map(str::trim).enumerate() {
        let comment = text.strip_prefix("--");
        if comment.is_some() && !in_comment {
            sections.push(Section { line, ..Section::default() });
        }
        if let (Some(last), false) = (sections.last_mut(), text.is_empty()) {
            match comment {
                Some(comment) => last.comment.extend([comment, "\n"]),
                None => last.parameters.extend(parameters(text)),
            }
        }
        in_comment = comment.is_some();
    }
    sections
}

/// Returns the numbers of the parameters in a line of a statement, texts and comments left out.
fn parameters(line: &str) -> BTreeSet<usize> {
    let outside_texts: String = line.split('\'').step_by(2).collect();
    let statement = outside_texts.split("--").next().unwrap_or_default();
    let after_marks = statement.split('?').skip(1);
    after_marks.filter_map(|rest| leading_number(rest).map(|(number, _)| number)).collect()
}

/// Returns the numbers that a comment explains: `?1 id, attempt, ?3 nonce` explains 1, 2 and 3.
fn explained(comment: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (number, rest) in comment.split('?').skip(1).filter_map(leading_number) {
        let list = rest.split([';', '.', ':']).next().unwrap_or_default();
        let names = list.split(',').filter(|name| !name.trim().is_empty()).count();
        found.extend(number..number + names.max(1));
    }
    found
}

fn leading_number(text: &str) -> Option<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_sql_that_does_not_explain_itself() {
        let check = |comment: &str| {
            opening(
                "src/store/a.sql",
                &format!("{comment}DELETE FROM lease WHERE id = ?1 AND n = ?2"),
            )
            .len()
        };
        assert_eq!(check(""), 1);
        assert_eq!(check("-- Ends an attempt by its id.\n-- ?1 id, attempt\n"), 1, "no lock");
        assert_eq!(check("-- Ends an attempt. Reads only.\n"), 2, "no parameter");
        assert_eq!(check("-- Ends an attempt. Reads only.\n-- ?1 id\n"), 1, "one parameter");
        assert_eq!(check("-- Ends an attempt. Runs inside BEGIN\n-- IMMEDIATE. ?1 id, ?2 n\n"), 0);
        assert_eq!(check("-- Ends an attempt; no lock.\n\n-- :end ?1 id, attempt\n"), 0);
        assert_eq!(check("-- Ends an attempt; no lock.\n\n-- :end ?1 id\n"), 1, "in a section");
        let same =
            "-- Ends all attempts; no lock.\n\n-- :a ?1 id, n\nSELECT ?1, ?2\n-- :b the same\n";
        assert_eq!(check(same), 0);
    }

    #[test]
    fn finds_parameters_outside_comments_and_texts() {
        let found = parameters("SELECT '?9', ?1, ?12 -- ?8");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [1, 12]);
    }

    #[test]
    fn reads_which_parameters_a_comment_explains() {
        let of = |comment: &str| explained(comment).into_iter().collect::<Vec<_>>();
        assert_eq!(of(":x late, ?1 id, attempt, ?3 nonce; more, words"), [1, 2, 3]);
        assert_eq!(of("young before ?1, at most ?2"), [1, 2]);
        assert_eq!(of("nothing, at all"), Vec::<usize>::new());
    }
}
