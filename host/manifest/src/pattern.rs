//! What allow-lists name: hosts, repositories, names and paths, and which entry covers which.

use wharf_hosts::Pattern;

/// What the entries of a capability's allow-list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `host`, `*.host`, each with `:port` or for all ports.
    Host,
    /// `registry/repository`, or `registry/path/*` for all below.
    Repository,
    /// A name, or the start of one and `*`.
    Name,
    /// A path of the caller's disk, relative to the project; everything below is covered.
    Path,
}

impl Kind {
    /// An entry in the one form in which it is compared; an error says what is wrong with it.
    pub(crate) fn normal(self, entry: &str) -> Result<String, String> {
        if entry.is_empty() || entry.chars().any(char::is_control) {
            return Err(format!("{entry:?} names nothing"));
        }
        match self {
            Self::Host => match entry.parse::<Pattern>() {
                Ok(pattern) => Ok(pattern.to_string()),
                Err(error) => Err(error.to_string()),
            },
            Self::Repository => match entry.strip_suffix("/*") {
                Some(below) => repository(&format!("{below}/x")).map(|one| one[..one.len() - 1].to_owned() + "*"),
                None => repository(entry),
            }
            .ok_or_else(|| {
                format!("{entry:?} is not a repository, as in `ghcr.io/acme/app`, nor all below one, as in `ghcr.io/acme/*`")
            }),
            Self::Name => match entry.trim_end_matches('*') {
                start if start.contains('*') || entry.len() > start.len() + 1 => {
                    Err(format!("{entry:?} has a `*` that does not stand alone at its end"))
                }
                _ => Ok(entry.to_owned()),
            },
            Self::Path => path(entry),
        }
    }

    /// Does the entry `wide` allow all that `narrow` does? Both are in their normal form.
    pub(crate) fn covers(self, wide: &str, narrow: &str) -> bool {
        if wide == narrow {
            return true;
        }
        match self {
            Self::Host => match (wide.parse::<Pattern>(), narrow.parse()) {
                (Ok(wide), Ok(narrow)) => wide.covers(&narrow),
                _ => false,
            },
            Self::Repository | Self::Name => wide
                .strip_suffix('*')
                .is_some_and(|start| narrow.starts_with(start)),
            Self::Path => {
                wide == "." && !narrow.starts_with('/') && !narrow.starts_with("..")
                    || wide == "/" && narrow.starts_with('/')
                    || narrow
                        .strip_prefix(wide)
                        .is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }
}

fn path(entry: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in entry.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if entry.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    Ok(match (entry.starts_with('/'), joined.as_str()) {
        (true, _) => format!("/{joined}"),
        (false, "") => ".".to_owned(),
        (false, _) => joined,
    })
}

/// The registry and repository of an image's reference, written out in full: `busybox:1` is `docker.io/library/busybox`.
/// None for what is no reference.
pub fn repository(reference: &str) -> Option<String> {
    let name = reference.split('@').next()?;
    let (head, last) = name
        .rsplit_once('/')
        .map_or(("", name), |(head, last)| (head, last));
    let last = last.split(':').next()?;
    let name = if head.is_empty() {
        last.to_owned()
    } else {
        format!("{head}/{last}")
    };
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (first.to_lowercase(), rest.to_owned())
        }
        Some(_) => ("docker.io".to_owned(), name),
        None => ("docker.io".to_owned(), format!("library/{name}")),
    };
    let registry = if registry == "index.docker.io" {
        "docker.io".to_owned()
    } else {
        registry
    };
    let path = if registry == "docker.io" && !path.contains('/') {
        format!("library/{path}")
    } else {
        path
    };
    let is_registry = !registry.starts_with('*') && registry.parse::<Pattern>().is_ok();
    (is_registry && path.split('/').all(is_word)).then(|| format!("{registry}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(kind: Kind, wide: &str, narrow: &str) -> bool {
        kind.covers(&kind.normal(wide).unwrap(), &kind.normal(narrow).unwrap())
    }

    #[test]
    fn hosts_cover_by_name_wildcard_and_port() {
        assert!(covers(Kind::Host, "*.HF.co", "a.hf.co:443"));
        assert!(!covers(Kind::Host, "hf.co:443", "hf.co"));
        for wrong in ["", "a b", "http://x", "*", "x:y", "a..b", "*.[::1]", "x/y"] {
            assert!(Kind::Host.normal(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn repositories_are_written_out_in_full() {
        for (reference, full) in [
            ("busybox", "docker.io/library/busybox"),
            ("busybox:1@sha256:00", "docker.io/library/busybox"),
            ("acme/app", "docker.io/acme/app"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b"),
            ("GHCR.io/acme/app", "ghcr.io/acme/app"),
        ] {
            assert_eq!(repository(reference).as_deref(), Some(full));
        }
        for wrong in ["", "Acme/App", "ghcr.io/../x", "ghcr.io//x", "a b"] {
            assert!(
                repository(wrong).is_none() || !repository(wrong).unwrap().contains("//"),
                "{wrong}"
            );
        }
        assert!(covers(Kind::Repository, "ghcr.io/acme/*", "ghcr.io/acme/app:1"));
        assert!(!covers(
            Kind::Repository,
            "ghcr.io/acme/*",
            "ghcr.io/acme-evil/app"
        ));
        assert!(!covers(Kind::Repository, "busybox", "ghcr.io/library/busybox"));
    }

    #[test]
    fn paths_cover_what_is_below() {
        for (wide, narrow) in [
            (".", "a/b"),
            ("a", "a"),
            ("./a/", "a/b"),
            ("/x", "/x/y"),
            ("a/b/..", "a/c"),
            ("/", "/x"),
        ] {
            assert!(covers(Kind::Path, wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            (".", "../x"),
            ("a", "ab"),
            ("a", "a/../b"),
            (".", "/etc"),
            ("/x", "x"),
            ("/x", "/x/../y"),
        ] {
            assert!(!covers(Kind::Path, wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn names_cover_by_their_start() {
        assert!(covers(Kind::Name, "hf*", "hf-models") && covers(Kind::Name, "hf", "hf"));
        assert!(!covers(Kind::Name, "hf", "hf2") && !covers(Kind::Name, "hf-a", "hf*"));
        assert!(Kind::Name.normal("a*b").is_err() && Kind::Name.normal("a**").is_err());
    }
}
