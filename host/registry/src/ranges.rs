//! What a requirement such as `1.2` allows, as ranges that can be cut and joined.

use pubgrub::Ranges;
use semver::{BuildMetadata, Comparator, Op, Prerelease, Version, VersionReq};

use crate::name::Wanted;

/// The versions that are wanted. Pre-releases between them are in it, too: nobody is given one who has not named one, which is
/// for whoever lists the versions to see to.
pub(crate) fn of(wanted: &Wanted) -> Ranges<Version> {
    match wanted {
        Wanted::Newest => Ranges::full(),
        Wanted::Exactly(version) => Ranges::singleton(version.clone()),
        Wanted::Within(requirement) => of_requirement(requirement),
    }
}

fn of_requirement(requirement: &VersionReq) -> Ranges<Version> {
    let all = requirement.comparators.iter().map(of_comparator);
    all.fold(Ranges::full(), |all, one| all.intersection(&one))
}

fn of_comparator(comparator: &Comparator) -> Ranges<Version> {
    let (major, minor, patch) = (comparator.major, comparator.minor, comparator.patch);
    let lowest = Version {
        major,
        minor: minor.unwrap_or(0),
        patch: patch.unwrap_or(0),
        pre: comparator.pre.clone(),
        build: BuildMetadata::EMPTY,
    };
    // What comes behind all that is written, with parts left open.
    let behind = match (minor, patch) {
        (None, _) => below(major + 1, 0, 0),
        (Some(minor), None) => below(major, minor + 1, 0),
        (Some(minor), Some(patch)) => below(major, minor, patch + 1),
    };
    match comparator.op {
        Op::Exact if patch.is_some() => Ranges::singleton(lowest),
        Op::Exact | Op::Wildcard => Ranges::between(lowest, behind),
        Op::Greater if patch.is_some() => Ranges::strictly_higher_than(lowest),
        Op::Greater => Ranges::higher_than(behind),
        Op::GreaterEq => Ranges::higher_than(lowest),
        Op::Less => Ranges::strictly_lower_than(if comparator.pre.is_empty() {
            below(lowest.major, lowest.minor, lowest.patch)
        } else {
            lowest
        }),
        Op::LessEq if patch.is_some() => Ranges::lower_than(lowest),
        Op::LessEq => Ranges::strictly_lower_than(behind),
        Op::Tilde => {
            let end = match minor {
                None => below(major + 1, 0, 0),
                Some(minor) => below(major, minor + 1, 0),
            };
            Ranges::between(lowest, end)
        }
        _ => Ranges::between(lowest, caret(major, minor, patch)),
    }
}

/// Where compatible versions end: at the next change of the first number that is not nought.
fn caret(major: u64, minor: Option<u64>, patch: Option<u64>) -> Version {
    match (major, minor, patch) {
        (0, Some(0), Some(patch)) => below(0, 0, patch + 1),
        (0, Some(0), None) => below(0, 1, 0),
        (0, Some(minor), _) => below(0, minor + 1, 0),
        (0, None, _) => below(1, 0, 0),
        (major, ..) => below(major + 1, 0, 0),
    }
}

/// The lowest of all pre-releases of a version: what is below it is below them, too.
fn below(major: u64, minor: u64, patch: u64) -> Version {
    Version {
        pre: Prerelease::new("0").unwrap_or(Prerelease::EMPTY),
        ..Version::new(major, minor, patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_requirements_match() {
        let versions = [
            "0.0.0", "0.0.1", "0.0.2", "0.1.0", "0.1.9", "0.2.0", "0.2.1", "0.3.0", "1.0.0", "1.0.1",
            "1.1.0", "1.2.0", "1.2.3", "1.2.4", "1.3.0", "2.0.0", "2.1.0", "3.0.0",
        ];
        let requirements = [
            "*",
            "0",
            "0.0",
            "0.0.1",
            "0.1",
            "0.2.1",
            "1",
            "1.2",
            "1.2.3",
            "^1.2",
            "~1",
            "~1.2",
            "~1.2.3",
            "=1",
            "=1.2",
            "=1.2.3",
            ">1",
            ">1.2",
            ">1.2.3",
            ">=1",
            ">=1.2.3",
            "<1",
            "<1.2",
            "<1.2.3",
            "<=1",
            "<=1.2",
            "<=1.2.3",
            "1.*",
            "1.2.*",
            ">=0.2, <2",
            ">=1, <1.2.4",
        ];
        for requirement in requirements {
            let wanted: VersionReq = requirement.parse().unwrap();
            let ranges = of(&Wanted::Within(wanted.clone()));
            for version in versions {
                let version: Version = version.parse().unwrap();
                assert_eq!(
                    ranges.contains(&version),
                    wanted.matches(&version),
                    "{version} under {requirement}: {ranges}"
                );
            }
        }
    }

    #[test]
    fn pre_releases_of_the_end_are_beyond_it() {
        let contains = |requirement: &str, version: &str| {
            of(&Wanted::Within(requirement.parse().unwrap())).contains(&version.parse().unwrap())
        };
        assert!(!contains("1", "2.0.0-rc.1") && !contains("<2", "2.0.0-rc.1"));
        assert!(contains("1.0.0-rc.1", "1.0.0-rc.2") && contains("1.0.0-rc.1", "1.0.0"));
    }
}
