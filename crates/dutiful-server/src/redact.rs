//! Fields of payloads that are shown to nobody who may not see everything.
//!
//! A payload is taken apart along its objects and lists only, and every value that is not hidden
//! stays as it was written: numbers and the order of names are kept.

use std::collections::BTreeMap;
use std::fmt;

use dutiful::JobInfo;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// What stands in place of what is hidden.
pub(crate) const HIDDEN: &str = "[redacted]";
const HIDDEN_JSON: &str = "\"[redacted]\"";
/// Shorter values are not looked for in texts: they would be found in everything.
const LOOKED_FOR_MIN: usize = 4;

/// What is hidden, by type.
#[derive(Debug, Default)]
pub(crate) struct Redaction(BTreeMap<String, Vec<Path>>);

/// A name, which is hidden wherever it stands, or a path from the top.
type Path = Vec<String>;

impl Redaction {
    pub(crate) fn new(fields: &BTreeMap<String, Vec<String>>) -> Self {
        let path = |field: &String| field.split('.').map(str::to_owned).collect();
        let paths = |fields: &Vec<String>| fields.iter().map(path).collect();
        Self(fields.iter().map(|(name, fields)| (name.clone(), paths(fields))).collect())
    }

    fn of(&self, job_type: &str) -> Option<&[Path]> {
        self.0.get(job_type).map(Vec::as_slice).filter(|paths| !paths.is_empty())
    }

    pub(crate) fn hides_of(&self, job_type: &str) -> bool {
        self.of(job_type).is_some()
    }

    /// True where nothing is hidden of any type.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hides the fields of a job, and their values in what its handler said.
    pub(crate) fn job(&self, job: &mut JobInfo) {
        let Some(paths) = self.of(job.job_type.as_str()) else { return };
        let mut hidden = Vec::new();
        for part in [&mut job.payload, &mut job.result, &mut job.checkpoint].into_iter().flatten() {
            *part = hide(part, paths, &mut |value| {
                collect(value, &mut hidden);
                HIDDEN_JSON.to_owned()
            });
        }
        let clean = |text: &mut String| {
            for value in &hidden {
                if text.contains(value.as_str()) {
                    *text = text.replace(value.as_str(), HIDDEN);
                }
            }
        };
        job.last_error.iter_mut().for_each(|error| clean(&mut error.message));
        job.progress.iter_mut().filter_map(|one| one.note.as_mut()).for_each(clean);
        for attempt in &mut job.attempts {
            attempt.error.iter_mut().for_each(|error| clean(&mut error.message));
            attempt.log.iter_mut().for_each(|line| clean(&mut line.text));
        }
    }

    /// Puts the values of the original back where an edited payload has what stood in their place.
    pub(crate) fn restore(
        &self,
        job_type: &str,
        edited: &RawValue,
        original: &RawValue,
    ) -> Box<RawValue> {
        let Some(paths) = self.of(job_type) else { return edited.to_owned() };
        // Both are walked in the same order, so the n-th hidden place is the same in both, as long
        // as nobody removed one: then what is left has to be matched by where it stands.
        let mut originals = BTreeMap::new();
        places(original, paths, &mut |place, value| {
            originals.insert(place.to_owned(), value.get().to_owned());
            value.get().to_owned()
        });
        places(edited, paths, &mut |place, value| match originals.get(place) {
            Some(original) if value.get() == HIDDEN_JSON => original.clone(),
            _ => value.get().to_owned(),
        })
    }
}

/// Keeps the texts and numbers of a value.
fn collect(value: &RawValue, into: &mut Vec<String>) {
    let json = value.get();
    if let Ok(Fields(fields)) = serde_json::from_str(json) {
        fields.iter().for_each(|(_, value)| collect(value, into));
    } else if let Ok(members) = serde_json::from_str::<Vec<Box<RawValue>>>(json) {
        members.iter().for_each(|member| collect(member, into));
    } else {
        let text = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
        if text.len() >= LOOKED_FOR_MIN {
            into.push(text);
        }
    }
}

fn hide(
    value: &RawValue,
    paths: &[Path],
    hidden: &mut dyn FnMut(&RawValue) -> String,
) -> Box<RawValue> {
    places(value, paths, &mut |_, value| hidden(value))
}

/// Walks to the hidden places of a value and writes there what it is told.
fn places(
    value: &RawValue,
    paths: &[Path],
    write: &mut dyn FnMut(&str, &RawValue) -> String,
) -> Box<RawValue> {
    let mut is_hidden = |place: &str| {
        // `/card/3/number`: numbers of lists count for nothing in a path.
        let names = || place.split('/').skip(1).filter(|name| !name.starts_with('#'));
        paths.iter().any(|path| match path.as_slice() {
            [name] => names().last().is_some_and(|last| last == escape(name)),
            path => names().eq(path.iter().map(|name| escape(name))),
        })
    };
    walk(value, "", &mut is_hidden, write)
}

/// A name as it stands in a place, in which `/` and `#` have a meaning.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1").replace('#', "~2")
}

fn walk(
    value: &RawValue,
    place: &str,
    is_hidden: &mut dyn FnMut(&str) -> bool,
    write: &mut dyn FnMut(&str, &RawValue) -> String,
) -> Box<RawValue> {
    let child = |place: String,
                 value: &RawValue,
                 is_hidden: &mut dyn FnMut(&str) -> bool,
                 write: &mut dyn FnMut(&str, &RawValue) -> String| {
        if is_hidden(&place) {
            let text = write(&place, value);
            return RawValue::from_string(text).unwrap_or_default();
        }
        walk(value, &place, is_hidden, write)
    };
    match value.get().as_bytes().first() {
        Some(b'{') => {
            let Ok(Fields(fields)) = serde_json::from_str(value.get()) else {
                return value.to_owned();
            };
            let fields = fields.into_iter().map(|(name, value)| {
                let place = format!("{place}/{}", escape(&name));
                let value = child(place, &value, is_hidden, write);
                (name, value)
            });
            raw(&Fields(fields.collect()), value)
        }
        Some(b'[') => {
            let Ok(members) = serde_json::from_str::<Vec<Box<RawValue>>>(value.get()) else {
                return value.to_owned();
            };
            // A name is hidden with all of its list, so no member of one is asked about.
            let members = members
                .iter()
                .enumerate()
                .map(|(n, member)| walk(member, &format!("{place}/#{n}"), is_hidden, write));
            raw(&members.collect::<Vec<_>>(), value)
        }
        _ => value.to_owned(),
    }
}

fn raw(value: &impl Serialize, or: &RawValue) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| or.to_owned())
}

/// An object as it was written: in its order, with its values untouched.
struct Fields(Vec<(String, Box<RawValue>)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn redaction(fields: &[&str]) -> Redaction {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Redaction::new(&BTreeMap::from([("task".to_owned(), fields)]))
    }

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn hidden(fields: &[&str], payload: &str) -> String {
        let redaction = redaction(fields);
        let paths = redaction.of("task").unwrap();
        hide(&json(payload), paths, &mut |_| HIDDEN_JSON.to_owned()).get().to_owned()
    }

    #[test]
    fn a_name_is_hidden_wherever_it_stands_and_a_path_where_it_leads() {
        let payload = r#"{"z":1,"password":"p","in":[{"password":{"a":1}},2],"card":{"number":7}}"#;
        assert_eq!(
            hidden(&["password"], payload),
            r#"{"z":1,"password":"[redacted]","in":[{"password":"[redacted]"},2],"card":{"number":7}}"#
        );
        assert_eq!(
            hidden(&["card.number"], r#"{"number":1,"card":[{"number":2},{"x":3}]}"#),
            r#"{"number":1,"card":[{"number":"[redacted]"},{"x":3}]}"#
        );
        assert_eq!(hidden(&["in.password"], r#"{"password":1}"#), r#"{"password":1}"#);
        assert_eq!(hidden(&["a"], r#"{"\u0061":1,"a":2}"#).matches(HIDDEN).count(), 2);
    }

    #[test]
    fn what_is_not_hidden_stays_as_it_was_written() {
        let payload =
            r#"{"n":123456789012345678901234567890.10,"e":1e400,"b":"\u00e9","a":null,"b":2}"#;
        assert_eq!(hidden(&["password"], payload), payload);
        for odd in ["3", "\"password\"", "null", "[]", "[[1,[2]]]"] {
            assert_eq!(hidden(&["password"], odd), odd);
        }
    }

    #[test]
    fn an_edit_keeps_the_values_that_its_author_never_saw() {
        let redaction = redaction(&["password", "card.number"]);
        let original = json(r#"{"to":"a","password":"secret","cards":0,"card":{"number":42}}"#);
        let restored =
            |edited: &str| redaction.restore("task", &json(edited), &original).get().to_owned();
        assert_eq!(
            restored(r#"{"to":"b","card":{"number":"[redacted]"},"password":"[redacted]"}"#),
            r#"{"to":"b","card":{"number":42},"password":"secret"}"#
        );
        assert_eq!(restored(r#"{"password":"new"}"#), r#"{"password":"new"}"#);
        // Where nothing was hidden the word is only a word.
        assert_eq!(restored(r#"{"to":"[redacted]"}"#), r#"{"to":"[redacted]"}"#);
        assert_eq!(
            restored(r#"{"in":{"password":"[redacted]"}}"#),
            r#"{"in":{"password":"[redacted]"}}"#
        );
    }

    #[test]
    fn hidden_values_are_collected_for_texts() {
        let mut found = Vec::new();
        collect(&json(r#"{"a":"secret","b":[12345,"no"],"c":{"d":"deep\n"}}"#), &mut found);
        assert_eq!(found, ["secret", "12345", "deep\n"]);
    }
}
