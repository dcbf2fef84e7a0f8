//! Where layers come from and what they are as blobs: what the store keeps is unpacked, and the blobs are named again when
//! an image is published.

use std::{
    fs::File,
    io::{self, BufWriter},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use wharf_digest::Digest;
use wharf_graph::{
    plan::{ContainerPlan, Make, Tree},
    publish::Compression,
};
use wharf_oci::{History, LayerDescriptor, LayerWriter, ResolvedImage};
use wharf_store::{Error, LayerId, Store};

use crate::image::Source;

/// How layers are made blobs, by name: what was noted of those that were packed in another way is not true of these.
const PACKING: &str = "in members";

/// The blob that a layer was unpacked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) layer: LayerDescriptor,
    /// An image of a registry that has it, with its digest; none of what came from an archive.
    pub(crate) reference: Option<String>,
}

/// The image that a container started from.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) image: Arc<ResolvedImage>,
    pub(crate) source: Source,
}

impl Base {
    /// The blob that the image has for a content, where it is one that can be published.
    fn origin(&self, diff_id: &str) -> Option<Origin> {
        let layer = self.image.layers.iter().find(|layer| layer.diff_id == diff_id)?;
        let origin = self.source.origin(&self.image, layer);
        Some(origin).filter(|origin| origin.reference.is_some() || layer.is_compressed())
    }
}

/// A layer of an image that is to be published.
#[derive(Debug)]
pub(crate) enum Part {
    /// The blob that it was unpacked from.
    Kept(Origin),
    /// A blob that is made of it; in a file when that was just now.
    Made {
        id: LayerId,
        layer: LayerDescriptor,
        blob: Option<File>,
    },
}

impl Part {
    pub(crate) fn layer(&self) -> &LayerDescriptor {
        match self {
            Self::Kept(origin) => &origin.layer,
            Self::Made { layer, .. } => layer,
        }
    }

    /// Is there nothing in it? What an image has is kept all the same.
    pub(crate) fn is_needless(&self) -> bool {
        matches!(self, Self::Made { layer, .. } if layer.is_empty())
    }
}

impl Origin {
    /// Remembers what a layer was unpacked from. A layer's number is never another's.
    pub(crate) fn note(&self, store: &Store, id: LayerId) -> Result<(), Error> {
        let text = serde_json::to_vec(self).expect("what is plain data is written");
        store.put_note(&origin_name(id), &text)
    }

    fn of(store: &Store, id: LayerId) -> Result<Option<Self>, Error> {
        let note = store.note(&origin_name(id))?;
        Ok(note.and_then(|text| serde_json::from_slice(&text).ok()))
    }
}

fn origin_name(id: LayerId) -> Digest {
    Digest::of(format!("origin of layer {id}").as_bytes())
}

/// What a layer is in an image: the blob that it was unpacked from, the one that the image `base` has if it can be, or a
/// blob that is made of it.
pub(crate) fn part(
    store: &Store,
    id: LayerId,
    base: Option<&Base>,
    compression: Compression,
) -> Result<Part, Error> {
    // The same tree may be several blobs, compressed by several tools: the one that the container's own image has is kept.
    let own = |origin: Origin| {
        let in_base = base.and_then(|base| base.origin(&origin.layer.diff_id));
        in_base.or_else(|| Some(origin).filter(|origin| origin.reference.is_some()))
    };
    match Origin::of(store, id)?.and_then(own) {
        Some(origin) => Ok(Part::Kept(origin)),
        None => packed(store, id, compression),
    }
}

/// What is remembered of a layer that was packed before, as the same layer always makes the same blob; else the blob, too.
fn packed(store: &Store, id: LayerId, compression: Compression) -> Result<Part, Error> {
    let name = Digest::of(format!("layer {id} packed by {compression:?}, {PACKING}").as_bytes());
    if let Some(text) = store.note(&name)?
        && let Ok(layer) = serde_json::from_slice(&text)
    {
        let blob = None;
        return Ok(Part::Made { id, layer, blob });
    }
    let (layer, blob) = pack(store, id, compression)?;
    let text = serde_json::to_vec(&layer).expect("what is plain data is written");
    store.put_note(&name, &text)?;
    let blob = Some(blob);
    Ok(Part::Made { id, layer, blob })
}

/// Writes a layer's blob.
pub(crate) fn pack(
    store: &Store,
    id: LayerId,
    compression: Compression,
) -> Result<(LayerDescriptor, File), Error> {
    let compression = match compression {
        Compression::Gzip => wharf_oci::Compression::Gzip,
        Compression::Zstd => wharf_oci::Compression::Zstd,
        Compression::None => wharf_oci::Compression::None,
    };
    let io_error = |source: io::Error| Error::Io {
        context: "packing a layer".to_owned(),
        source,
    };
    let blob = store.passing_file()?;
    let mut writer = LayerWriter::new(BufWriter::new(&blob), compression).map_err(io_error)?;
    store.export_layer(id, &mut writer)?;
    let layer = writer.finish().map_err(io_error)?;
    Ok((layer, blob))
}

/// The image that a container started from, and what was done to its root file system since.
pub(crate) struct Lineage {
    /// Digest of the image's manifest.
    pub(crate) manifest: Option<String>,
    /// The lowest first, each a layer.
    changes: Vec<Arc<Tree>>,
}

impl Lineage {
    pub(crate) fn of(container: &ContainerPlan) -> Self {
        let mut changes = Vec::new();
        let mut tree = Arc::clone(&container.root);
        let manifest = loop {
            let below = match &tree.make {
                Make::Edit { base, .. } => Arc::clone(base),
                Make::Exec(step) => Arc::clone(&step.root),
                Make::Image { manifest, .. } => break Some(manifest.clone()),
                _ => break None,
            };
            changes.push(std::mem::replace(&mut tree, below));
        };
        changes.reverse();
        Self { manifest, changes }
    }

    /// How the layers came to be: what the image says of its own, and a line for each of the others.
    pub(crate) fn history(&self, base: Option<&Base>, parts: &[Part]) -> Vec<History> {
        let mut history = base.map(|base| base.image.history.clone()).unwrap_or_default();
        let told = history.iter().filter(|entry| !entry.empty_layer).count();
        let own = parts.len().saturating_sub(told);
        // A step may leave several layers, or none: then nobody can say which is whose.
        let titles = (self.changes.len() == own).then(|| self.changes.iter().map(|tree| tree.title()));
        let mut titles = titles.into_iter().flatten();
        history.extend((0..own).map(|_| History {
            created_by: Some(titles.next().unwrap_or_else(|| "wharf".to_owned())),
            ..History::default()
        }));
        history
    }
}
