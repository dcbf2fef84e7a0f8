//! Rights that a module has only when its caller gives them for the call.

use std::{collections::BTreeSet, fmt, str::FromStr};

use wharf_graph::{Denial, Error};

/// Such a right, named as the interface that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To see secrets.
    Reveal,
}

/// All of them.
const RIGHTS: [Right; 1] = [Right::Reveal];

/// A name that no right has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability {0:?} that is given for a call: write {names}", names = names())]
pub struct UnknownRight(String);

fn names() -> String {
    RIGHTS.map(|right| right.to_string()).join(" or ")
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reveal => "reveal",
        })
    }
}

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(name: &str) -> Result<Self, UnknownRight> {
        let found = RIGHTS.into_iter().find(|right| right.to_string() == name);
        found.ok_or_else(|| UnknownRight(name.to_owned()))
    }
}

/// What a call was given.
#[derive(Clone, Debug, Default)]
pub struct Grants(BTreeSet<Right>);

impl FromIterator<Right> for Grants {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().collect())
    }
}

impl Grants {
    /// Nothing when the right was given; the error that names who asked and what gives it otherwise.
    pub(crate) fn check(&self, right: Right, module: &str) -> Result<(), Error> {
        if self.0.contains(&right) {
            return Ok(());
        }
        Err(Error::Denied(Denial {
            capability: right.to_string(),
            module: module.to_owned(),
            grant: format!("--allow {right}"),
        }))
    }

    /// Would calls that need this capability be allowed? Those that need none for themselves are.
    pub(crate) fn holds(&self, capability: &str) -> bool {
        match capability.parse() {
            Ok(right) => self.0.contains(&right),
            Err(UnknownRight(name)) => crate::reflect::meaning(&name).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_given_is_denied_by_name() {
        let none = Grants::default();
        let denied = none.check(Right::Reveal, "acme:deploy").unwrap_err();
        assert_eq!(
            denied.to_string(),
            "acme:deploy may not use reveal: --allow reveal grants it"
        );
        assert!(
            Grants::from_iter([Right::Reveal])
                .check(Right::Reveal, "m")
                .is_ok()
        );
        assert!(none.holds("container") && !none.holds("reveal") && !none.holds("everything"));
        assert_eq!(
            "sudo".parse::<Right>().unwrap_err().to_string(),
            "there is no capability \"sudo\" that is given for a call: write reveal"
        );
    }
}
