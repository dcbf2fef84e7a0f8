//! Cache volumes: directories that outlive runs.

use crate::bindings::wharf::pipeline::cache;
use crate::{Directory, Sharing};

/// A directory that outlives runs, for package managers and build tools. It belongs to the module that names it, and is
/// never part of a snapshot or an image.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// fn with_pip_cache(base: &Container) -> Container {
///     let volume = CacheVolume::new("pip").with_sharing(Sharing::Locked);
///     base.with_mounted_cache("/root/.cache/pip", &volume)
/// }
/// ```
#[derive(Debug)]
pub struct CacheVolume(pub(crate) cache::Volume);

impl From<cache::Volume> for CacheVolume {
    fn from(volume: cache::Volume) -> Self {
        Self(volume)
    }
}

impl From<CacheVolume> for cache::Volume {
    fn from(volume: CacheVolume) -> Self {
        volume.0
    }
}

impl CacheVolume {
    /// The volume of this name.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let cargo = CacheVolume::new("cargo-registry");
    /// let rust = image::pull("rust:1-slim").with_mounted_cache("/usr/local/cargo/registry", &cargo);
    /// ```
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(cache::Volume::new(name.as_ref()))
    }

    /// The same volume with another way of sharing. Default: [`Sharing::Shared`].
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let apt = CacheVolume::new("apt").with_sharing(Sharing::Locked);
    /// ```
    #[must_use]
    pub fn with_sharing(&self, sharing: Sharing) -> Self {
        Self(self.0.with_sharing(sharing))
    }

    /// The same volume, filled from this directory when it is first used.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let seed = image::pull("rust:1-slim").directory("/usr/local/cargo/registry");
    /// let cargo = CacheVolume::new("cargo-registry").with_source(&seed);
    /// ```
    #[must_use]
    pub fn with_source(&self, source: &Directory) -> Self {
        Self(self.0.with_source(&source.0))
    }

    /// The same volume whose root is owned by `owner` (`uid` or `uid:gid`) when it is first used.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let npm = CacheVolume::new("npm").with_owner("node:node");
    /// let node = image::pull("node:22").with_user("node").with_mounted_cache("/home/node/.npm", &npm);
    /// ```
    #[must_use]
    pub fn with_owner(&self, owner: impl AsRef<str>) -> Self {
        Self(self.0.with_owner(owner.as_ref()))
    }
}
