//! The fence as text: `JOB~ATTEMPT~NONCE`, which fits into a path and which nobody needs to read.

use dutiful::Fence;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A fence as the API writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FenceText(pub(crate) Fence);

impl std::fmt::Display for FenceText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}~{}~{:016x}", self.0.id, self.0.attempt, self.0.nonce)
    }
}

impl std::str::FromStr for FenceText {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = text.split('~');
            let (id, attempt, nonce) = (parts.next()?, parts.next()?, parts.next()?);
            // Only one spelling: what we write ourselves.
            let fence = Fence {
                id: id.parse().ok()?,
                attempt: attempt.parse().ok()?,
                nonce: u64::from_str_radix(nonce, 16).ok()? as i64,
            };
            (Self(fence).to_string() == text).then_some(Self(fence))
        };
        read().ok_or("that is no fence; send the one that came with the job, as it is")
    }
}

impl Serialize for FenceText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FenceText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use dutiful::JobId;

    use super::*;

    #[test]
    fn a_fence_is_read_as_it_was_written_and_in_no_other_way() {
        for nonce in [0, 1, i64::MAX, i64::MIN, -1] {
            let fence = FenceText(Fence { id: JobId::new(), attempt: 7, nonce });
            assert_eq!(fence.to_string().parse(), Ok(fence));
        }
        let good = FenceText(Fence { id: JobId::new(), attempt: 7, nonce: 255 }).to_string();
        for bad in [
            String::new(),
            good.replace('~', "/"),
            good.replace("~7~", "~07~"),
            good.replace("~7~", "~+7~"),
            good.to_uppercase(),
            format!("{good}~"),
            format!("{good}0"),
            format!(" {good}"),
        ] {
            assert!(bad.parse::<FenceText>().is_err(), "{bad}");
        }
    }
}
