//! Cuts a file of SQL into its named statements: each begins with `-- :name` and what it is about.

/// Returns the statements of a file with their names, comments in front and a last `;` left out.
pub(in crate::store) fn sections(
    file: &'static str,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    file.split("-- :").skip(1).map(|section| {
        let name_end = section.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &section[..name_end.unwrap_or(section.len())];
        let body = section.find('\n').map_or("", |at| section[at..].trim_start());
        (name, skip_comments(body))
    })
}

fn skip_comments(mut sql: &str) -> &str {
    while let Some(rest) = sql.strip_prefix("--") {
        sql = rest.find('\n').map_or("", |at| rest[at..].trim_start());
    }
    sql.trim_end().trim_end_matches(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_begins_behind_its_comments_and_ends_before_the_next_name() {
        let file = "-- What it does; no lock.\n\n-- :first $1 id,\n-- in two lines\nSELECT 1\n\n\
                    -- :second_one\nSELECT 2 -- a word\nFROM t;\n\n-- :empty";
        let found: Vec<_> = sections(file).collect();
        assert_eq!(
            found,
            [("first", "SELECT 1"), ("second_one", "SELECT 2 -- a word\nFROM t"), ("empty", "")]
        );
    }

    #[test]
    fn a_file_without_names_has_no_statements() {
        assert_eq!(sections("-- Only words.\nSELECT 1").count(), 0);
    }
}
