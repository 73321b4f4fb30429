//! What a credential can allow.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

/// One thing that a credential can allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Look at everything.
    Read,
    /// Put jobs into queues.
    Enqueue,
    /// Claim jobs and say how they ended.
    Work,
    /// Change jobs and queues.
    Operate,
    /// Everything, tokens and redacted fields too.
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Self; 5] =
        [Self::Read, Self::Enqueue, Self::Work, Self::Operate, Self::Admin];

    /// Its name, as people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Enqueue => "enqueue",
            Self::Work => "work",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a credential allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scopes(u8);

impl Scopes {
    pub(crate) const ALL: Self = Self(0b11111);

    /// Reads names of scopes.
    pub(crate) fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, String> {
        let mut scopes = Self(0);
        for name in names {
            let scope = Scope::ALL.into_iter().find(|scope| scope.name() == name.trim());
            let all = Scope::ALL.map(Scope::name).join(", ");
            scopes.0 |= scope.ok_or(format!("{name:?} is no scope; there are {all}"))?.bit();
        }
        if scopes.0 == 0 {
            return Err("name at least one scope".to_owned());
        }
        Ok(scopes)
    }

    /// `admin` allows everything.
    pub(crate) fn has(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// True when there is nothing in here that is not in there.
    pub(crate) fn are_within(self, others: &[Scope]) -> bool {
        self.0 & !others.iter().fold(0, |bits, scope| bits | scope.bit()) == 0
    }

    /// Returns what is allowed, by name.
    pub(crate) fn names(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::name).collect()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        Self::named(names.iter().map(String::as_str)).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_scope_allows_itself_alone_and_admin_everything() {
        for one in Scope::ALL {
            let scopes = Scopes::named([one.name()]).unwrap();
            for other in Scope::ALL {
                assert_eq!(scopes.has(other), one == other || one == Scope::Admin, "{one:?}");
            }
        }
        assert_eq!(Scopes::ALL.names().len(), 5);
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let scopes = Scopes::named(["work", " read"]).unwrap();
        let json = serde_json::to_string(&scopes).unwrap();
        assert_eq!(json, r#"["read","work"]"#);
        assert_eq!(serde_json::from_str::<Scopes>(&json).unwrap(), scopes);
        for wrong in [r#"[]"#, r#"["root"]"#, r#"["Read"]"#, r#""read""#, "31"] {
            assert!(serde_json::from_str::<Scopes>(wrong).is_err(), "{wrong}");
        }
    }
}
