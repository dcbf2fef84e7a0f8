//! A hub, and what it has of a repository.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wharf_sdk::prelude::*;

use crate::{RepositoryFile, listing::Listing};

/// What stands for itself in a part of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// One repository of a hub.
pub(crate) struct Hub {
    endpoint: String,
    repository: String,
    token: Option<Secret>,
}

/// A revision of it.
pub(crate) struct Revision<'h> {
    hub: &'h Hub,
    listing: Listing,
    files: Vec<RepositoryFile>,
}

impl Hub {
    /// Nothing is asked yet.
    pub(crate) fn new(endpoint: &str, repository: &str, token: Option<Secret>) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/');
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(Error::Invalid(format!(
                "{endpoint:?} is no address of a hub, such as https://huggingface.co"
            )));
        }
        let is_name = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !part.is_empty()
                && part.bytes().all(plain)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
        };
        if repository.split('/').count() > 2 || !repository.split('/').all(is_name) {
            return Err(Error::Invalid(format!(
                "{repository:?} is no model repository, such as sentence-transformers/all-MiniLM-L6-v2"
            )));
        }
        Ok(Self {
            endpoint: endpoint.to_owned(),
            repository: repository.to_owned(),
            token,
        })
    }

    /// Asks what a revision has.
    pub(crate) async fn revision(&self, revision: &str) -> Result<Revision<'_>> {
        if revision.is_empty() {
            return Err(Error::Invalid(
                "a revision is a branch, a tag or a commit".to_owned(),
            ));
        }
        let url = format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.endpoint,
            self.repository,
            escaped(revision)
        );
        let text = self
            .asked(&url, true)
            .name("revision.json")
            .file()
            .contents()
            .await;
        let text = text.map_err(|error| self.explain(error, revision))?;
        let listing = Listing::read(&text)?;
        let files = listing.files()?;
        Ok(Revision {
            hub: self,
            listing,
            files,
        })
    }

    /// A request, with the token where it is for the hub to see.
    fn asked(&self, url: &str, with_token: bool) -> http::Fetch {
        let fetch = http::fetch(url);
        match &self.token {
            Some(token) if with_token => fetch.bearer_auth(token),
            _ => fetch,
        }
    }

    fn explain(&self, error: Error, revision: &str) -> Error {
        let Self {
            endpoint, repository, ..
        } = self;
        match error {
            Error::NotFound(_) => Error::NotFound(format!(
                "{endpoint} has no model repository {repository} with a revision {revision}"
            )),
            // It does not tell those apart.
            Error::Unavailable(text) if text.contains("answered 401") || text.contains("answered 403") => {
                let token = match self.token {
                    Some(_) => "the token may not see it",
                    None => "it is one that needs a token",
                };
                Error::Unavailable(format!(
                    "{endpoint} shows no model repository {repository} with a revision {revision}: there is none, or {token}"
                ))
            }
            other => other,
        }
    }
}

impl Revision<'_> {
    /// All digits of it.
    pub(crate) fn commit(&self) -> &str {
        &self.listing.commit
    }

    /// What it has, by path.
    pub(crate) fn files(&self) -> &[RepositoryFile] {
        &self.files
    }

    /// A file, to be fetched when it is needed and is not there. The token goes along only where it takes one: what anybody can
    /// have is shared with everybody.
    pub(crate) fn fetch(&self, file: &RepositoryFile) -> File {
        let path: Vec<_> = file.path.split('/').map(escaped).collect();
        let Hub {
            endpoint, repository, ..
        } = self.hub;
        let url = format!(
            "{endpoint}/{repository}/resolve/{}/{}",
            self.commit(),
            path.join("/")
        );
        let fetch = self.hub.asked(&url, self.listing.is_restricted());
        // Git's digest of a file is known by its size, which servers do not say of what they compress on the way.
        fetch
            .header("Accept-Encoding", "identity")
            .digest(&file.digest)
            .file()
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}
