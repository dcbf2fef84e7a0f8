//! What a repository has by name, and what a name means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    program::Git,
    remote::Remote,
};

/// Names that an error offers.
const OFFERED: usize = 5;

/// Which commit of a repository is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Name {
    /// The one that the repository itself starts from.
    Head,
    /// The last of a branch.
    Branch(String),
    /// The one that has a tag.
    Tag(String),
    /// This one: all its hexadecimal digits.
    Commit(String),
    /// Any of these, as git reads it: a full name, a tag, a branch, a commit.
    Any(String),
}

/// What a repository has, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs {
    url: String,
    /// Commits by the full names of their references, tags peeled.
    commits: BTreeMap<String, String>,
}

impl Git {
    /// What a repository has.
    ///
    /// # Errors
    /// When it does not answer, or refuses to.
    pub async fn refs(&self, remote: &Remote) -> Result<Refs> {
        let output = self
            .ask(remote, &["ls-remote", "--quiet", "--", remote.url.as_str()])
            .await?;
        Ok(Refs::read(&remote.url, &String::from_utf8_lossy(&output.stdout)))
    }
}

impl Refs {
    fn read(url: &str, text: &str) -> Self {
        let mut commits = BTreeMap::new();
        for (commit, name) in text.lines().filter_map(|line| line.split_once('\t')) {
            // A tag with words of its own is followed by the commit that it names.
            let name = name.strip_suffix("^{}").unwrap_or(name);
            commits.insert(name.to_owned(), commit.to_owned());
        }
        Self {
            url: url.to_owned(),
            commits,
        }
    }

    /// The commit that a name means: its hexadecimal digits.
    ///
    /// # Errors
    /// When there is none of that name; the error offers those that are near.
    pub fn commit(&self, name: &Name) -> Result<String> {
        let full = |full: String| self.commits.get(&full).cloned();
        let found = match name {
            Name::Head => full("HEAD".to_owned()),
            Name::Branch(branch) => full(format!("refs/heads/{branch}")),
            Name::Tag(tag) => full(format!("refs/tags/{tag}")),
            Name::Commit(commit) => return whole(commit, &self.url),
            Name::Any(name) => full(name.clone())
                .or_else(|| full(format!("refs/{name}")))
                .or_else(|| full(format!("refs/tags/{name}")))
                .or_else(|| full(format!("refs/heads/{name}")))
                .or_else(|| is_whole(name).then(|| name.to_ascii_lowercase())),
        };
        found.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &Name) -> Error {
        let (what, written, names): (_, _, Vec<&str>) = match name {
            Name::Head => (
                "commit that it starts from (HEAD)".to_owned(),
                "main",
                self.branches(),
            ),
            Name::Branch(branch) => (format!("branch {branch}"), branch.as_str(), self.branches()),
            Name::Tag(tag) => (format!("tag {tag}"), tag.as_str(), self.tags()),
            Name::Commit(any) | Name::Any(any) => {
                let names = self.branches().into_iter().chain(self.tags()).collect();
                (format!("branch, tag or commit {any}"), any.as_str(), names)
            }
        };
        let mut near: Vec<(usize, &str)> = names
            .into_iter()
            .map(|name| (strsim::osa_distance(written, name), name))
            .collect();
        near.sort_unstable();
        Error::NoReference {
            url: self.url.clone(),
            what,
            near: near
                .into_iter()
                .take(OFFERED)
                .map(|(_, name)| name.to_owned())
                .collect(),
        }
    }

    fn below<'r>(&'r self, prefix: &'r str) -> Vec<&'r str> {
        self.commits
            .keys()
            .filter_map(|name| name.strip_prefix(prefix))
            .collect()
    }

    /// Names of all branches, sorted.
    pub fn branches(&self) -> Vec<&str> {
        self.below("refs/heads/")
    }

    /// Names of all tags, sorted.
    pub fn tags(&self) -> Vec<&str> {
        self.below("refs/tags/")
    }

    /// Names of the tags that match one of these patterns, of all when there is none.
    ///
    /// # Errors
    /// When a pattern does not read.
    pub fn tags_like(&self, patterns: &[String]) -> Result<Vec<&str>> {
        let mut set = globset::GlobSetBuilder::new();
        for pattern in patterns {
            let glob = globset::Glob::new(pattern);
            set.add(glob.map_err(|error| {
                Error::Damaged(format!("the pattern {pattern:?} does not read: {error}"))
            })?);
        }
        let set = set.build().map_err(|error| Error::Damaged(error.to_string()))?;
        let mut tags = self.tags();
        tags.retain(|tag| patterns.is_empty() || set.is_match(tag));
        Ok(tags)
    }

    /// The tag with the highest version (`1.2.3`, `v1.2.3`) that is no pre-release.
    ///
    /// # Errors
    /// When no tag is one.
    pub fn latest_version(&self) -> Result<&str> {
        let version = |tag: &str| {
            let version = semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?;
            version.pre.is_empty().then_some(version)
        };
        let tags = self
            .tags()
            .into_iter()
            .filter_map(|tag| Some((version(tag)?, tag)));
        tags.max().map(|(_, tag)| tag).ok_or_else(|| Error::NoReference {
            url: self.url.clone(),
            what: "tag that is a version (1.2.3 or v1.2.3)".to_owned(),
            near: self.tags().into_iter().take(OFFERED).map(str::to_owned).collect(),
        })
    }
}

fn is_whole(commit: &str) -> bool {
    matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A commit whose digits are all there: a part of them may mean another one tomorrow.
fn whole(commit: &str, url: &str) -> Result<String> {
    if is_whole(commit) {
        return Ok(commit.to_ascii_lowercase());
    }
    Err(Error::NoReference {
        url: url.to_owned(),
        what: format!("commit {commit}: a commit is written with all its 40 hexadecimal digits"),
        near: Vec::new(),
    })
}

impl Name {
    /// The commit, where the name alone tells it.
    pub fn known(&self) -> Option<String> {
        match self {
            Self::Commit(commit) if is_whole(commit) => Some(commit.to_ascii_lowercase()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Refs};

    fn refs() -> Refs {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        Refs::read(
            "https://a.example/x",
            &format!(
                "{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/heads/feature/x\n{b}\trefs/tags/v1.9.0\n{b}\trefs/tags/v1.10.0\n\
                 {c}\trefs/tags/v1.10.0^{{}}\n{b}\trefs/tags/v2.0.0-rc.1\n{c}\trefs/tags/main\n"
            ),
        )
    }

    #[test]
    fn names_mean_what_git_says() {
        let refs = refs();
        let any = |name: &str| refs.commit(&Name::Any(name.to_owned())).unwrap();
        assert_eq!(refs.commit(&Name::Head).unwrap(), "a".repeat(40));
        assert_eq!(
            refs.commit(&Name::Tag("v1.10.0".to_owned())).unwrap(),
            "c".repeat(40),
            "peeled"
        );
        assert_eq!(any("main"), "c".repeat(40), "a tag before a branch");
        assert_eq!(any("refs/heads/main"), "a".repeat(40));
        assert_eq!(any("heads/main"), "a".repeat(40));
        assert_eq!(any(&"D".repeat(40)), "d".repeat(40));
        assert_eq!(refs.latest_version().unwrap(), "v1.10.0");
        assert_eq!(
            refs.tags_like(&["v1.*".to_owned()]).unwrap(),
            ["v1.10.0", "v1.9.0"]
        );
    }

    #[test]
    fn a_reference_that_does_not_exist_offers_names_that_are_near() {
        let refs = refs();
        let error = refs
            .commit(&Name::Branch("mian".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no branch mian; it has main"), "{error}");
        let error = refs
            .commit(&Name::Tag("v1.9".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no tag v1.9; it has v1.9.0"), "{error}");
        let error = refs
            .commit(&Name::Commit("abc123".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("40 hexadecimal digits"), "{error}");
    }
}
