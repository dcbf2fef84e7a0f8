//! Images: references, registries, manifests, layers, archives. Knows nothing of where layers are kept or what runs in them.
//!
//! A [`Registry`] resolves a reference to one platform's manifest and fetches layers, each checked against its digests while
//! it arrives. Mirrors are asked first, in order; the registry itself when none of them has it. A [`ResolvedImage`] is plain
//! data that never changes for a digest: whoever keeps it need not ask again. [`Push`] brings blobs and manifests there.

pub mod archive;
mod artifact;
mod auth;
mod body;
mod credentials;
mod digest;
mod document;
mod download;
mod error;
mod known;
mod layer;
mod login;
mod manifest;
mod members;
mod pack;
mod place;
mod places;
mod platform;
mod push;
mod reference;
mod registry;
mod transport;

pub use artifact::RawManifest;
pub use credentials::{
    Credential, CredentialSource, docker_credentials, docker_credentials_at, login_server,
};
pub use document::{Document, ImageParts, index};
pub use error::{Error, Result};
pub use layer::LayerReader;
pub use login::Logins;
pub use manifest::{Config, History, LayerDescriptor, ResolvedImage};
pub use pack::{Compression, LayerWriter};
pub use platform::Platform;
pub use push::{Push, Start, Upload};
pub use reference::Reference;
pub use registry::{Registry, RegistryConfig};
