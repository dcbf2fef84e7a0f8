//! Layers and snapshots.
//!
//! A layer is an immutable directory tree of changes in overlay's own format (a whiteout is a 0:0 device, an opaque
//! directory has an attribute), published by rename. A snapshot is a stack of them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Result},
    remove::Remover,
    tree,
};

/// Names a layer: a number that this store never gave to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerId(pub u64);

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A stack of layers, the lowest first. Empty is the empty tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Snapshot {
    layers: Arc<[LayerId]>,
}

impl Snapshot {
    /// The stack of these layers, the lowest first.
    pub fn new(layers: impl Into<Arc<[LayerId]>>) -> Self {
        Self {
            layers: layers.into(),
        }
    }

    /// The layers, the lowest first.
    pub fn layers(&self) -> &[LayerId] {
        &self.layers
    }

    pub(crate) fn downgrade(&self) -> std::sync::Weak<[LayerId]> {
        Arc::downgrade(&self.layers)
    }

    /// The same stack with one more layer on top.
    #[must_use]
    pub fn with(&self, layer: LayerId) -> Self {
        Self {
            layers: self.layers.iter().copied().chain([layer]).collect(),
        }
    }
}

/// What stands in a layer's root.
#[derive(Debug)]
pub(crate) struct Top {
    /// It hides all that is below it.
    pub(crate) hides: bool,
    /// Its names, whiteouts among them.
    pub(crate) names: Vec<Vec<u8>>,
}

impl Top {
    pub(crate) fn read(diff: &Path) -> Result<Self> {
        let root = tree::open_directory(diff)?;
        Ok(Self {
            hides: tree::is_opaque(&root),
            names: tree::names(&root)?,
        })
    }
}

/// A layer that is being made: directories of its own, removed when it is dropped without having been published.
#[derive(Debug)]
pub struct LayerDraft {
    pub(crate) directory: PathBuf,
    work: PathBuf,
    pub(crate) id: LayerId,
    pub(crate) published: bool,
    remover: Remover,
}

impl LayerDraft {
    /// In the store's directory.
    pub(crate) fn create(store: &Path, id: LayerId, remover: &Remover) -> Result<Self> {
        let name = id.to_string();
        let draft = Self {
            directory: store.join("drafts").join(&name),
            work: store.join("work").join(&name),
            id,
            published: false,
            remover: remover.clone(),
        };
        for part in [&draft.directory, &draft.path(), &draft.work] {
            std::fs::create_dir(part).context(|| format!("new layer {id}"))?;
        }
        Ok(draft)
    }

    /// The tree of changes: what an overlay takes as upper directory.
    pub fn path(&self) -> PathBuf {
        self.directory.join("diff")
    }

    /// A directory that an overlay takes as its work directory.
    pub fn work(&self) -> PathBuf {
        self.work.clone()
    }
}

impl Drop for LayerDraft {
    fn drop(&mut self) {
        // Overlay's own directory is part of no layer; nobody waits until it is gone.
        self.remover.remove(std::mem::take(&mut self.work));
        if !self.published {
            crate::remove::tree(&self.directory);
        }
    }
}
