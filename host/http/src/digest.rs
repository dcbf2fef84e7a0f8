//! What a file's digest should be, and the one that it has, computed while bytes pass by.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256, Sha512};

/// A digest that a file should have: `sha256:…`, `sha512:…` or `blake3:…`, in lower-case hexadecimal digits.
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
}

/// Text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no digest of a file: write `sha256:` and 64 hexadecimal digits (or `sha512:` and 128, or `blake3:` and 64)"
)]
pub struct ExpectedError(String);

impl FromStr for Expected {
    type Err = ExpectedError;

    fn from_str(text: &str) -> Result<Self, ExpectedError> {
        let (algorithm, hex, digits) = match text.split_once(':') {
            Some(("sha256", hex)) => (Algorithm::Sha256, hex, 64),
            Some(("sha512", hex)) => (Algorithm::Sha512, hex, 128),
            Some(("blake3", hex)) => (Algorithm::Blake3, hex, 64),
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
        };
        write!(f, "{name}:{}", self.hex)
    }
}

impl Expected {
    pub(crate) fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
            Algorithm::Blake3 => Hasher::Blake3(Box::default()),
        }
    }
}

/// Computes a digest of what passes by.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
    Blake3(Box<wharf_digest::Hasher>),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    pub(crate) fn finish(self) -> Expected {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (algorithm, hex) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hex(&hasher.finalize())),
            Self::Sha512(hasher) => (Algorithm::Sha512, hex(&hasher.finalize())),
            Self::Blake3(hasher) => (Algorithm::Blake3, hasher.finish().to_hex()),
        };
        Expected { algorithm, hex }
    }
}

#[cfg(test)]
mod tests {
    use super::Expected;

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
            (
                "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                false,
            ),
        ] {
            let expected: Expected = text.parse().unwrap();
            let mut hasher = expected.hasher();
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
