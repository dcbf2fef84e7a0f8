//! Image references, read as Docker reads them: `python:3.11-slim` is `docker.io/library/python:3.11-slim`.

use std::{fmt, str::FromStr};

use crate::error::Error;

/// The registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Docker's limit for registry and repository together.
const LONGEST_NAME: usize = 255;

/// A reference in full: registry, repository, and a tag, a digest or both. With both, the digest decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Such as `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Such as `library/python`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag: there is one when there is no digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, such as `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same repository at a digest, without a tag.
    #[must_use]
    pub fn at_digest(&self, digest: &str) -> Self {
        Self {
            tag: None,
            digest: Some(digest.to_owned()),
            ..self.clone()
        }
    }

    /// As people write it: without Docker Hub's name and `library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        let official = short
            .strip_prefix("library/")
            .filter(|name| !name.contains('/') && short.len() < full.len());
        official.unwrap_or(short).to_owned()
    }

    /// What a registry calls the manifest: the digest, or else the tag.
    pub(crate) fn manifest_name(&self) -> &str {
        self.digest().or(self.tag()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        read(text).map_err(|why| Error::Reference {
            reference: text.to_owned(),
            why: why.to_owned(),
        })
    }
}

fn read(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err("64 hex digits are an image's id, not its name");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    digest.map_or(Ok(()), check_digest)?;
    // A colon after the last slash starts the tag; before it, the registry's port.
    let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_start..].split_once(':') {
        Some((last, tag)) => (&rest[..name_start + last.len()], Some(tag)),
        None => (rest, None),
    };
    tag.map_or(Ok(()), check_tag)?;
    let (registry, path) = split_registry(name);
    check_registry(registry)?;
    check_repository(path)?;
    let official = registry == DEFAULT_REGISTRY && !path.contains('/');
    let repository = if official {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    if registry.len() + repository.len() + 1 > LONGEST_NAME {
        return Err("the name is longer than 255 characters");
    }
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    Ok(Reference {
        registry: registry.to_owned(),
        repository,
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

/// The part before the first slash is a registry when it looks like a host: a dot, a port, capitals, or `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((host, path))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (canonical_registry(host), path)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

/// Docker Hub goes by several names.
pub(crate) fn canonical_registry(host: &str) -> &str {
    if matches!(host, "index.docker.io" | "registry-1.docker.io") {
        DEFAULT_REGISTRY
    } else {
        host
    }
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    const WRONG: &str = "the registry is not a host name with an optional port";
    let after_host = registry.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match registry[after_host..].find(':') {
        Some(colon) => (
            &registry[..after_host + colon],
            Some(&registry[after_host + colon + 1..]),
        ),
        None => (registry, None),
    };
    let port_is_right =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_right = match ipv6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    if port_is_right && host_is_right {
        Ok(())
    } else {
        Err(WRONG)
    }
}

fn check_repository(path: &str) -> Result<(), &'static str> {
    if path.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("a repository's name is in lower case");
    }
    if path.split('/').all(is_component) {
        return Ok(());
    }
    Err("a repository's name is made of a-z, 0-9, and single `.`, `_`, `__` or dashes between them")
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of dashes.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(is_word).filter(|between| !between.is_empty());
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && separators
            .into_iter()
            .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = tag.bytes().next().is_some_and(is_word);
    if starts
        && tag.len() <= 128
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
    {
        return Ok(());
    }
    Err("a tag is up to 128 letters, digits, `_`, `.` and `-`, and starts with none of the last two")
}

fn check_digest(digest: &str) -> Result<(), &'static str> {
    let length = match digest.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && hex.bytes().all(is_lower_hex),
        Some(("sha512", hex)) => hex.len() == 128 && hex.bytes().all(is_lower_hex),
        _ => false,
    };
    if length {
        Ok(())
    } else {
        Err("a digest is `sha256:` and 64 hex digits")
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::Reference;

    const HEX: &str = "86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa";

    /// What Docker's own parser makes of these.
    #[test]
    fn reads_as_docker_does() {
        let table = [
            ("python", "docker.io/library/python:latest", "python:latest"),
            (
                "python:3.11-slim",
                "docker.io/library/python:3.11-slim",
                "python:3.11-slim",
            ),
            (
                "docker.io/python",
                "docker.io/library/python:latest",
                "python:latest",
            ),
            (
                "index.docker.io/library/python:3",
                "docker.io/library/python:3",
                "python:3",
            ),
            ("acme/app", "docker.io/acme/app:latest", "acme/app:latest"),
            (
                "library/a/b",
                "docker.io/library/a/b:latest",
                "library/a/b:latest",
            ),
            (
                "ghcr.io/acme/app:1.0",
                "ghcr.io/acme/app:1.0",
                "ghcr.io/acme/app:1.0",
            ),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            (
                "localhost:5000/x",
                "localhost:5000/x:latest",
                "localhost:5000/x:latest",
            ),
            (
                "127.0.0.1:5000/a/b:t",
                "127.0.0.1:5000/a/b:t",
                "127.0.0.1:5000/a/b:t",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            (
                "localhost:5000",
                "docker.io/library/localhost:5000",
                "localhost:5000",
            ),
            ("REG/a", "REG/a:latest", "REG/a:latest"),
            (
                "a__b/c-----d.e_f",
                "docker.io/a__b/c-----d.e_f:latest",
                "a__b/c-----d.e_f:latest",
            ),
            (
                "xn--n3h.com/myimage",
                "xn--n3h.com/myimage:latest",
                "xn--n3h.com/myimage:latest",
            ),
        ];
        for (written, full, familiar) in table {
            let reference: Reference = written.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{written}");
            assert_eq!(reference.familiar(), familiar, "{written}");
            assert_eq!(
                full.parse::<Reference>().unwrap(),
                reference,
                "{written} reads the same in full"
            );
        }
    }

    #[test]
    fn a_digest_stands_beside_a_tag_and_decides() {
        let both: Reference = format!("python:3@sha256:{HEX}").parse().unwrap();
        assert_eq!(
            both.to_string(),
            format!("docker.io/library/python:3@sha256:{HEX}")
        );
        assert_eq!(both.manifest_name(), format!("sha256:{HEX}"));
        let alone: Reference = format!("python@sha256:{HEX}").parse().unwrap();
        assert_eq!((alone.tag(), alone.digest()), (None, both.digest()));
        assert_eq!(both.at_digest(&format!("sha256:{HEX}")), alone);
    }

    #[test]
    fn refuses_what_docker_refuses() {
        let long = "a".repeat(256);
        let (bare, short) = (HEX.to_owned(), format!("a@sha256:{}", &HEX[1..]));
        let upper = format!("a@sha256:{}", HEX.to_uppercase());
        let tag = format!("a:{}", "t".repeat(129));
        let wrong = [
            "",
            ":a",
            "a:",
            "a/",
            "/a",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "Python",
            "ghcr.io/Acme/app",
            "a b",
            "a:-b",
            "a:b:c",
            "a@",
            "a@sha256:",
            "a@md5:00",
            "-host.io/a",
            "host-.io/a",
            "host.io:/a",
            "host.io:5x/a",
            "[::1/a",
            "[::1]xy/a",
            "docker://a",
            "https://ghcr.io/a",
            "a\n",
            "é",
            &long,
            &bare,
            &short,
            &upper,
            &tag,
        ];
        for written in wrong {
            assert!(
                written.parse::<Reference>().is_err(),
                "{written:?} is no reference"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics_and_what_was_read_reads_again(text in "[a-zA-Z0-9._:/@\\-\\[\\]é]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
