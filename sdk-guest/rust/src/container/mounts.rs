//! What steps of a container see beside its root file system.

use crate::{CacheVolume, Container, Directory, File, Secret};

impl Container {
    /// Mount a directory: steps may write to their own copy of it, which is discarded after each.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tested = image::pull("python:3.11").with_mounted_directory("/src", &host::directory(".")).with_exec(["pytest", "/src"]);
    /// ```
    #[must_use]
    pub fn with_mounted_directory(&self, path: impl AsRef<str>, source: &Directory) -> Self {
        Self(self.0.with_mounted_directory(path.as_ref(), &source.0, None))
    }

    /// As [`with_mounted_directory`](Self::with_mounted_directory), owned by `owner` inside.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let built = image::pull("node:22").with_user("node").with_mounted_directory_owned("/src", &host::directory("."), "node");
    /// ```
    #[must_use]
    pub fn with_mounted_directory_owned(
        &self,
        path: impl AsRef<str>,
        source: &Directory,
        owner: impl AsRef<str>,
    ) -> Self {
        Self(
            self.0
                .with_mounted_directory(path.as_ref(), &source.0, Some(owner.as_ref())),
        )
    }

    /// Mount a file, read-only for steps.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let configured = image::pull("alpine:3.20").with_mounted_file("/etc/app.toml", &host::file("app.toml"));
    /// ```
    #[must_use]
    pub fn with_mounted_file(&self, path: impl AsRef<str>, source: &File) -> Self {
        Self(self.0.with_mounted_file(path.as_ref(), &source.0, None))
    }

    /// As [`with_mounted_file`](Self::with_mounted_file), owned by `owner` inside.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let configured = image::pull("node:22").with_mounted_file_owned("/home/node/.npmrc", &host::file(".npmrc"), "node");
    /// ```
    #[must_use]
    pub fn with_mounted_file_owned(
        &self,
        path: impl AsRef<str>,
        source: &File,
        owner: impl AsRef<str>,
    ) -> Self {
        Self(
            self.0
                .with_mounted_file(path.as_ref(), &source.0, Some(owner.as_ref())),
        )
    }

    /// Mount a cache volume.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let cached = image::pull("golang:1").with_mounted_cache("/root/.cache/go-build", &CacheVolume::new("go-build"));
    /// ```
    #[must_use]
    pub fn with_mounted_cache(&self, path: impl AsRef<str>, volume: &CacheVolume) -> Self {
        Self(self.0.with_mounted_cache(path.as_ref(), &volume.0))
    }

    /// Mount a secret's value as a file in memory; owner root and mode 0o400.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn pushing(tools: Container, key: &Secret) -> Container {
    ///     tools.with_mounted_secret("/run/secrets/key", key)
    /// }
    /// # pushing(Container::new(), &Secret::of_value("key", "x"));
    /// ```
    #[must_use]
    pub fn with_mounted_secret(&self, path: impl AsRef<str>, source: &Secret) -> Self {
        Self(self.0.with_mounted_secret(path.as_ref(), &source.0, None, None))
    }

    /// Mount a secret's value as a file in memory; owner root and mode 0o400 unless given.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn pushing(tools: Container, key: &Secret) -> Container {
    ///     tools.with_user("app").with_mounted_secret_opts("/home/app/.ssh/id_ed25519", key, Some("app"), Some(0o600))
    /// }
    /// # pushing(Container::new(), &Secret::of_value("key", "x"));
    /// ```
    #[must_use]
    pub fn with_mounted_secret_opts(
        &self,
        path: impl AsRef<str>,
        source: &Secret,
        owner: Option<&str>,
        mode: Option<u32>,
    ) -> Self {
        Self(self.0.with_mounted_secret(path.as_ref(), &source.0, owner, mode))
    }

    /// Mount an empty directory in memory, of this many bytes at most when given.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let fast = image::pull("postgres:17").with_mounted_temp("/var/lib/postgresql/data", Some(1 << 30));
    /// ```
    #[must_use]
    pub fn with_mounted_temp(&self, path: impl AsRef<str>, size: Option<u64>) -> Self {
        Self(self.0.with_mounted_temp(path.as_ref(), size))
    }

    /// Take the mount at `path` away.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tested = image::pull("python:3.11").with_mounted_directory("/src", &host::directory(".")).with_exec(["pytest", "/src"]);
    /// let image = tested.without_mount("/src");
    /// ```
    #[must_use]
    pub fn without_mount(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_mount(path.as_ref()))
    }

    /// Lend the cache volume that this module has mounted at `path`: steps that other modules add to the container see it, too.
    /// They cannot write to it; [`with_lent_cache_writable`](Self::with_lent_cache_writable) lets them.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let cargo = CacheVolume::new("cargo");
    /// let for_others = image::pull("rust:1").with_mounted_cache("/usr/local/cargo/registry", &cargo)
    ///     .with_lent_cache("/usr/local/cargo/registry");
    /// ```
    #[must_use]
    pub fn with_lent_cache(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.with_lent_cache(path.as_ref(), false))
    }

    /// The same, and they can write to it: what they leave there, this module's steps find.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let scratch = CacheVolume::new("downloads");
    /// let for_others = image::pull("alpine").with_mounted_cache("/downloads", &scratch).with_lent_cache_writable("/downloads");
    /// ```
    #[must_use]
    pub fn with_lent_cache_writable(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.with_lent_cache(path.as_ref(), true))
    }
}
