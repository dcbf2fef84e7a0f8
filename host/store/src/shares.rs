//! Which inodes layers share: a file of one layer that is hard-linked into another must not meet itself in one tree, where
//! it would look like two names of one file.
//!
//! Each layer lists, beside its tree, the inodes that it took over and the layers that they may come from.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Error, Result},
    layer::{LayerId, Snapshot},
    store::Store,
};

/// The list's file, beside a layer's tree.
const FILE: &str = "shares";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Shares {
    inodes: BTreeSet<u64>,
    origins: BTreeSet<LayerId>,
}

impl Shares {
    /// What layers took over, all together.
    fn of<'l>(store: &Store, layers: impl IntoIterator<Item = &'l LayerId>) -> Result<Self> {
        let mut all = Self::default();
        for layer in layers {
            let path = store.layer_directory(*layer).join(FILE);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io(path.display().to_string(), error)),
            };
            let damaged = |_| Error::Invalid(format!("{} is damaged", path.display()));
            let own: Self = postcard::from_bytes(&bytes).map_err(damaged)?;
            all.inodes.extend(own.inodes);
            all.origins.extend(own.origins);
        }
        Ok(all)
    }
}

/// What a new layer may take over from a source's files.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    allowed: bool,
    /// Inodes that are in the tree below already.
    barred: HashSet<u64>,
    taken: Shares,
}

impl Sharing {
    /// From what is at and below `path` in `source`, which has no links on the way, into a layer over `base`. Only the layers
    /// that have something there count: most trees share those of an image.
    pub(crate) fn between(store: &Store, base: &Snapshot, source: &Snapshot, path: &[u8]) -> Result<Self> {
        let below = Path::new(OsStr::from_bytes(path));
        let below = below.strip_prefix("/").unwrap_or(below);
        let has_part = |layer: &&LayerId| {
            let place = store.layer_path(**layer).join(below);
            place.symlink_metadata().is_ok()
        };
        let parts: Vec<LayerId> = source.layers().iter().filter(has_part).copied().collect();
        let mut origins = Shares::of(store, &parts)?.origins;
        origins.extend(parts);
        Ok(Self {
            allowed: !base.layers().iter().any(|layer| origins.contains(layer)),
            barred: Shares::of(store, base.layers())?.inodes.into_iter().collect(),
            taken: Shares {
                inodes: BTreeSet::new(),
                origins,
            },
        })
    }

    /// Everything once: for a copy that stands for its source.
    pub(crate) fn anything() -> Self {
        Self {
            allowed: true,
            ..Self::default()
        }
    }

    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// May this inode be taken over? Asked once for each name of it; yes at most once.
    pub(crate) fn take(&mut self, inode: u64) -> bool {
        self.allowed && self.barred.insert(inode) && self.taken.inodes.insert(inode)
    }

    /// As [`Self::take`], of a file of this layer.
    pub(crate) fn take_from(&mut self, store: &Store, layer: LayerId, inode: u64) -> Result<bool> {
        let takes = self.take(inode);
        if takes && self.taken.origins.insert(layer) {
            let before = Shares::of(store, [&layer])?.origins;
            self.taken.origins.extend(before);
        }
        Ok(takes)
    }

    /// Writes the list beside the tree of a layer that is being made.
    pub(crate) fn write(&self, draft: &Path) -> Result<()> {
        if self.taken.inodes.is_empty() {
            return Ok(());
        }
        let bytes = postcard::to_stdvec(&self.taken).expect("lists always encode");
        let path = draft.join(FILE);
        std::fs::write(&path, bytes).context(|| path.display().to_string())
    }
}
