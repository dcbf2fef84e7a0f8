//! How modules are named: `namespace:name`, with a version where one is wanted, or by their place in a registry.

use std::{fmt, str::FromStr};

use semver::{Version, VersionReq};
use wharf_manifest::ModuleName;
use wharf_oci::Reference;

use crate::error::{Error, Result};

/// Which versions of a module are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The newest that is no pre-release.
    #[default]
    Newest,
    /// This one.
    Exactly(Version),
    /// The newest that satisfies this.
    Within(VersionReq),
}

impl Wanted {
    /// Does a version satisfy it?
    pub fn allows(&self, version: &Version) -> bool {
        match self {
            Self::Newest => version.pre.is_empty(),
            Self::Exactly(wanted) => wanted == version,
            Self::Within(wanted) => wanted.matches(version),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("of any version"),
            Self::Exactly(version) => write!(f, "{version}"),
            Self::Within(wanted) => write!(f, "{wanted}"),
        }
    }
}

/// Where a module of a registry is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleRef {
    /// `registry.example/acme/tool:1.2.0`, `registry.example/acme/tool@sha256:…`: the registry's host is always said.
    Place {
        /// The reference in full.
        reference: Reference,
        /// Was a tag or a digest written? The reference has the tag `latest` otherwise.
        is_pinned: bool,
    },
    /// `acme:tool`, `acme:tool@1.2`: settings say which registry has it.
    Name {
        /// The name.
        name: ModuleName,
        /// Which versions.
        wanted: Wanted,
    },
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { reference, .. } => reference.fmt(f),
            Self::Name {
                name,
                wanted: Wanted::Newest,
            } => name.fmt(f),
            Self::Name { name, wanted } => write!(f, "{name}@{}", wanted.to_string().trim_start_matches('^')),
        }
    }
}

impl FromStr for ModuleRef {
    type Err = Error;

    /// Reads what has no place on a disk. A reference without a registry's host would be one of Docker Hub's images by
    /// custom, and of nothing's by its looks: it is refused.
    fn from_str(text: &str) -> Result<Self> {
        let Some((host, rest)) = text.split_once('/') else {
            let (name, version) = match text.split_once('@') {
                Some((name, version)) => (name, Some(version)),
                None => (text, None),
            };
            return Ok(Self::Name {
                name: named(name)?,
                wanted: version.map_or(Ok(Wanted::Newest), |version| wanted(text, version))?,
            });
        };
        if !(host.contains(['.', ':']) || host == "localhost") {
            return Err(Error::NoHost(text.to_owned()));
        }
        let last = rest.rsplit('/').next().unwrap_or(rest);
        Ok(Self::Place {
            reference: text.parse()?,
            is_pinned: last.contains([':', '@']),
        })
    }
}

/// Reads a name.
pub(crate) fn named(text: &str) -> Result<ModuleName> {
    text.parse().map_err(|_| Error::Name(text.to_owned()))
}

/// `1.2.3` is that version; `1.2`, `1` and what has a sign in front are the versions that fit.
fn wanted(text: &str, version: &str) -> Result<Wanted> {
    if let Ok(exact) = version.parse() {
        return Ok(Wanted::Exactly(exact));
    }
    let within = version.parse().map_err(|_| Error::Version {
        text: text.to_owned(),
        version: version.to_owned(),
    })?;
    Ok(Wanted::Within(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_are_told_apart() {
        for (written, read) in [
            ("acme:tool", "acme:tool"),
            ("acme:tool@1.2", "acme:tool@1.2"),
            ("acme:tool@1.2.3", "acme:tool@1.2.3"),
            ("acme:tool@>=1, <3", "acme:tool@>=1, <3"),
            ("localhost:5000/acme/tool", "localhost:5000/acme/tool:latest"),
            ("ghcr.io/acme/tool:1.2.0", "ghcr.io/acme/tool:1.2.0"),
        ] {
            assert_eq!(written.parse::<ModuleRef>().unwrap().to_string(), read);
        }
        let pinned = |text: &str| match text.parse().unwrap() {
            ModuleRef::Place { is_pinned, .. } => is_pinned,
            ModuleRef::Name { .. } => panic!("{text} is no name"),
        };
        assert!(!pinned("localhost:5000/acme/tool") && pinned("localhost:5000/acme/tool:1"));
    }

    #[test]
    fn what_is_neither_says_what_to_write() {
        let refusal = |text: &str| text.parse::<ModuleRef>().unwrap_err().to_string();
        for text in ["tool", "Acme:tool", "acme:", "acme:3d", "a:b:c", ""] {
            assert!(refusal(text).contains("namespace:name"), "{text}");
        }
        assert!(refusal("acme/tool:1").contains("registry.example/acme/tool:1"));
        assert!(refusal("acme:tool@newest").contains("newest"));
    }

    #[test]
    fn versions_are_chosen_as_cargo_does() {
        let allows = |wanted: &str, version: &str| {
            let ModuleRef::Name { wanted, .. } = format!("a:b{wanted}").parse().unwrap() else {
                panic!("a name")
            };
            wanted.allows(&version.parse().unwrap())
        };
        assert!(allows("@1.2", "1.9.0") && !allows("@1.2", "2.0.0") && !allows("@1.2.0", "1.2.1"));
        assert!(allows("", "3.0.0") && !allows("", "3.0.0-rc.1"));
        assert!(!allows("@0.2", "0.3.0"));
    }
}
