//! Images: references, registries, manifests, layers. Knows nothing of where layers are kept or what runs in them.
//!
//! A [`Registry`] resolves a reference to one platform's manifest and fetches blobs, each checked against its digest while
//! it arrives. Mirrors are asked first, in order; the registry itself when none of them has it.

mod error;
mod layer;
mod manifest;
mod registry;

pub use error::{Error, Result};
pub use layer::LayerReader;
pub use manifest::{Config, LayerDescriptor, Platform, ResolvedImage};
pub use registry::{Registry, RegistryConfig};
