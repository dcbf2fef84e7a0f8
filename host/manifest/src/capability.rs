//! The capabilities that are granted by name.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Rights, nearest::unknown, pattern::Kind};

/// Something that a module can do only when it is granted, each with an allow-list of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Capability {
    /// Steps reach the network.
    Network,
    /// Containers start from images.
    Images,
    /// Files come from git repositories.
    Git,
    /// Files come from URLs.
    Http,
    /// Images are published.
    Registry,
    /// Secrets are handed to it.
    Secrets,
    /// Secrets are seen in plain text.
    Reveal,
    /// Cache volumes are kept.
    Caches,
    /// Files of the caller are read.
    HostRead,
    /// Files of the caller are written.
    HostWrite,
    /// Variables of the caller are read.
    HostEnv,
    /// Services and the caller's machine are connected.
    Tunnels,
    /// The caller's own Docker is used.
    Docker,
    /// Steps use GPUs.
    Gpu,
    /// Terminals are opened in steps.
    Debug,
}

/// What is known of each: its name, what it lets a module do, and what its allow-list names.
const TABLE: [(Capability, &str, &str, Kind); 15] = {
    use Capability as C;
    [
        (C::Network, "network", "let steps reach these hosts", Kind::Host),
        (
            C::Images,
            "images",
            "start containers from images of these repositories",
            Kind::Repository,
        ),
        (
            C::Git,
            "git",
            "take files from git repositories of these hosts",
            Kind::Host,
        ),
        (C::Http, "http", "fetch files from these hosts", Kind::Host),
        (
            C::Registry,
            "registry",
            "publish to these repositories",
            Kind::Repository,
        ),
        (
            C::Secrets,
            "secrets",
            "be handed secrets of these names, unseen",
            Kind::Name,
        ),
        (
            C::Reveal,
            "reveal",
            "see secrets of these names in plain text",
            Kind::Name,
        ),
        (
            C::Caches,
            "caches",
            "keep cache volumes of these names",
            Kind::Name,
        ),
        (
            C::HostRead,
            "host-read",
            "read files of the caller below these paths",
            Kind::Path,
        ),
        (
            C::HostWrite,
            "host-write",
            "write files of the caller below these paths",
            Kind::Path,
        ),
        (
            C::HostEnv,
            "host-env",
            "read these variables of the caller",
            Kind::Name,
        ),
        (
            C::Tunnels,
            "tunnels",
            "connect services with these ports of the caller's machine, as in `localhost:5432`",
            Kind::Host,
        ),
        (
            C::Docker,
            "docker",
            "take images of these names from the caller's Docker and load them into it",
            Kind::Name,
        ),
        (C::Gpu, "gpu", "use GPUs in steps", Kind::Name),
        (C::Debug, "debug", "open terminals in steps", Kind::Name),
    ]
};

impl Capability {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(capability, ..)| *capability)
    }

    /// Its name in wharf.toml and behind `--allow`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it lets a module do.
    pub fn meaning(self) -> &'static str {
        self.row().2
    }

    /// What a module can use by importing this interface of `wharf:pipeline`, whose `-sync` twin is the same.
    pub fn of_interface(interface: &str) -> &'static [Self] {
        match interface.strip_suffix("-sync").unwrap_or(interface) {
            "network" => &[Self::Network],
            "image" => &[Self::Images, Self::Docker],
            "git" | "git-eval" => &[Self::Git],
            "http" => &[Self::Http],
            "registry" => &[Self::Registry],
            "gpu" | "gpu-eval" => &[Self::Gpu],
            "secret" => &[Self::Secrets],
            "reveal" => &[Self::Reveal],
            "debug" => &[Self::Debug],
            "cache" => &[Self::Caches],
            "host" => &[Self::HostRead, Self::HostEnv, Self::Tunnels],
            "exports" => &[Self::HostWrite, Self::Docker],
            _ => &[],
        }
    }

    /// As [`Self::of_interface`], of several.
    pub fn of_interfaces(interfaces: &BTreeSet<String>) -> Rights {
        Rights::all_of(
            interfaces
                .iter()
                .flat_map(|one| Self::of_interface(one).iter().copied()),
        )
    }

    pub(crate) fn kind(self) -> Kind {
        self.row().3
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, Kind) {
        // The table has a row for each, in the order of their definition.
        &TABLE[self as usize]
    }
}

/// A name that no capability has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", unknown(&format!("the capability {:?}", .0), .0, &names()))]
pub struct UnknownCapability(pub String);

fn names() -> [&'static str; TABLE.len()] {
    TABLE.map(|(_, name, ..)| name)
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, UnknownCapability> {
        let found = Self::all().find(|capability| capability.name() == name);
        found.ok_or_else(|| UnknownCapability(name.to_owned()))
    }
}

impl TryFrom<String> for Capability {
    type Error = UnknownCapability;

    fn try_from(name: String) -> Result<Self, UnknownCapability> {
        name.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_row() {
        for capability in Capability::all() {
            assert_eq!(capability.row().0, capability);
            assert_eq!(capability.name().parse(), Ok(capability));
        }
        assert_eq!(
            "netwrok".parse::<Capability>().unwrap_err().to_string(),
            "the capability \"netwrok\" is not known; did you mean `network`?"
        );
    }
}
