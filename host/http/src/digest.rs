//! What a file's digest should be, and the one that it has, computed while bytes pass by.

use std::{fmt, str::FromStr};

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

/// What stands before the digits of git's name for a file's content.
const GIT: &str = "gitoid:blob:sha1";

/// A digest that a file should have: `sha256:…`, `sha512:…`, `blake3:…` or `gitoid:blob:sha1:…`, in lower-case hexadecimal
/// digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha512,
    Blake3,
    /// SHA-1 of `blob`, the size, and the content.
    Git,
}

/// Text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no digest of a file: write `sha256:` and 64 hexadecimal digits (or `sha512:` and 128, `blake3:` and 64, `gitoid:blob:sha1:` and 40)"
)]
pub struct ExpectedError(String);

impl FromStr for Expected {
    type Err = ExpectedError;

    fn from_str(text: &str) -> Result<Self, ExpectedError> {
        let (algorithm, hex, digits) = match text.rsplit_once(':') {
            Some(("sha256", hex)) => (Algorithm::Sha256, hex, 64),
            Some(("sha512", hex)) => (Algorithm::Sha512, hex, 128),
            Some(("blake3", hex)) => (Algorithm::Blake3, hex, 64),
            Some((GIT, hex)) => (Algorithm::Git, hex, 40),
            _ => return Err(ExpectedError(text.to_owned())),
        };
        if hex.len() != digits || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ExpectedError(text.to_owned()));
        }
        Ok(Self {
            algorithm,
            hex: hex.to_ascii_lowercase(),
        })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
            Algorithm::Blake3 => "blake3",
            Algorithm::Git => GIT,
        };
        write!(f, "{name}:{}", self.hex)
    }
}

impl Expected {
    /// Is it the digest of an empty file?
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.hasher(Some(0))
            .is_some_and(|hasher| hasher.finish() == *self)
    }

    /// Computes such a digest of a file, of which the size is known when the server says it. None: it has to be known.
    pub(crate) fn hasher(&self, size: Option<u64>) -> Option<Hasher> {
        Some(match self.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
            Algorithm::Blake3 => Hasher::Blake3(Box::default()),
            Algorithm::Git => Hasher::Git(Sha1::new_with_prefix(format!("blob {}\0", size?))),
        })
    }
}

/// Computes a digest of what passes by.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
    Blake3(Box<wharf_digest::Hasher>),
    Git(Sha1),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Expected {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (algorithm, hex) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hex(&hasher.finalize())),
            Self::Sha512(hasher) => (Algorithm::Sha512, hex(&hasher.finalize())),
            Self::Blake3(hasher) => (Algorithm::Blake3, hasher.finish().to_hex()),
            Self::Git(hasher) => (Algorithm::Git, hex(&hasher.finalize())),
        };
        Expected { algorithm, hex }
    }
}

#[cfg(test)]
mod tests {
    use super::Expected;

    #[test]
    fn an_empty_file_is_known_by_its_digest() {
        for (text, is_of_nothing) in [
            ("gitoid:blob:sha1:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", true),
            (
                "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                true,
            ),
            ("gitoid:blob:sha1:f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", false),
        ] {
            assert_eq!(
                text.parse::<Expected>().unwrap().is_of_nothing(),
                is_of_nothing,
                "{text}"
            );
        }
    }

    #[test]
    fn digests_are_those_that_everyone_knows() {
        for (text, of_abc) in [
            (
                "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                true,
            ),
            (
                "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
                true,
            ),
            ("gitoid:blob:sha1:f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", true),
            (
                "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                false,
            ),
        ] {
            let expected: Expected = text.parse().unwrap();
            let mut hasher = expected.hasher(Some(3)).unwrap();
            hasher.update(b"abc");
            assert_eq!(hasher.finish() == expected, of_abc, "{text}");
            assert_eq!(expected.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            "abc",
            "md5:900150983cd24fb0d6963f7d28e17f72",
            "sha256:12",
            "sha256:zz",
            "gitoid:blob:sha1:12",
            "gitoid:tree:sha1:f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f",
        ] {
            assert!(
                text.parse::<Expected>()
                    .unwrap_err()
                    .to_string()
                    .contains("sha256:")
            );
        }
    }
}
