//! What was pulled, under the digests of its bytes: manifests, configurations and components. Each is compared with its digest
//! whenever it is read; what is damaged is removed, and fetched again by whoever needs it.
//!
//! Components, which are read for nothing else then, are compared again when their files have changed.
//!
//! A manifest is kept last, when all that it names is here and found to be what was said of it: one that is here is whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::{
    artifact::{sha256, sha256_of},
    error::{Error, Result},
    signature::Signature,
};

/// Seconds for which a file may still change without a sign.
const SETTLED: u64 = 2;

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

    /// Are the bytes of this digest here and undamaged? They are read unless their file is the same that was read before.
    pub(crate) fn is_whole(&self, digest: &str) -> bool {
        let found = || {
            let path = self.path(digest)?;
            let mut file = File::open(&path).ok()?;
            let facts = Facts::of(&file).ok()?;
            let note = path.with_extension("whole");
            let noted = fs::read(&note).ok();
            if noted.and_then(|noted| serde_json::from_slice(&noted).ok()) == Some(facts) {
                return Some(true);
            }
            let is_whole = sha256_of(&mut file).ok()? == digest;
            if is_whole && facts.are_settled() {
                let written = serde_json::to_vec(&facts).map_err(io::Error::from);
                if let Err(error) = written.and_then(|text| self.write(&note, &text)) {
                    tracing::debug!("that {} is whole is not noted: {error}", path.display());
                }
            }
            Some(is_whole)
        };
        found().unwrap_or_default()
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

/// What changes about a file when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    size: u64,
    changed: (i64, i64),
    modified: (i64, i64),
    inode: u64,
}

impl Facts {
    fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        Ok(Self {
            size: data.len(),
            changed: (data.ctime(), data.ctime_nsec()),
            modified: (data.mtime(), data.mtime_nsec()),
            inode: data.ino(),
        })
    }

    /// Would writing now change them? The clock of file systems stands still for some milliseconds.
    fn are_settled(self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(self.changed.0).unwrap_or(u64::MAX);
        changed.saturating_add(SETTLED) < now.as_secs()
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
    fn what_changes_after_it_was_whole_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("modules"));
        let digest = sha256(b"component");
        cache.keep(&digest, b"component").unwrap();
        let path = cache.path(&digest).unwrap();
        let file = File::open(&path).unwrap();
        while !Facts::of(&file).unwrap().are_settled() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(cache.is_whole(&digest));
        assert!(path.with_extension("whole").exists());
        assert!(cache.is_whole(&digest));
        // As long as before, and dated back.
        let modified = file.metadata().unwrap().modified().unwrap();
        fs::write(&path, b"componemt").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert!(!cache.is_whole(&digest));
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
