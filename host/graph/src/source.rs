//! Sources outside of the caller's host: files by URL, commits of repositories. What is asked for, by whom, never a secret's
//! value.

use serde::{Deserialize, Serialize};
use wharf_hosts::Hosts;

use crate::{node::NodeId, op::SecretId};

/// A file to be fetched by URL. Equal requests are made once a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FetchRequest {
    /// Of `https` or `http`.
    pub url: String,
    /// What the content must be: `sha256:…`, `sha512:…`, `blake3:…` or `gitoid:blob:sha1:…`.
    pub digest: Option<String>,
    /// Headers by name, in the order in which they were given.
    pub headers: Vec<(String, String)>,
    /// What is secret about it.
    pub secrets: Vec<FetchSecret>,
    /// The servers that may be asked, wherever answers lead; any when absent.
    pub hosts: Option<Hosts>,
}

/// A secret that is sent along.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FetchSecret {
    /// As the value of the header of this name.
    Header(String, SecretId),
    /// As a bearer token.
    Bearer(SecretId),
    /// As the password of this user.
    Basic(String, SecretId),
}

impl FetchSecret {
    /// The secret.
    pub fn id(&self) -> &SecretId {
        match self {
            Self::Header(_, secret) | Self::Bearer(secret) | Self::Basic(_, secret) => secret,
        }
    }

    pub(crate) fn id_mut(&mut self) -> &mut SecretId {
        match self {
            Self::Header(_, secret) | Self::Bearer(secret) | Self::Basic(_, secret) => secret,
        }
    }
}

impl FetchRequest {
    /// A request for this URL and nothing else.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            digest: None,
            headers: Vec::new(),
            secrets: Vec::new(),
            hosts: None,
        }
    }

    /// The digest of the content when no request is needed to know it: when it was given, and nothing about it is secret.
    pub fn known_digest(&self) -> Option<&str> {
        self.digest.as_deref().filter(|_| self.secrets.is_empty())
    }

    /// The file's name: the last part of the URL's path, `download` where it has none that can be a name.
    pub fn name(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let path = url.split_once("://").map_or(url, |(_, rest)| rest);
        let last = path.split('/').skip(1).last().unwrap_or_default();
        match unescape(last) {
            Some(name) if !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']) => {
                name
            }
            _ => "download".to_owned(),
        }
    }

    /// The URL without what may be secret in it.
    pub fn shown(&self) -> String {
        let (start, query) = match self.url.split_once(['?', '#']) {
            Some((start, _)) => (start, self.url[start.len()..].starts_with('?')),
            None => (self.url.as_str(), false),
        };
        let mark = if query { "?…" } else { "" };
        match start.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = host.rsplit('@').next().unwrap_or(host);
                format!("{scheme}://{host}{path}{mark}")
            }
            None => format!("{start}{mark}"),
        }
    }
}

/// What is asked for, and how the file arrives.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// All but the URL.
    pub request: FetchRequest,
    /// Another name.
    pub name: Option<String>,
    /// Other permission bits.
    pub mode: Option<u32>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            request: FetchRequest::new(""),
            name: None,
            mode: None,
        }
    }
}

/// A git repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Repository<S = NodeId> {
    /// Where it is.
    pub place: RepositoryPlace<S>,
    /// As whom it is asked.
    pub access: Access,
    /// Keys of ssh servers, as a `known_hosts` file has them.
    pub known_hosts: String,
    /// The servers that may be asked for it and its submodules; any when absent.
    pub hosts: Option<Hosts>,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RepositoryPlace<S = NodeId> {
    /// At an address of `https` or `ssh`.
    Url(String),
    /// In a directory: a bare one, or in its `.git`.
    Directory(S),
}

/// As whom a repository is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// As nobody.
    #[default]
    Open,
    /// As this user, with a password or a token. For https.
    Password(String, SecretId),
    /// With a private key. For ssh.
    Key(SecretId),
}

impl Access {
    /// The secret.
    pub fn secret(&self) -> Option<&SecretId> {
        match self {
            Self::Open => None,
            Self::Password(_, secret) | Self::Key(secret) => Some(secret),
        }
    }

    pub(crate) fn secret_mut(&mut self) -> Option<&mut SecretId> {
        match self {
            Self::Open => None,
            Self::Password(_, secret) | Self::Key(secret) => Some(secret),
        }
    }
}

/// As whom a repository is asked, and how its server is known.
#[derive(Clone, Debug, Default)]
pub struct GitAccess {
    /// As whom.
    pub access: Access,
    /// Keys of ssh servers, as a `known_hosts` file has them.
    pub known_hosts: String,
}

/// Which commit of a repository is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reference {
    /// The one that the repository itself starts from.
    Head,
    /// The last of a branch.
    Branch(String),
    /// The one that has a tag.
    Tag(String),
    /// This one.
    Commit(String),
    /// The one with the tag of the highest version.
    LatestVersion,
    /// Any of these, as git reads it.
    Any(String),
}

/// How a commit becomes a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checkout {
    /// Keep the repository itself, as `.git`.
    pub keep_git_dir: bool,
    /// How many commits of the history it has then; all when absent.
    pub depth: Option<u32>,
}

/// Is it a commit's whole name?
pub fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl<S> Repository<S> {
    /// What people call it.
    pub fn shown(&self) -> &str {
        match &self.place {
            RepositoryPlace::Url(url) => url,
            RepositoryPlace::Directory(_) => "a repository in a directory",
        }
    }

    /// What a lock calls one of its references; nothing for what means one commit, whatever happens elsewhere: a commit's whole
    /// name, and all that is in a directory, which is content.
    pub fn name_in_lock(&self, reference: &Reference) -> Option<String> {
        let name = match reference {
            Reference::Head => "HEAD",
            Reference::Branch(name) => &format!("refs/heads/{name}"),
            Reference::Tag(name) => &format!("refs/tags/{name}"),
            Reference::LatestVersion => "the latest version",
            Reference::Any(name) if is_commit(name) => return None,
            Reference::Any(name) => name,
            Reference::Commit(_) => return None,
        };
        self.directory()
            .is_none()
            .then(|| format!("{}#{name}", self.shown()))
    }

    /// The directory that it is in.
    pub fn directory(&self) -> Option<&S> {
        match &self.place {
            RepositoryPlace::Url(_) => None,
            RepositoryPlace::Directory(directory) => Some(directory),
        }
    }

    /// The same repository with another name for its directory.
    pub fn try_map<T, E>(&self, directory: impl FnOnce(&S) -> Result<T, E>) -> Result<Repository<T>, E> {
        Ok(Repository {
            place: match &self.place {
                RepositoryPlace::Url(url) => RepositoryPlace::Url(url.clone()),
                RepositoryPlace::Directory(own) => RepositoryPlace::Directory(directory(own)?),
            },
            access: self.access.clone(),
            known_hosts: self.known_hosts.clone(),
            hosts: self.hosts.clone(),
        })
    }
}

/// Text with its `%41`s replaced; none when that is not UTF-8.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = || u8::from_str_radix(std::str::from_utf8(after.get(..2)?).ok()?, 16).ok();
        match (first, code()) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::FetchRequest;

    #[test]
    fn a_file_is_named_after_its_url() {
        for (url, name) in [
            (
                "https://a.example/x/tool-1.0.tar.gz?token=word",
                "tool-1.0.tar.gz",
            ),
            ("https://a.example/a%20b.txt", "a b.txt"),
            ("https://a.example/", "download"),
            ("https://a.example", "download"),
            ("https://a.example/..", "download"),
            ("https://a.example/a%2fb", "download"),
            ("https://a.example/%ff", "download"),
        ] {
            assert_eq!(FetchRequest::new(url).name(), name, "{url}");
        }
    }

    #[test]
    fn what_is_shown_has_no_credentials() {
        let shown = FetchRequest::new("https://ann:word@a.example/x?token=word#y").shown();
        assert_eq!(shown, "https://a.example/x?…");
    }
}
