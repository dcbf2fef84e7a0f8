//! Model repositories of a hub.

mod hub;
mod listing;
mod patterns;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, wharf_sdk::Type)]
pub struct RepositoryFile {
    /// Its path in the repository.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What the hub says of its content: `sha256:` of a large file, git's `gitoid:blob:sha1:` of any other.
    pub digest: String,
}

/// Snapshots of model repositories of a hub.
///
/// Every file is checked against the digest that the hub publishes. What is there already is not asked for again, whichever
/// repository or revision it came with, and a download that was interrupted goes on where it was.
#[wharf_sdk::module]
mod functions {
    use std::collections::BTreeMap;

    use wharf_sdk::prelude::*;

    use crate::{RepositoryFile, hub::Hub, patterns::Patterns};

    /// The files of a repository at a revision.
    pub async fn snapshot(
        /// The repository, such as `sentence-transformers/all-MiniLM-L6-v2`.
        repository: String,
        /// A branch, a tag, or a commit.
        #[default("main")]
        revision: String,
        /// Only files whose path matches one of these, as in `*.safetensors`; `*` goes across directories. All when none is given.
        include: Vec<String>,
        /// None of the files whose path matches one of these.
        exclude: Vec<String>,
        /// The hub's token, for repositories that are not for everybody.
        token: Option<Secret>,
        /// Where the hub is.
        #[default("https://huggingface.co")]
        endpoint: String,
    ) -> Result<Directory> {
        let patterns = Patterns::read(&include, &exclude)?;
        let hub = Hub::new(&endpoint, &repository, token)?;
        let revision = hub.revision(&revision).await?;
        let files = patterns.chosen(revision.files())?;
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        log::info(format!(
            "{repository} at {}: {} files, {bytes} bytes",
            revision.commit(),
            files.len()
        ));
        let mut fetched = BTreeMap::new();
        let mut directory = Directory::new();
        for file in &files {
            // The same content under several names comes once.
            let content = fetched
                .entry(&file.digest)
                .or_insert_with(|| revision.fetch(file));
            directory = directory.with_file(&file.path, content);
        }
        Ok(directory)
    }

    /// The files that a snapshot would have, with their sizes and digests. None is fetched.
    pub async fn files(
        /// The repository, such as `sentence-transformers/all-MiniLM-L6-v2`.
        repository: String,
        /// A branch, a tag, or a commit.
        #[default("main")]
        revision: String,
        /// Only files whose path matches one of these. All when none is given.
        include: Vec<String>,
        /// None of the files whose path matches one of these.
        exclude: Vec<String>,
        /// The hub's token, for repositories that are not for everybody.
        token: Option<Secret>,
        /// Where the hub is.
        #[default("https://huggingface.co")]
        endpoint: String,
    ) -> Result<Vec<RepositoryFile>> {
        let patterns = Patterns::read(&include, &exclude)?;
        let hub = Hub::new(&endpoint, &repository, token)?;
        let revision = hub.revision(&revision).await?;
        Ok(patterns.chosen(revision.files())?.into_iter().cloned().collect())
    }

    /// The commit that a revision is now: what to pin a snapshot to.
    pub async fn commit(
        /// The repository, such as `sentence-transformers/all-MiniLM-L6-v2`.
        repository: String,
        /// A branch, a tag, or a commit.
        #[default("main")]
        revision: String,
        /// The hub's token, for repositories that are not for everybody.
        token: Option<Secret>,
        /// Where the hub is.
        #[default("https://huggingface.co")]
        endpoint: String,
    ) -> Result<String> {
        let hub = Hub::new(&endpoint, &repository, token)?;
        Ok(hub.revision(&revision).await?.commit().to_owned())
    }
}

#[cfg(test)]
mod tests;
