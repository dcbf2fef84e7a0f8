//! The next version of a repository, by what its commits say of themselves.

mod changes;
mod history;

/// Says the next version of a repository, and what has changed since the last one.
///
/// Commits are read as Conventional Commits has them: `feat: …` raises the second number, `fix: …` the third, and `!` before the
/// colon the first. Before 1.0.0 each raises the number behind.
#[wharf_sdk::module]
mod functions {
    use semver::Version;
    use wharf_sdk::prelude::*;

    use crate::{changes::notes as text, history::History};

    /// The version of the last release: the highest that a tag names of what the current commit descends from.
    pub async fn last_version(
        /// A git repository: the `.git` of a working tree, or a bare one.
        repository: Directory,
        /// What stands before the version in tags, such as `app-v`. Without it: a `v`, or nothing.
        tag_prefix: Option<String>,
    ) -> Result<String> {
        let history = History::read(&repository, tag_prefix.as_deref()).await?;
        let none = || Error::with_code("no-release", "no tag with a version is among the commits");
        Ok(history.last.ok_or_else(none)?.to_string())
    }

    /// The version that the next release should have, such as `1.4.2`. Fails when nothing has changed that asks for one.
    pub async fn next_version(
        /// A git repository: the `.git` of a working tree, or a bare one.
        repository: Directory,
        /// The version of the first release.
        #[default("0.1.0")]
        first: String,
        /// What stands before the version in tags, such as `app-v`. Without it: a `v`, or nothing.
        tag_prefix: Option<String>,
    ) -> Result<String> {
        let first = version(&first)?;
        let history = History::read(&repository, tag_prefix.as_deref()).await?;
        match (history.next(&first), &history.last) {
            (Some(next), _) => Ok(next.to_string()),
            (None, last) => {
                let last = last.as_ref().map_or_else(String::new, Version::to_string);
                let why = format!("nothing since {last} asks for a version");
                Err(Error::with_code("unchanged", why))
            }
        }
    }

    /// What has changed since the last release, as Markdown: under the next version, by kind.
    pub async fn notes(
        /// A git repository: the `.git` of a working tree, or a bare one.
        repository: Directory,
        /// The version of the first release.
        #[default("0.1.0")]
        first: String,
        /// What stands before the version in tags, such as `app-v`. Without it: a `v`, or nothing.
        tag_prefix: Option<String>,
    ) -> Result<String> {
        let first = version(&first)?;
        let history = History::read(&repository, tag_prefix.as_deref()).await?;
        let next = history.next(&first);
        let title = next.map_or_else(|| "Unreleased".to_owned(), |version| version.to_string());
        Ok(text(&title, &history.changes))
    }

    fn version(text: &str) -> Result<Version> {
        Version::parse(text).map_err(|error| {
            Error::Invalid(format!("{text:?} is no semantic version such as 1.0.0: {error}"))
        })
    }
}

#[cfg(test)]
mod tests;
