//! What was pulled, under the digests of its bytes: manifests, configurations and components. Each is compared with its digest
//! whenever it is read; what is damaged is removed, and fetched again by whoever needs it.
//!
//! Components, which are read for nothing else then, are compared again when their files have changed.
//!
//! A manifest is kept last, when all that it names is here and found to be what was said of it: one that is here is whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::NamedTempFile;
use wharf_platform::file::{Facts, create_private_directory};

use crate::{
    artifact::{sha256, sha256_of},
    error::{Error, Result},
    signature::Signature,
};

/// For which a file may still change without a sign.
const SETTLED: Duration = Duration::from_secs(2);

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
            let facts = Facts::of(&file.metadata().ok()?);
            let note = path.with_extension("whole");
            let noted = fs::read(&note).ok();
            if noted.and_then(|noted| serde_json::from_slice(&noted).ok()) == Some(facts) {
                return Some(true);
            }
            let is_whole = sha256_of(&mut file).ok()? == digest;
            if is_whole && is_settled(facts) {
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
        create_private_directory(&all)?;
        let mut draft = NamedTempFile::new_in(&all)?;
        draft.write_all(bytes)?;
        draft.persist(path)?;
        Ok(())
    }
}

/// Would writing now change what is known of the file? The clock of file systems stands still for some milliseconds.
fn is_settled(facts: Facts) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = u128::try_from(facts.changed).unwrap_or(u128::MAX);
    changed.saturating_add(SETTLED.as_nanos()) < now.as_nanos()
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
        while !is_settled(Facts::of(&file.metadata().unwrap())) {
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
