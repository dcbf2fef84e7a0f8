//! What commits and tags say, without any repository.

use std::fmt::Write as _;

use git_conventional::Type;
use semver::Version;

/// How much a change matters to users, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Fix,
    Feature,
    Breaking,
}

/// The headings of the notes, in their order.
const SECTIONS: [(Kind, &str); 3] = [
    (Kind::Breaking, "Breaking changes"),
    (Kind::Feature, "Features"),
    (Kind::Fix, "Fixes"),
];

/// How many digits of a commit's name the notes show.
const SHORT: usize = 9;

/// A commit that users notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    id: String,
    scope: Option<String>,
    text: String,
}

impl Change {
    /// Reads the subject of a commit; none when users do not notice it, or it is no conventional one.
    pub(crate) fn read(id: &str, subject: &str) -> Option<Self> {
        let commit = git_conventional::Commit::parse(subject).ok()?;
        let of = commit.type_();
        let kind = if commit.breaking() {
            Kind::Breaking
        } else if of == Type::FEAT {
            Kind::Feature
        } else if [Type::FIX, Type::PERF, Type::REVERT].contains(&of) {
            Kind::Fix
        } else {
            return None;
        };
        Some(Self {
            kind,
            id: id.to_owned(),
            scope: commit.scope().map(|scope| scope.as_str().to_owned()),
            text: commit.description().to_owned(),
        })
    }

    fn line(&self) -> String {
        let scope = self.scope.as_ref().map(|scope| format!("**{scope}:** "));
        let short = self.id.get(..SHORT).unwrap_or(&self.id);
        format!("- {}{} ({short})\n", scope.unwrap_or_default(), self.text)
    }
}

/// The version that a tag names. Without a prefix a `v` may stand before it. A pre-release is no version here.
pub(crate) fn version_of(tag: &str, prefix: Option<&str>) -> Option<Version> {
    let text = match prefix {
        Some(prefix) => tag.strip_prefix(prefix)?,
        None => tag.strip_prefix('v').unwrap_or(tag),
    };
    Version::parse(text).ok().filter(|version| version.pre.is_empty())
}

/// The version after this one. Before 1.0.0 each kind of change raises the number behind the usual one.
pub(crate) fn raised(version: &Version, kind: Kind) -> Version {
    let Version {
        major, minor, patch, ..
    } = *version;
    match (kind, major) {
        (Kind::Breaking, 1..) => Version::new(major + 1, 0, 0),
        (Kind::Breaking, 0) | (Kind::Feature, 1..) => Version::new(major, minor + 1, 0),
        (Kind::Feature, 0) | (Kind::Fix, _) => Version::new(major, minor, patch + 1),
    }
}

/// Changes as Markdown, by kind.
pub(crate) fn notes(title: &str, changes: &[Change]) -> String {
    let mut text = format!("## {title}\n");
    for (kind, heading) in SECTIONS {
        let lines: String = changes
            .iter()
            .filter(|change| change.kind == kind)
            .map(Change::line)
            .collect();
        if !lines.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n### {heading}\n\n{lines}");
        }
    }
    if changes.is_empty() {
        text.push_str("\nNothing that users notice.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_with_and_without_a_prefix() {
        let read = |tag: &str, prefix| version_of(tag, prefix).map(|version| version.to_string());
        for (tag, prefix, version) in [
            ("1.4.2", None, Some("1.4.2")),
            ("v1.4.2", None, Some("1.4.2")),
            ("app-v1.4.2", Some("app-v"), Some("1.4.2")),
            ("v1.4.2", Some("app-v"), None),
            ("1.4.2", Some("v"), None),
            ("v2.0.0-rc.1", None, None),
            ("1.2", None, None),
            ("1.2.3.4", None, None),
            ("release", None, None),
        ] {
            assert_eq!(read(tag, prefix).as_deref(), version, "{tag} {prefix:?}");
        }
    }

    #[test]
    fn versions_are_raised_by_what_changed() {
        for (version, kind, next) in [
            ("1.4.2", Kind::Breaking, "2.0.0"),
            ("1.4.2", Kind::Feature, "1.5.0"),
            ("1.4.2", Kind::Fix, "1.4.3"),
            ("0.4.2", Kind::Breaking, "0.5.0"),
            ("0.4.2", Kind::Feature, "0.4.3"),
            ("0.4.2", Kind::Fix, "0.4.3"),
            ("1.4.2+build.7", Kind::Fix, "1.4.3"),
        ] {
            let version = Version::parse(version).unwrap();
            assert_eq!(raised(&version, kind).to_string(), next, "{version} {kind:?}");
        }
    }

    #[test]
    fn commits_say_what_they_are() {
        let kind = |subject: &str| Change::read("1", subject).map(|change| change.kind);
        for (subject, expected) in [
            ("feat(parser)!: read arrays", Some(Kind::Breaking)),
            ("chore!: drop the old form", Some(Kind::Breaking)),
            ("feat: read arrays", Some(Kind::Feature)),
            ("fix(io): close files", Some(Kind::Fix)),
            ("perf: read once", Some(Kind::Fix)),
            ("docs: a page", None),
            ("Merge branch 'main'", None),
            ("no colon at all", None),
            ("", None),
        ] {
            assert_eq!(kind(subject), expected, "{subject}");
        }
    }

    #[test]
    fn notes_have_what_users_notice() {
        let changes: Vec<_> = [
            "feat(parser): read arrays",
            "chore: tidy",
            "fix: close files",
            "feat!: drop the old form",
        ]
        .iter()
        .filter_map(|subject| Change::read("0123456789abcdef", subject))
        .collect();
        let expected = "## 1.0.0\n\n### Breaking changes\n\n- drop the old form (012345678)\n\n### Features\n\n\
                        - **parser:** read arrays (012345678)\n\n### Fixes\n\n- close files (012345678)\n";
        assert_eq!(notes("1.0.0", &changes), expected);
        assert_eq!(
            notes("Unreleased", &[]),
            "## Unreleased\n\nNothing that users notice.\n"
        );
    }
}
