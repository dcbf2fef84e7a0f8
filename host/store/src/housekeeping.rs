//! Keeping the store small: what it holds, what can go, and the size limit.

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wharf_digest::Digest;

use crate::{
    error::{Context, Result},
    index::layers_of,
    layer::LayerId,
    remove,
    store::Store,
};

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Kind, number, bytes.
    pub rows: Vec<(&'static str, u64, u64)>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Results that were forgotten and volumes that were removed.
    pub count: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl Store {
    /// What the store holds.
    pub fn usage(&self) -> Result<Usage> {
        let results = self.index.all_results()?.len() as u64;
        let layers = self.layer_ids()?;
        let mut seen = HashSet::new();
        let layer_bytes = layers
            .iter()
            .map(|id| disk_size(&self.layer_directory(*id), &mut seen))
            .sum();
        let blobs = self.blobs()?;
        let blob_bytes = blobs.iter().map(|(_, size)| size).sum();
        let volumes = self.directory.join("volumes");
        let count = std::fs::read_dir(&volumes)
            .context(|| volumes.display().to_string())?
            .count() as u64;
        Ok(Usage {
            rows: vec![
                ("results", results, 0),
                ("layers", layers.len() as u64, layer_bytes),
                ("files and logs", blobs.len() as u64, blob_bytes),
                ("cache volumes", count, disk_size(&volumes, &mut seen)),
            ],
        })
    }

    /// Forgets results that were not used within `keep`, and what only they need; with `volumes`, cache volumes that nobody
    /// uses, too. What running work needs stays.
    pub fn prune(&self, keep: Duration, volumes: bool) -> Result<Freed> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let oldest = now.saturating_sub(keep).as_secs() as i64;
        let expired = |used: i64| keep.is_zero() || used < oldest;
        let results = self.index.all_results()?;
        let keys: Vec<Digest> = results
            .iter()
            .filter(|(_, used)| expired(*used))
            .map(|(record, _)| record.key)
            .collect();
        self.index.remove_results(&keys)?;
        let mut freed = Freed {
            count: keys.len() as u64,
            bytes: self.collect(true)?,
        };
        if volumes {
            let more = self.remove_volumes()?;
            freed.count += more.count;
            freed.bytes += more.bytes;
        }
        Ok(freed)
    }

    fn remove_volumes(&self) -> Result<Freed> {
        let directory = self.directory.join("volumes");
        let mut freed = Freed::default();
        for entry in std::fs::read_dir(&directory).context(|| directory.display().to_string())? {
            let entry = entry.context(|| directory.display().to_string())?;
            if self.volumes.is_used(&entry.file_name().to_string_lossy()) {
                continue;
            }
            freed.bytes += disk_size(&entry.path(), &mut HashSet::new());
            freed.count += 1;
            self.trash(&entry.path());
        }
        Ok(freed)
    }

    /// Holds the store to its size limit: the results that were not used for longest go first.
    pub(crate) fn keep_to_limit(&self) -> Result<()> {
        let Some(limit) = self.options.max_bytes else {
            return Ok(());
        };
        let mut bytes: u64 = self.usage()?.rows.iter().map(|(_, _, bytes)| bytes).sum();
        if bytes <= limit {
            return Ok(());
        }
        for (record, _) in self.index.all_results()? {
            self.index.remove_results(&[record.key])?;
            bytes = bytes.saturating_sub(self.collect(true)?);
            if bytes <= limit {
                break;
            }
        }
        Ok(())
    }

    /// Removes layers, and with `and_blobs` blobs, that no result needs and nobody uses; returns the bytes. Blobs of
    /// uploaded files are in no result: they save sending them again.
    fn collect(&self, and_blobs: bool) -> Result<u64> {
        let mut layers: HashSet<LayerId> = self.pins.layers();
        let mut blobs: HashSet<Digest> = self.pins.blobs();
        for (record, _) in self.index.all_results()? {
            layers.extend(layers_of(&record));
            blobs.extend([record.stdout, record.stderr, record.log].into_iter().flatten());
        }
        let mut freed = 0;
        let mut seen = HashSet::new();
        for id in self.layer_ids()? {
            if !layers.contains(&id) {
                let directory = self.layer_directory(id);
                freed += disk_size(&directory, &mut seen);
                self.trash(&directory);
            }
        }
        let all_blobs = if and_blobs { self.blobs()? } else { Vec::new() };
        for (blob, _) in all_blobs {
            if !blobs.contains(&blob) {
                freed += self.remove_blob(&blob);
            }
        }
        Ok(freed)
    }

    /// Moves a tree out of sight at once, then removes it.
    fn trash(&self, path: &Path) {
        let name = path.file_name().unwrap_or_default();
        let target = self.directory.join("trash").join(name);
        if std::fs::rename(path, &target).is_ok() {
            remove::tree(&target);
        }
    }

    /// At the start: layers that no result names are what an interrupted run left.
    pub(crate) fn drop_orphans(&self) -> Result<()> {
        let freed = self.collect(false)?;
        if freed > 0 {
            tracing::info!("removed {freed} bytes that an interrupted run left behind");
        }
        Ok(())
    }
}

/// Bytes that a tree takes on the disk; inodes that were counted before count no more.
fn disk_size(path: &Path, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    let mut size =
        if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
            0
        } else {
            metadata.blocks() * 512
        };
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            size += disk_size(&entry.path(), seen);
        }
    }
    size
}
