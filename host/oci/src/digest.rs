//! Digests of content as registries write them, computed while bytes pass by.

use sha2::{Digest, Sha256, Sha512};

/// Computes the digest of what passes by, under the algorithm of the digest that is expected.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher that can be compared with `expected`.
    pub(crate) fn like(expected: &str) -> Self {
        if expected.starts_with("sha512:") {
            Self::Sha512(Sha512::new())
        } else {
            Self::Sha256(Sha256::new())
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// `sha256:…`.
    pub(crate) fn finish(self) -> String {
        let (name, bytes) = match self {
            Self::Sha256(hasher) => ("sha256:", hasher.finalize().to_vec()),
            Self::Sha512(hasher) => ("sha512:", hasher.finalize().to_vec()),
        };
        bytes.iter().fold(name.to_owned(), |mut text, byte| {
            text.extend(
                [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')),
            );
            text
        })
    }
}

/// The SHA-256 digest of bytes that are all there.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    like("sha256:", bytes)
}

/// The digest of bytes that are all there, under the algorithm of `expected`.
pub(crate) fn like(expected: &str, bytes: &[u8]) -> String {
    let mut hasher = Hasher::like(expected);
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn digests_are_those_that_everyone_knows() {
        assert_eq!(
            super::sha256(b"abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(super::like("sha512:0", b"abc").starts_with("sha512:ddaf35a193617abacc417349ae204131"));
    }
}
