//! Signatures by the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret begins with, as the specification has it.
const PREFIX: &str = "whsec_";
/// Shortest and longest key, in bytes, as the specification has them.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets are written with or without the padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key for signatures. It is never printed: `Debug` shows that there is one, no more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a text is no secret; it never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret is whsec_ and then 24 to 64 random bytes in base64; make one with \
     `echo whsec_$(openssl rand -base64 32)`"
)]
#[non_exhaustive]
pub struct SecretError;

impl Secret {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// [`SecretError`]: another form, or a key shorter or longer than the specification allows.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let coded = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        let key = LENIENT.decode(coded).map_err(|_| SecretError)?;
        if KEY_BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(SecretError) }
    }

    fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Returns the value of `webhook-signature`: one signature for each secret, so that a receiver
/// which knows only one of them, while they are being replaced, finds its own.
pub(super) fn signatures(secrets: &[Secret], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let each = secrets.iter().map(|secret| secret.sign(id, timestamp_s, body));
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    // The vector of the specification's own libraries, as the clients have it too.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::parse(text).unwrap()).collect()
    }

    #[test]
    fn signs_the_published_vector() {
        assert_eq!(signatures(&secrets(&[SECRET]), ID, AT, BODY), SIGNED);
    }

    #[test]
    fn signs_once_for_each_secret_in_their_order() {
        let both = signatures(&secrets(&[OTHER, SECRET]), ID, AT, BODY);
        let (other, first) = both.split_once(' ').unwrap();
        assert_eq!(first, SIGNED);
        assert_ne!(other, SIGNED);
        assert!(other.starts_with("v1,"));
    }

    #[test]
    fn every_part_counts_in_a_signature() {
        let one = secrets(&[SECRET]);
        for (id, at, body) in [
            ("msg_p5jXN8AQM9LWM0D4loKWxJel", AT, BODY),
            (ID, AT + 1, BODY),
            (ID, AT, br#"{"test": 2432232315}"#),
        ] {
            assert_ne!(signatures(&one, id, at, body), SIGNED);
        }
    }

    #[test]
    fn refuses_what_is_no_secret_and_never_shows_one() {
        let short = STANDARD.encode([7; 23]);
        let long = STANDARD.encode([7; 65]);
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa w",
            "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            &format!("whsec_{short}"),
            &format!("whsec_{long}"),
        ] {
            let error = Secret::parse(text).unwrap_err();
            let coded = text.strip_prefix(PREFIX).unwrap_or(text);
            assert!(coded.is_empty() || !error.to_string().contains(coded), "{error}");
        }
        let unpadded = base64::engine::general_purpose::STANDARD_NO_PAD.encode([7; 32]);
        assert!(Secret::parse(&format!("whsec_{unpadded}")).is_ok());
        let shown = format!("{:?}", secrets(&[SECRET]));
        assert!(!shown.contains("MfKQ") && !shown.contains("49, 242"), "{shown}");
    }
}
