//! A list of hosts.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    pattern::{NotAHost, Pattern},
    reach::Reach,
};

/// An allow-list of hosts. What is not in it is not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hosts(BTreeSet<Pattern>);

impl Hosts {
    /// The hosts that these entries name.
    ///
    /// # Errors
    /// When one of them names no host.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, NotAHost> {
        let parsed = entries.into_iter().map(|entry| entry.as_ref().parse());
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Its entries.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is the host of this name allowed, on some port at least? The name is in lower case and without a dot at its end.
    pub fn has_name(&self, name: &str) -> bool {
        self.0.iter().any(|one| one.is_for(name))
    }

    /// Is this port of the host of this name allowed?
    pub fn allows_name(&self, name: &str, port: u16) -> bool {
        self.0.iter().any(|one| one.is_for(name) && one.has_port(port))
    }

    /// Is this port of an address allowed because the address itself is in the list?
    pub fn allows_address(&self, address: IpAddr, port: u16) -> bool {
        self.0.iter().any(|one| one.is_at(address) && one.has_port(port))
    }

    /// May a name of the list lead to this address? To the addresses of this machine, of links and of private networks only
    /// when they are in the list themselves: who owns a name decides where it leads.
    pub fn may_lead_to(&self, address: IpAddr) -> bool {
        Reach::of(address) == Reach::Public || self.0.iter().any(|one| one.is_at(address))
    }

    /// Is this port allowed of a host that is written as in a URL: a name, or an address, in brackets where it has colons?
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(address) => self.allows_address(address, port),
            Err(_) => self.allows_name(&host.trim_end_matches('.').to_ascii_lowercase(), port),
        }
    }
}

impl fmt::Display for Hosts {
    /// As it stands in wharf.toml: `["a", "b"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<_> = self.0.iter().map(|one| format!("\"{one}\"")).collect();
        write!(f, "[{}]", quoted.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn names_and_addresses_are_allowed_by_port() {
        let hosts = Hosts::parse(["hf.co:443", "*.b.example", "10.1.2.3:80"]).unwrap();
        assert!(
            hosts.has_name("hf.co") && hosts.allows_name("hf.co", 443) && !hosts.allows_name("hf.co", 80)
        );
        assert!(hosts.allows_name("a.b.example", 1) && !hosts.has_name("b.example"));
        assert!(
            hosts.allows_address([10, 1, 2, 3].into(), 80) && !hosts.allows_address([10, 1, 2, 3].into(), 81)
        );
        assert!(hosts.allows("HF.co.", 443) && hosts.allows("10.1.2.3", 80) && !hosts.allows("10.1.2.4", 80));
        assert_eq!(
            hosts.to_string(),
            r#"["hf.co:443", "*.b.example", "10.1.2.3:80"]"#
        );
    }

    #[test]
    fn names_lead_to_public_addresses_and_to_those_that_are_named() {
        let hosts = Hosts::parse(["hf.co", "10.1.2.3"]).unwrap();
        for (address, may) in [
            ("1.1.1.1", true),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("::1", false),
            ("2606:4700::1", true),
        ] {
            assert_eq!(hosts.may_lead_to(address.parse().unwrap()), may, "{address}");
        }
    }
}
