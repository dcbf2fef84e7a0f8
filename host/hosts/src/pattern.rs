//! One entry of a list.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Hosts that an entry of an allow-list names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    host: Host,
    /// All ports when absent.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    /// This one. In lower case, as it is asked for: `xn--…` where it was written with other letters.
    Name(String),
    /// All below this one, which is not among them.
    Below(String),
    Address(IpAddr),
}

/// A text that names no host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAHost(String);

impl fmt::Display for NotAHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "{text:?} is not a host, as in `example.com`, `*.example.com` or `example.com:443`"
        )
    }
}

impl std::error::Error for NotAHost {}

/// A host and the port behind it. The colons of an IPv6 address stand in brackets.
pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// A host's name in the one form in which names are compared; none for what is no name.
fn name(text: &str) -> Option<String> {
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    let name = idna::domain_to_ascii(text).ok()?;
    (text.split('.').all(is_label) && name.split('.').all(is_label)).then_some(name)
}

impl FromStr for Pattern {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let wrong = || NotAHost(text.to_owned());
        let (host, port) = split_port(text);
        let port = match port {
            Some(port) => Some(port.parse().map_err(|_| wrong())?),
            None => None,
        };
        let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match (in_brackets, host.strip_prefix("*.")) {
            (Some(address), _) => address
                .parse::<Ipv6Addr>()
                .ok()
                .map(|it| Host::Address(it.into())),
            (None, Some(below)) => name(below).map(Host::Below),
            (None, None) => match host.parse::<IpAddr>() {
                Ok(address) => Some(Host::Address(address)),
                Err(_) => name(host).map(Host::Name),
            },
        };
        Ok(Self {
            host: host.ok_or_else(wrong)?,
            port,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name),
            Host::Below(name) => write!(f, "*.{name}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Address(address) => write!(f, "{address}"),
        }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for Pattern {
    type Error = NotAHost;

    fn try_from(text: String) -> Result<Self, NotAHost> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// Is the name one below the other?
fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|rest| !rest.is_empty())
}

impl Pattern {
    /// Does this name every host and port that the other names?
    pub fn covers(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (Host::Below(above), Host::Name(name) | Host::Below(name)) => {
                is_below(name, above) || self.host == other.host
            }
            (own, other) => own == other,
        };
        host && (self.port.is_none() || self.port == other.port)
    }

    /// Does this name the host of that name, which is in lower case, whatever the port?
    pub(crate) fn is_for(&self, asked: &str) -> bool {
        match &self.host {
            Host::Name(name) => name == asked,
            Host::Below(above) => is_below(asked, above),
            Host::Address(_) => false,
        }
    }

    /// Does this name that address, whatever the port?
    pub(crate) fn is_at(&self, address: IpAddr) -> bool {
        self.host == Host::Address(address)
    }

    /// Does this name one host, and none below it?
    pub(crate) fn is_one(&self) -> bool {
        !matches!(self.host, Host::Below(_))
    }

    /// Does this name that port?
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_cover_by_name_wildcard_and_port() {
        let covers = |wide, narrow| pattern(wide).covers(&pattern(narrow));
        for (wide, narrow) in [
            ("hf.co", "hf.co"),
            ("HF.co", "hf.CO:443"),
            ("*.hf.co", "a.hf.co"),
            ("*.hf.co", "a.b.hf.co:80"),
            ("*.hf.co", "*.b.hf.co"),
            ("*.hf.co", "*.hf.co:80"),
            ("hf.co:443", "hf.co:443"),
            ("[::1]", "[0::1]:80"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("*.hf.co", "hf.co"),
            ("*.hf.co", "evilhf.co"),
            ("hf.co:443", "hf.co"),
            ("hf.co:443", "hf.co:80"),
            ("a.hf.co", "*.hf.co"),
            ("hf.co", "hf.co.evil.example"),
            ("*.0.0.1", "10.0.0.1"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for wrong in [
            "",
            "a b",
            "http://x",
            "*",
            "x:y",
            "a..b",
            "*.[::1]",
            "x/y",
            "a.*.b",
            "x:70000",
            "a.example.",
            "*.",
            "user@x",
        ] {
            let error = wrong.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("is not a host"), "{wrong}");
        }
        assert_eq!(pattern("HF.co:0443").to_string(), "hf.co:443");
        assert_eq!(pattern("[0::1]:80").to_string(), "[::1]:80");
    }
}
