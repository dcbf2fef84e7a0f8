//! Digests of the host's files between runs, so that what did not change is not read again.
//!
//! A file counts as unchanged when size, modification time, change time and inode are as before and it was not modified
//! within the last moments before it was hashed, when the clock's grain could hide a second write.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use wharf_digest::Digest;
use wharf_platform::file::Facts;

/// Files modified less than this before they were hashed are hashed again.
const TOO_YOUNG: Duration = Duration::from_millis(50);

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    stat: Facts,
    /// When it was hashed, in nanoseconds since 1970.
    hashed: i64,
    /// Digest of its bytes.
    pub(super) digest: Digest,
    /// The modification time that the engine was told: when this path last got other content. It never goes back, as
    /// build tools with a cache volume compare times.
    pub(super) modified: i64,
}

/// Are these the stats of one unchanged file?
pub(super) fn same_file(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    Facts::of(one) == Facts::of(other)
}

/// The digests of one directory's files, by path relative to it.
#[derive(Debug)]
pub(super) struct StatCache {
    file: PathBuf,
    known: HashMap<Vec<u8>, Known>,
    changed: bool,
}

impl StatCache {
    /// The cache of `root`, kept under `directory`; empty when there is none or it does not read.
    pub(super) fn open(directory: &Path, root: &Path) -> Self {
        let name = Digest::of(root.as_os_str().as_encoded_bytes()).to_hex();
        let file = directory.join(name);
        let known = std::fs::read(&file)
            .ok()
            .and_then(|bytes| postcard::from_bytes(&bytes).ok())
            .unwrap_or_default();
        Self {
            file,
            known,
            changed: false,
        }
    }

    /// What is known of the file at `path`, when it has not changed since.
    pub(super) fn get(&self, path: &[u8], metadata: &std::fs::Metadata) -> Option<&Known> {
        let stat = Facts::of(metadata);
        let old_enough =
            |known: &&Known| known.hashed - stat.changed.max(stat.modified) > TOO_YOUNG.as_nanos() as i64;
        self.known
            .get(path)
            .filter(|known| known.stat == stat)
            .filter(old_enough)
    }

    /// Notes that the file at `path` was hashed; returns the time to tell the engine.
    pub(super) fn put(&mut self, path: &[u8], metadata: &std::fs::Metadata, digest: Digest) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos() as i64;
        let stat = Facts::of(metadata);
        let modified = match self.known.get(path) {
            Some(before) if before.digest == digest => before.modified,
            Some(_) => now,
            None => stat.modified.min(now),
        };
        self.known.insert(
            path.to_vec(),
            Known {
                stat,
                hashed: now,
                digest,
                modified,
            },
        );
        self.changed = true;
        modified
    }

    /// Keeps what was learnt. A cache that cannot be written costs time, not correctness.
    pub(super) fn save(&self) {
        if !self.changed {
            return;
        }
        if let Err(error) = self.write() {
            tracing::debug!("digests of host files are not kept: {error}");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let draft = tempfile::NamedTempFile::new_in(directory)?;
        let bytes = postcard::to_stdvec(&self.known).map_err(std::io::Error::other)?;
        std::fs::write(draft.path(), bytes)?;
        draft.persist(&self.file)?;
        Ok(())
    }
}
