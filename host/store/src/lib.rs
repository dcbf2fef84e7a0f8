//! Where layers, results, logs and cache volumes live: one directory owned by one engine process.
//!
//! - [`Store`]: opening, layers, results, blobs.
//! - [`tree`]: reading merged trees. [`edit`]: new layers from old ones. Layers also come from and go to tar streams.
//! - [`CacheVolume`]: directories that outlive runs.
//!
//! A layer appears by rename and a result by one row, so what is reported is whole whatever kills the process. Layers are
//! synced in groups behind the run; a row says whether its layers were, and what was not is dropped when the machine was
//! started anew.

mod archive;
mod blob;
mod changes;
mod content;
pub mod edit;
mod error;
mod housekeeping;
mod import;
mod index;
mod layer;
mod manifest;
mod ordinary;
mod partial;
mod pins;
mod received;
mod remove;
mod shares;
mod stack;
mod store;
pub mod tree;
mod unpack;
mod verify;
mod volume;

pub use blob::LogDraft;
pub use changes::{Before, read_layer, write_layer, write_tree};
pub use error::{Error, Result};
pub use housekeeping::{Freed, Usage};
pub use index::{ResultRecord, Spent};
pub use layer::{LayerDraft, LayerId, Snapshot};
pub use manifest::{ManifestEntry, ManifestKind};
pub use pins::Pin;
pub use store::{Seen, Store, StoreOptions};
pub use verify::Verified;
pub use volume::{CacheVolume, Sharing, VolumeId};
