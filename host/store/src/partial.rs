//! Files that are being fetched, and stay when whatever fetches them ends before they are whole. Each lies in a directory of
//! its own, which knows how much of it is there; whoever fetches it has a lock on its data.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use wharf_digest::Digest;

use crate::{
    edit,
    error::{Context, Error, Result},
    layer::Snapshot,
    store::Store,
};

/// How long one stays that nobody goes on with.
pub(crate) const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

impl Store {
    /// Where the file of this name is while it comes.
    pub fn partial_directory(&self, name: &Digest) -> PathBuf {
        self.digest_path("partial", name)
    }

    /// Makes a file that has come the one file of a new tree, owned by root, and takes its directory away.
    pub fn publish_partial(&self, directory: &Path, name: &str, mode: u32) -> Result<Snapshot> {
        let said = || format!("the new file {name}");
        let data = directory.join("data");
        edit::set_mode(&File::open(&data).context(said)?, mode).context(said)?;
        let layer = self.new_layer(&Snapshot::default())?;
        std::fs::rename(&data, layer.path().join(name)).context(said)?;
        let snapshot = Snapshot::default().with(self.publish(layer)?);
        self.pins.give_out(&snapshot);
        std::fs::remove_dir_all(directory).context(said)?;
        Ok(snapshot)
    }

    /// Removes those that nobody fetches and that were not gone on with for so long; returns the bytes.
    pub(crate) fn drop_partials(&self, unused: Duration) -> Result<u64> {
        let now = SystemTime::now();
        let mut freed = 0;
        for (directory, bytes, changed) in self.partials()? {
            let is_old = now.duration_since(changed).is_ok_and(|age| age >= unused);
            if !is_old && !unused.is_zero() {
                continue;
            }
            // Without data it is what a process left between two steps.
            let data = File::open(directory.join("data")).ok();
            if data.is_none_or(|data| data.try_lock().is_ok()) && std::fs::remove_dir_all(&directory).is_ok()
            {
                freed += bytes;
            }
        }
        Ok(freed)
    }

    /// Bytes of all of them.
    pub(crate) fn partial_bytes(&self) -> Result<u64> {
        Ok(self.partials()?.iter().map(|(_, bytes, _)| bytes).sum())
    }

    /// Directories, bytes on the disk, and when they were last written to.
    fn partials(&self) -> Result<Vec<(PathBuf, u64, SystemTime)>> {
        let parent = self.directory.join("partial");
        let said = || parent.display().to_string();
        let mut found = Vec::new();
        for part in std::fs::read_dir(&parent).context(said)? {
            for directory in std::fs::read_dir(part.context(said)?.path()).context(said)? {
                let directory = directory.context(said)?.path();
                // It may have come to its end meanwhile.
                let files = std::fs::read_dir(&directory).into_iter().flatten().flatten();
                let metadata = files.filter_map(|file| file.metadata().ok());
                let (mut bytes, mut changed) = (0, SystemTime::UNIX_EPOCH);
                for metadata in metadata {
                    bytes += std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
                    changed = changed.max(metadata.modified().map_err(|error| Error::io(said(), error))?);
                }
                found.push((directory, bytes, changed));
            }
        }
        Ok(found)
    }
}
