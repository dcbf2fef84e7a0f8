//! What a repository says: its last version, and what has changed since.

use std::collections::HashSet;

use semver::Version;
use wharf_sdk::prelude::*;

use crate::changes::{Change, raised, version_of};

/// As many commits as are looked through.
const FAR: u32 = 10_000;

/// The last version of a repository, and the changes since, the newest first.
pub(crate) struct History {
    pub(crate) last: Option<Version>,
    pub(crate) changes: Vec<Change>,
}

impl History {
    /// Reads it from the repository that a directory holds.
    pub(crate) async fn read(directory: &Directory, prefix: Option<&str>) -> Result<Self> {
        let repository = git::of_directory(directory);
        let head = repository.head();
        let (tags, log) = join!(repository.tags(Vec::<String>::new()), head.log(FAR));
        let log = log?;
        let mut releases: Vec<_> = tags?
            .into_iter()
            .filter_map(|tag| Some((version_of(&tag, prefix)?, tag)))
            .collect();
        releases.sort();
        for (version, tag) in releases.iter().rev() {
            let tagged = repository.tag(tag);
            let id = tagged.commit().await?;
            // A tag of another line of development does not count.
            if log.iter().any(|entry| entry.id == id) {
                let before = tagged.log(FAR).await?;
                return Ok(Self::since(Some(version.clone()), &log, &before));
            }
        }
        if !releases.is_empty() && log.len() >= FAR as usize {
            return Err(Error::with_code(
                "too-long",
                format!("no tag with a version is among the last {FAR} commits"),
            ));
        }
        Ok(Self::since(None, &log, &[]))
    }

    /// The commits that were not there before: with merges they are not the first ones of the log.
    fn since(last: Option<Version>, log: &[git::LogEntry], before: &[git::LogEntry]) -> Self {
        let before: HashSet<&str> = before.iter().map(|entry| entry.id.as_str()).collect();
        let changes = log
            .iter()
            .filter(|entry| !before.contains(entry.id.as_str()))
            .filter_map(|entry| Change::read(&entry.id, &entry.subject));
        Self {
            last,
            changes: changes.collect(),
        }
    }

    /// The version that the changes ask for, which is `first` where there was none; none when they ask for none.
    pub(crate) fn next(&self, first: &Version) -> Option<Version> {
        let Some(last) = &self.last else {
            return Some(first.clone());
        };
        let kind = self.changes.iter().map(|change| change.kind).max()?;
        Some(raised(last, kind))
    }
}
