//! Where a repository is, and as whom it is asked.

use std::fmt;

use wharf_hosts::Hosts;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// A repository elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// As git takes it.
    pub(crate) url: String,
    pub(crate) kind: Kind,
    /// Name or address of its server.
    pub(crate) host: String,
    pub(crate) access: Access,
    /// Keys of ssh servers, in the format of `known_hosts`.
    pub(crate) known_hosts: String,
    /// The servers that may be asked for it and its submodules; any when absent.
    pub(crate) hosts: Option<Hosts>,
}

/// How it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Ssh,
    /// A directory of ours.
    Local,
}

/// As whom a repository is asked.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// As nobody.
    #[default]
    Open,
    /// As a user with a password, or a token in its place. For https.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Zeroizing<Vec<u8>>,
    },
    /// With a private key. For ssh.
    Key(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Password { .. } => "Password",
            Self::Key(_) => "Key",
        })
    }
}

impl Remote {
    /// The repository at this address: `https://…`, `http://…`, `ssh://user@host/…` or `user@host:path`.
    ///
    /// # Errors
    /// When it is no such address, holds a password, or cannot be reached with what `access` has.
    pub fn new(url: &str, access: Access, known_hosts: &str) -> Result<Self> {
        let wrong = |why: &str| Error::Url {
            url: without_credentials(url),
            why: why.to_owned(),
        };
        if url.chars().any(|c| c.is_control() || c == ' ') || url.starts_with('-') {
            return Err(wrong("it has characters that no address has"));
        }
        let (kind, authority) = match url.split_once("://") {
            Some(("https" | "http", rest)) => (Kind::Http, rest),
            Some(("ssh", rest)) => (Kind::Ssh, rest),
            Some(("file", _)) => {
                return Err(wrong(
                    "a repository on the caller's disk is a directory: use `git::of_directory`",
                ));
            }
            Some((scheme, _)) => {
                return Err(wrong(&format!(
                    "repositories are reached by https and ssh, not by {scheme}"
                )));
            }
            // As scp has it.
            None if url.contains(':') && !url.contains("::") => (Kind::Ssh, url),
            None => return Err(wrong("write https://host/path or ssh://user@host/path")),
        };
        let authority = authority.split('/').next().unwrap_or_default();
        let (user, place) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, place)| (Some(user), place));
        if user.is_some_and(|user| kind == Kind::Http || user.contains(':')) {
            return Err(wrong(
                "it has credentials in it: give them as a secret, beside the address",
            ));
        }
        let host = match place.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => place.split(':').next(),
        };
        let host = host.unwrap_or_default();
        if host.is_empty() || host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
            return Err(wrong("it names no host"));
        }
        match (&access, kind) {
            (Access::Key(_), Kind::Http) => return Err(wrong("a key is for ssh: give a token for https")),
            (Access::Password { .. }, Kind::Ssh) => {
                return Err(wrong("a password or token is for https: give a key for ssh"));
            }
            _ => {}
        }
        Ok(Self {
            url: url.to_owned(),
            kind,
            host: host.to_owned(),
            access,
            known_hosts: known_hosts.to_owned(),
            hosts: None,
        })
    }

    /// The same, for which no other servers are asked than these.
    ///
    /// # Errors
    /// When it is on none of them, or its address can be read in more than one way.
    pub fn only_from(self, hosts: Option<Hosts>) -> Result<Self> {
        let Some(allowed) = &hosts else { return Ok(self) };
        let place = wharf_hosts::host_and_port(&self.url);
        if place
            .as_ref()
            .is_some_and(|(host, port)| allowed.allows(host, *port))
        {
            return Ok(Self { hosts, ..self });
        }
        let host = place.map_or_else(|| self.host.clone(), |(host, port)| format!("{host}:{port}"));
        Err(Error::NotAllowed {
            host,
            url: without_credentials(&self.url),
            hosts: allowed.to_string(),
        })
    }

    /// A repository in a directory of ours.
    pub(crate) fn local(path: &std::path::Path) -> Self {
        Self {
            url: path.display().to_string(),
            kind: Kind::Local,
            host: String::new(),
            access: Access::Open,
            known_hosts: String::new(),
            hosts: None,
        }
    }

    /// The repository that a submodule of this one names. Secrets go along to the same server only.
    pub(crate) fn submodule(&self, url: &str) -> Result<Self> {
        let relative = url.starts_with("./") || url.starts_with("../");
        if relative && self.kind == Kind::Local {
            return Err(Error::Url {
                url: url.to_owned(),
                why: "a submodule with a relative address, of a repository that is a directory".to_owned(),
            });
        }
        let url = if relative {
            join(&self.url, url)
        } else {
            url.to_owned()
        };
        let open = Self::new(&url, Access::Open, &self.known_hosts)?.only_from(self.hosts.clone())?;
        if open.kind == self.kind && open.origin() == self.origin() {
            let access = self.access.clone();
            return Ok(Self { access, ..open });
        }
        Ok(open)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        let start = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[start..]
            .find('/')
            .map_or(self.url.len(), |at| start + at);
        &self.url[..end]
    }

    /// As whom it is asked, where that has a name.
    pub(crate) fn user(&self) -> Option<String> {
        match &self.access {
            Access::Password { user, .. } => Some(user.clone()),
            Access::Key(_) => self
                .url
                .trim_start_matches("ssh://")
                .split_once('@')
                .map(|(user, _)| user.to_owned()),
            Access::Open => None,
        }
    }
}

/// A relative address of a submodule, seen from its parent's.
fn join(base: &str, relative: &str) -> String {
    let mut base = base.trim_end_matches('/');
    let mut relative = relative;
    loop {
        if let Some(rest) = relative.strip_prefix("./") {
            relative = rest;
        } else if let Some(rest) = relative.strip_prefix("../") {
            relative = rest;
            base = base.rfind(['/', ':']).map_or(base, |at| &base[..at]);
        } else {
            return format!("{base}/{relative}");
        }
    }
}

fn without_credentials(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    match url[..end].split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
        None => url[..end].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use wharf_hosts::Hosts;

    use super::{Access, Remote, join};

    fn remote(url: &str) -> Result<Remote, String> {
        Remote::new(url, Access::Open, "").map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_read() {
        for (url, host) in [
            ("https://a.example/x.git", "a.example"),
            ("http://127.0.0.1:8080/x", "127.0.0.1"),
            ("ssh://git@a.example:2222/x.git", "a.example"),
            ("git@a.example:team/x.git", "a.example"),
            ("ssh://git@[::1]:22/x", "::1"),
        ] {
            assert_eq!(remote(url).unwrap().host, host, "{url}");
        }
        for (url, why) in [
            ("https://ann:word@a.example/x", "as a secret"),
            ("ssh://ann:word@a.example/x", "as a secret"),
            ("file:///etc", "of_directory"),
            ("ext::sh -c id", "no address"),
            ("ext::sh", "write https"),
            ("--upload-pack=id", "no address"),
            ("ssh://-oProxyCommand=id/x", "names no host"),
            ("ftp://a.example/x", "not by ftp"),
            ("/srv/x", "write https"),
        ] {
            let error = remote(url).unwrap_err();
            assert!(error.contains(why) && !error.contains("word"), "{url}: {error}");
        }
    }

    #[test]
    fn submodules_are_found_from_their_parent_and_secrets_stay_with_the_server() {
        assert_eq!(
            join("https://a.example/team/x.git", "../y.git"),
            "https://a.example/team/y.git"
        );
        assert_eq!(join("git@a.example:x.git", "../y.git"), "git@a.example/y.git");
        assert_eq!(join("https://a.example/x", "./y"), "https://a.example/x/y");
        let access = Access::Password {
            user: "ann".to_owned(),
            password: b"word".to_vec().into(),
        };
        let parent = Remote::new("https://a.example/team/x.git", access.clone(), "").unwrap();
        assert_eq!(parent.submodule("../y.git").unwrap().access, access);
        assert_eq!(
            parent.submodule("https://b.example/y.git").unwrap().access,
            Access::Open
        );
        assert_eq!(
            parent.submodule("https://a.example:444/y.git").unwrap().access,
            Access::Open
        );
        assert!(parent.submodule("file:///etc").is_err());
    }

    #[test]
    fn a_list_of_hosts_holds_for_submodules() {
        let hosts = Hosts::parse(["a.example", "b.example:22"]).unwrap();
        let within = |url: &str| {
            Remote::new(url, Access::Open, "")
                .unwrap()
                .only_from(Some(hosts.clone()))
        };
        let parent = within("https://a.example/team/x.git").unwrap();
        assert!(parent.submodule("../y.git").is_ok() && parent.submodule("git@b.example:y.git").is_ok());
        for url in [
            "https://b.example/y.git",
            "https://evil.example/y",
            "git@evil.example:a.example",
        ] {
            let error = parent.submodule(url).unwrap_err().to_string();
            assert!(
                error.contains("not in the list of hosts [\"a.example\", \"b.example:22\"]"),
                "{error}"
            );
            assert!(within(url).is_err());
        }
    }
}
