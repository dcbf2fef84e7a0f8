//! Keeping the store small: what it holds, what can go, and the size limit.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wharf_digest::Digest;

use crate::{
    error::{Context, Result},
    index::{ResultRecord, layers_of},
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
        let layers = self.layer_sizes()?;
        let (blobs, received) = (self.blobs()?, self.digests_in("received")?);
        let volumes = self.directory.join("volumes");
        let count = std::fs::read_dir(&volumes)
            .context(|| volumes.display().to_string())?
            .count() as u64;
        let rows = vec![
            ("results", results, 0),
            ("layers", layers.len() as u64, layers.values().sum()),
            (
                "files and logs",
                (blobs.len() + received.len()) as u64,
                blobs.iter().chain(&received).map(|(_, size)| size).sum::<u64>() + self.partial_bytes()?,
            ),
            ("cache volumes", count, disk_size(&volumes)),
        ];
        Ok(Usage { rows })
    }

    /// Bytes of all layers; each is measured once.
    fn layer_sizes(&self) -> Result<HashMap<LayerId, u64>> {
        let known = self.index.sizes()?;
        let mut sizes = HashMap::new();
        let mut measured = Vec::new();
        for id in self.layer_ids()? {
            let bytes = known.get(&id).copied().unwrap_or_else(|| {
                let bytes = disk_size(&self.layer_directory(id));
                measured.push((id, bytes));
                bytes
            });
            sizes.insert(id, bytes);
        }
        if !measured.is_empty() {
            self.index.put_sizes(&measured)?;
        }
        Ok(sizes)
    }

    /// Forgets results that were not used within `keep`, and what only they need; with `volumes`, cache volumes that nobody
    /// uses, too. What running work needs stays.
    pub fn prune(&self, keep: Duration, volumes: bool) -> Result<Freed> {
        self.note_use()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let oldest = now.saturating_sub(keep).as_millis() as i64;
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
            bytes: self.collect(true)? + self.drop_partials(keep)?,
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
            let mut trashed = None;
            let name = entry.file_name();
            self.volumes
                .unless_used(&name.to_string_lossy(), || trashed = self.trash(&entry.path()));
            if let Some(trashed) = trashed {
                freed.bytes += disk_size(&trashed);
                freed.count += 1;
                remove::tree(&trashed);
            }
        }
        Ok(freed)
    }

    /// Holds layers and blobs to the size limit: the results that were not used for longest go first.
    pub(crate) fn keep_to_limit(&self) -> Result<()> {
        let Some(limit) = self.options.max_bytes else {
            return Ok(());
        };
        if !self.grown.swap(false, Ordering::Relaxed) || self.bytes()? <= limit {
            return Ok(());
        }
        // What nothing names goes before any result does.
        self.collect(true)?;
        self.drop_partials(Duration::ZERO)?;
        let bytes = self.bytes()?;
        if bytes <= limit {
            return Ok(());
        }
        self.note_use()?;
        let keys = self.oldest(bytes - limit)?;
        tracing::info!(
            "the store is above its limit: {} results that were not used for longest are forgotten",
            keys.len()
        );
        self.index.remove_results(&keys)?;
        self.collect(true).map(|_| ())
    }

    /// Bytes of layers, blobs and files that were received.
    fn bytes(&self) -> Result<u64> {
        let layers: u64 = self.layer_sizes()?.values().sum();
        let (blobs, received) = (self.blobs()?, self.digests_in("received")?);
        let files: u64 = blobs.iter().chain(&received).map(|(_, size)| size).sum();
        Ok(layers + files + self.partial_bytes()?)
    }

    /// The results not used for longest that together, and they alone, need so many bytes.
    fn oldest(&self, mut bytes: u64) -> Result<Vec<Digest>> {
        let results = self.index.all_results()?;
        let (layer_sizes, blob_sizes) = (self.layer_sizes()?, self.blobs()?);
        let blob_sizes: HashMap<Digest, u64> = blob_sizes.into_iter().collect();
        let pinned = self.pins.layers();
        let mut layer_uses: HashMap<LayerId, usize> = HashMap::new();
        let mut blob_uses: HashMap<Digest, usize> = HashMap::new();
        for (record, _) in &results {
            for layer in distinct_layers(record) {
                *layer_uses.entry(layer).or_default() += 1;
            }
            for blob in blobs_of(record) {
                *blob_uses.entry(blob).or_default() += 1;
            }
        }
        let mut keys = Vec::new();
        for (record, _) in &results {
            if bytes == 0 {
                break;
            }
            keys.push(record.key);
            for layer in distinct_layers(record) {
                if last_use(&mut layer_uses, &layer) && !pinned.contains(&layer) {
                    bytes = bytes.saturating_sub(layer_sizes.get(&layer).copied().unwrap_or(0));
                }
            }
            for blob in blobs_of(record) {
                if last_use(&mut blob_uses, &blob) {
                    bytes = bytes.saturating_sub(blob_sizes.get(&blob).copied().unwrap_or(0));
                }
            }
        }
        Ok(keys)
    }

    /// Removes layers, and with `and_files` blobs and received files, that no result needs and nobody uses; returns the bytes.
    pub(crate) fn collect(&self, and_files: bool) -> Result<u64> {
        let sizes = self.index.sizes()?;
        let mut freed = 0;
        let mut trashed = Vec::new();
        {
            // Out of sight while nobody looks; the slow part comes after.
            let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            let mut layers: HashSet<LayerId> = self.pins.layers();
            let mut blobs: HashSet<Digest> = self.pins.blobs();
            for (record, _) in self.index.all_results()? {
                layers.extend(layers_of(&record));
                blobs.extend(blobs_of(&record));
            }
            for id in self.layer_ids()? {
                if !layers.contains(&id)
                    && let Some(path) = self.trash(&self.layer_directory(id))
                {
                    trashed.push((id, path));
                }
            }
            if and_files {
                for (blob, _) in self.blobs()? {
                    if !blobs.contains(&blob) {
                        freed += self.remove_blob(&blob);
                    }
                }
                let expected = self.pins.files();
                for (file, size) in self.digests_in("received")? {
                    if !expected.contains(&file) && std::fs::remove_file(self.received_path(&file)).is_ok() {
                        freed += size;
                    }
                }
            }
        }
        let gone: Vec<LayerId> = trashed.iter().map(|(id, _)| *id).collect();
        self.index.forget_layers(&gone)?;
        if !gone.is_empty() {
            self.index.forget_placed(&gone.iter().copied().collect())?;
        }
        self.forget_tops(&gone);
        self.remove_flat(&gone);
        for (id, path) in trashed {
            freed += sizes.get(&id).copied().unwrap_or_else(|| disk_size(&path));
            remove::tree(&path);
        }
        Ok(freed)
    }

    /// Removes the flat copies of layers that are gone: nobody can ask for them again.
    fn remove_flat(&self, gone: &[LayerId]) {
        let gone: HashSet<&LayerId> = gone.iter().collect();
        let mut flat = self.flat.lock().unwrap_or_else(PoisonError::into_inner);
        flat.retain(|name, layers| {
            let stays = !layers.iter().any(|layer| gone.contains(layer));
            if !stays && let Some(path) = self.trash(&self.directory.join("flat").join(name)) {
                remove::tree(&path);
            }
            stays
        });
    }

    /// Moves a tree out of sight at once; whoever calls removes it.
    fn trash(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name().unwrap_or_default();
        let target = self.directory.join("trash").join(name);
        std::fs::rename(path, &target).ok().map(|()| target)
    }

    /// At the start: layers that no result names are what an interrupted run left.
    pub(crate) fn drop_orphans(&self, and_files: bool) -> Result<()> {
        let freed = self.collect(and_files)?;
        if freed > 0 {
            tracing::info!("removed {freed} bytes that an interrupted run left behind");
        }
        Ok(())
    }
}

fn distinct_layers(record: &ResultRecord) -> HashSet<LayerId> {
    layers_of(record).collect()
}

fn blobs_of(record: &ResultRecord) -> HashSet<Digest> {
    let blobs = [record.stdout, record.stderr, record.log];
    blobs.into_iter().flatten().collect()
}

/// Takes one use away; was it the last?
fn last_use<K: std::hash::Hash + Eq>(uses: &mut HashMap<K, usize>, of: &K) -> bool {
    uses.get_mut(of).is_some_and(|count| {
        *count -= 1;
        *count == 0
    })
}

/// Bytes that a tree takes on the disk. Each name of an inode counts for its share.
fn disk_size(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own / metadata.nlink().max(1);
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_size(&entry.path())).sum::<u64>()
}
