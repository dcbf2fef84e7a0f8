//! Where an engine on another machine listens: `tcp://HOST:PORT`.

use std::{fmt, str::FromStr};

use rustls_pki_types::ServerName;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: write tcp://HOST:PORT, as in tcp://build.example:7420 or tcp://[::1]:7420")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AddressError(text.to_owned());
        let rest = text.strip_prefix("tcp://").ok_or_else(wrong)?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        ServerName::try_from(host).map_err(|_| wrong())?;
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong())?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for text in [
            "tcp://build.example:7420",
            "tcp://127.0.0.1:1",
            "tcp://[::1]:65535",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in [
            "tcp://host",
            "tcp://:1",
            "tcp://host:",
            "tcp://host:70000",
            "tcp://::1:5",
            "tcp://[::1:5",
            "host:1",
            "tcp://a/b:1",
            "tcp://a b:1",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("tcp://HOST:PORT"), "{text}: {error}");
        }
    }
}
