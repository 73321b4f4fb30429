//! What may enter as a payload: JSON, checked once, then opaque bytes for ever.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::InvalidJob;

/// Deepest nesting of arrays and objects.
pub const DEPTH_MAX: usize = 64;
/// A number of fewer digits and without an exponent is finite.
const DIGITS_MAX: usize = 300;
/// Largest payload in bytes, unless the client was built with another limit.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Checks bytes from outside: one JSON value, depth, size, finite numbers, no NUL, no lone
/// surrogate.
///
/// # Errors
/// An [`InvalidJob`] that says which rule is broken.
pub(crate) fn check(bytes: &[u8], max_bytes: usize) -> Result<(), InvalidJob> {
    check_size(bytes, max_bytes)?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let verdict = Level(0).deserialize(&mut json).and_then(|()| json.end());
    // Our depth limit (64) lies below serde_json's own (128), so ours is always the one that
    // speaks.
    verdict.map_err(|error| match error.to_string() {
        text if text.starts_with(TOO_DEEP) => InvalidJob::TooDeep { max: DEPTH_MAX },
        text if text.starts_with(HAS_NUL) => InvalidJob::Nul { what: "the payload" },
        text => InvalidJob::NotJson(text),
    })
}

/// Writes a typed payload as JSON and checks it.
///
/// # Errors
/// An [`InvalidJob`] that says which rule is broken.
pub(crate) fn serialize<T: serde::Serialize>(job: &T, max: usize) -> Result<Vec<u8>, InvalidJob> {
    let payload =
        serde_json::to_vec(job).map_err(|e| InvalidJob::NotSerializable(e.to_string()))?;
    check_serialized(&payload, max)?;
    Ok(payload)
}

/// Checks what our own serializer wrote: it is JSON, so a scan for depth and NUL is enough. Raw
/// values it takes as they are: where one could hold what no reader can, all is read.
fn check_serialized(bytes: &[u8], max_bytes: usize) -> Result<(), InvalidJob> {
    check_size(bytes, max_bytes)?;
    let mut digits = 0;
    let (mut depth, mut in_string, mut at) = (0_usize, false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => {
                if bytes[at..].starts_with(br"\u0000") {
                    return Err(InvalidJob::Nul { what: "the payload" });
                }
                if is_surrogate(&bytes[at..]) {
                    return check(bytes, max_bytes);
                }
                at += 1;
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(InvalidJob::TooDeep { max: DEPTH_MAX });
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            b'e' | b'E' if digits > 0 && !in_string && cfg!(not(bug = "raw_values_unread")) => {
                return check(bytes, max_bytes);
            }
            _ => {}
        }
        digits = if bytes[at].is_ascii_digit() && !in_string { digits + 1 } else { 0 };
        if digits > DIGITS_MAX {
            return check(bytes, max_bytes);
        }
        at += 1;
    }
    Ok(())
}

/// True for an escape of half a character.
fn is_surrogate(escape: &[u8]) -> bool {
    matches!(escape, [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..])
}

fn check_size(bytes: &[u8], max: usize) -> Result<(), InvalidJob> {
    if bytes.len() > max {
        return Err(InvalidJob::TooLarge { bytes: bytes.len(), max });
    }
    Ok(())
}

const TOO_DEEP: &str = "too deep";
const HAS_NUL: &str = "has NUL";

/// A value at this depth; reading it looks at everything and keeps nothing.
struct Level(usize);

impl Level {
    fn below<E: serde::de::Error>(&self) -> Result<Level, E> {
        if self.0 >= DEPTH_MAX { Err(E::custom(TOO_DEEP)) } else { Ok(Level(self.0 + 1)) }
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(E::custom(HAS_NUL)) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = self.below::<A::Error>()?.0;
        while seq.next_element_seed(Level(below))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let below = self.below::<A::Error>()?.0;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key.contains('\0') {
                return Err(A::Error::custom(HAS_NUL));
            }
            map.next_value_seed(Level(below))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), InvalidJob> {
        check(text.as_bytes(), 1000)
    }

    #[test]
    fn accepts_every_kind_of_json() {
        for text in
            ["null", "[]", "{}", "1.5e300", "-0", "18446744073709551615", r#"{"a":[1,"\u00e9"]}"#]
        {
            assert_eq!(verdict(text), Ok(()), "{text}");
            assert_eq!(check_serialized(text.as_bytes(), 1000), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_what_a_store_or_reader_could_stumble_over() {
        for text in
            ["", "{", "nul", "1 2", "{'a':1}", "1e400", r#""\ud800""#, "\u{feff}1", "\"\u{0}\""]
        {
            assert!(matches!(verdict(text), Err(InvalidJob::NotJson(_))), "{text}");
        }
        assert!(check(b"\"\xff\"", 1000).is_err());
        let nul = Err(InvalidJob::Nul { what: "the payload" });
        for text in [r#""a\u0000b""#, r#"{"\u0000":1}"#] {
            assert_eq!(verdict(text), nul);
            assert_eq!(check_serialized(text.as_bytes(), 1000), nul);
        }
    }

    #[test]
    fn counts_depth_and_size_to_the_last_level() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        for check in [check, check_serialized] {
            assert_eq!(check(nested(DEPTH_MAX).as_bytes(), 1000), Ok(()));
            let deep = Err(InvalidJob::TooDeep { max: DEPTH_MAX });
            assert_eq!(check(nested(DEPTH_MAX + 1).as_bytes(), 1000), deep);
            assert_eq!(check(b"[[]]", 4), Ok(()));
            assert_eq!(check(b"[[1]]", 4), Err(InvalidJob::TooLarge { bytes: 5, max: 4 }));
        }
    }
}
