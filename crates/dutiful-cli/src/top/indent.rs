//! JSON for people, without reading it: only white space is changed, so that numbers and strings
//! stay what they are.

/// Deepest indentation, in levels.
const LEVELS_MAX: usize = 20;

/// Returns the JSON with each member and element on a line of its own.
pub(crate) fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut level, mut quoted, mut escaped) = (0_usize, false, false);
    let mut rest = json.chars().peekable();
    while let Some(c) = rest.next() {
        if quoted {
            text.push(c);
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => {
                text.push(c);
                quoted = true;
            }
            '{' | '[' => {
                text.push(c);
                while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(end) = rest.next_if(|c| matches!(c, '}' | ']')) {
                    text.push(end);
                    continue;
                }
                level += 1;
                line(&mut text, level);
            }
            '}' | ']' => {
                level = level.saturating_sub(1);
                line(&mut text, level);
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, level);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => text.push(c),
        }
    }
    text
}

fn line(text: &mut String, level: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", level.min(LEVELS_MAX)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_white_space_alone() {
        let json = r#"{"a" :[1.50, {"b":"x, {\"y\": 1}\\"},[ ]],"c":{}}"#;
        let lines = [
            "{",
            "  \"a\": [",
            "    1.50,",
            "    {",
            r#"      "b": "x, {\"y\": 1}\\""#,
            "    },",
            "    []",
            "  ],",
            "  \"c\": {}",
            "}",
        ];
        assert_eq!(indented(json), lines.join("\n"));
        assert_eq!(indented("\"a{b\""), "\"a{b\"");
        indented("]]}}[\"");
    }
}
