//! What was pulled, under the digests of its bytes: manifests, configurations and components. Each is compared with its digest
//! whenever it is read; what is damaged is removed, and fetched again by whoever needs it.
//!
//! A manifest is kept last, when all that it names is here and found to be what was said of it: one that is here is whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{
    artifact::{sha256, sha256_of},
    error::{Error, Result},
    signature::Signature,
};

/// The directory of one user's modules.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where bytes of this digest lie, or would lie. None: it is no digest that is kept.
    pub(crate) fn path(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("sha256:")?;
        let is_hex = hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| self.directory.join("sha256").join(hex))
    }

    /// The bytes of this digest, when they are here and undamaged.
    pub(crate) fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.path(digest)?;
        let bytes = fs::read(&path).ok()?;
        if sha256(&bytes) == digest {
            return Some(bytes);
        }
        tracing::warn!("{} is damaged; it is removed and fetched again", path.display());
        fs::remove_file(&path).ok();
        None
    }

    /// Are the bytes of this digest here and undamaged? They are read, and not kept in memory.
    pub(crate) fn is_whole(&self, digest: &str) -> bool {
        let found = self.path(digest).and_then(|path| File::open(path).ok());
        found.is_some_and(|mut file| sha256_of(&mut file).is_ok_and(|found| found == digest))
    }

    /// The signatures that an artifact was found to have. They speak for themselves.
    pub(crate) fn signatures(&self, digest: &str) -> Vec<Signature> {
        let read = || serde_json::from_slice(&fs::read(self.signed(digest)?).ok()?).ok();
        read().unwrap_or_default()
    }

    /// Keeps them.
    pub(crate) fn keep_signatures(&self, digest: &str, signatures: &[Signature]) -> Result<()> {
        let Some(path) = self.signed(digest) else {
            return Ok(());
        };
        let text = serde_json::to_vec(signatures).unwrap_or_default();
        self.write(&path, &text).map_err(Error::io("write", &path))
    }

    fn signed(&self, digest: &str) -> Option<PathBuf> {
        Some(self.path(digest)?.with_extension("signatures"))
    }

    /// Keeps bytes under their digest. Nobody ever sees half of them.
    pub(crate) fn keep(&self, digest: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(digest).ok_or_else(|| unnamed(digest))?;
        self.write(&path, bytes).map_err(Error::io("write", &path))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let all = self.directory.join("sha256");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&all)?;
        let mut draft = NamedTempFile::new_in(&all)?;
        draft.write_all(bytes)?;
        draft.persist(path)?;
        Ok(())
    }
}

pub(crate) fn unnamed(digest: &str) -> Error {
    Error::Damaged {
        what: format!("{digest:?}"),
        why: "modules are named by SHA-256 digests".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_had() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("modules"));
        let digest = sha256(b"component");
        assert_eq!(cache.get(&digest), None);
        cache.keep(&digest, b"component").unwrap();
        let path = cache.path(&digest).unwrap();
        assert_eq!(cache.get(&digest).as_deref(), Some(&b"component"[..]));
        assert!(cache.is_whole(&digest));
        fs::write(&path, b"componemt").unwrap();
        assert!(!cache.is_whole(&digest));
        assert_eq!(cache.get(&digest), None);
        assert!(!path.exists());
    }

    #[test]
    fn only_digests_are_paths() {
        let cache = Cache::new("/c".into());
        for wrong in [
            "sha256:../../x",
            "sha512:00",
            "sha256:",
            "x",
            &format!("sha256:{}", "A".repeat(64)),
        ] {
            assert_eq!(cache.path(wrong), None, "{wrong}");
        }
    }
}
