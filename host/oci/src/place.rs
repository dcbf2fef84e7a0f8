//! Where a registry is asked: its own address, or a mirror's.

use wharf_http::is_loopback;

use crate::{
    error::{Error, Result},
    reference::canonical_registry,
};

/// One address that answers for a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// `https://registry-1.docker.io`, without a slash at the end.
    pub(crate) base: String,
    /// What the user knows it by: `docker.io`, or the mirror's host.
    pub(crate) name: String,
    /// What Docker keeps its credentials under.
    pub(crate) credentials: String,
}

impl Place {
    /// A registry by the name that stands in references.
    pub(crate) fn registry(name: &str) -> Self {
        let name = canonical_registry(name);
        if name == "docker.io" {
            return Self {
                base: "https://registry-1.docker.io".to_owned(),
                name: name.to_owned(),
                credentials: "https://index.docker.io/v1/".to_owned(),
            };
        }
        let scheme = if is_loopback(name) { "http" } else { "https" };
        Self {
            base: format!("{scheme}://{name}"),
            name: name.to_owned(),
            credentials: name.to_owned(),
        }
    }

    /// A mirror as it is written in settings: a URL, or a host with an optional port.
    pub(crate) fn mirror(text: &str) -> Result<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            None => (None, text),
            Some((scheme, _)) => {
                return Err(Error::Settings(format!(
                    "a mirror is reached by http or https, not {scheme}"
                )));
            }
        };
        let rest = rest.trim_end_matches('/');
        let host = rest.split('/').next().unwrap_or_default();
        let scheme = scheme.unwrap_or(if is_loopback(host) { "http" } else { "https" });
        let base = format!("{scheme}://{rest}");
        if host.is_empty() || host.contains('@') || reqwest::Url::parse(&base).is_err() {
            return Err(Error::Settings(
                "a mirror is written as `docker.io=https://mirror.example:5000`, without a user or a password".to_owned(),
            ));
        }
        Ok(Self {
            base,
            name: host.to_owned(),
            credentials: host.to_owned(),
        })
    }

    /// Is it spoken to without encryption?
    pub(crate) fn is_plain(&self) -> bool {
        self.base.starts_with("http://")
    }

    /// Is it on this host? A proxy cannot reach it then.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self
            .base
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        host.is_some_and(is_loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn registries_and_mirrors_have_addresses() {
        assert_eq!(Place::registry("docker.io").base, "https://registry-1.docker.io");
        assert_eq!(Place::registry("ghcr.io").base, "https://ghcr.io");
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            let place = Place::registry(host);
            assert!(place.is_plain() && place.is_loopback(), "{host}");
        }
        assert!(!Place::registry("localhost.example:5000").is_plain());
        assert_eq!(
            Place::mirror("http://mirror.lan/").unwrap().base,
            "http://mirror.lan"
        );
        assert_eq!(
            Place::mirror("mirror.lan:5000/hub").unwrap().base,
            "https://mirror.lan:5000/hub"
        );
        assert_eq!(
            Place::mirror("127.0.0.1:5000").unwrap().base,
            "http://127.0.0.1:5000"
        );
        for wrong in ["ftp://a", "", "http://", "https://user:word@a", "https://a b"] {
            let message = Place::mirror(wrong).unwrap_err().to_string();
            assert!(!message.contains("word@"), "{message}");
        }
    }
}
