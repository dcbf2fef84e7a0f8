//! How an image is published: the options of `publish_opts`.

use crate::bindings::wharf::pipeline::publishing as raw;
use crate::{Compression, Container, Secret};

/// How an image is published. All settings are optional: one platform, no further tags, gzip, the caller's own login.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// /// Publishes an application for two platforms, and returns its reference with its digest.
/// pub async fn release(amd64: Container, arm64: Container, token: Secret) -> Result<String> {
///     let options = PublishOptions::new()
///         .tag("1.4")
///         .tag("latest")
///         .platform(&arm64)
///         .compression(Compression::Zstd)
///         .annotation("org.opencontainers.image.source", "https://example.com/acme/app")
///         .login("acme-bot", &token);
///     amd64.publish_opts("ghcr.io/acme/app:1.4.2", &options).await
/// }
/// ```
#[derive(Debug)]
pub struct PublishOptions(pub(crate) raw::PublishOptions);

impl Default for PublishOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl PublishOptions {
    /// One platform, no further tags, gzip, the caller's own login.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = PublishOptions::new();
    /// ```
    pub fn new() -> Self {
        Self(raw::PublishOptions::new())
    }

    /// Another tag that the image gets.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = PublishOptions::new().tag("1.4").tag("latest");
    /// ```
    #[must_use]
    pub fn tag(self, tag: impl AsRef<str>) -> Self {
        self.0.add_tag(tag.as_ref());
        self
    }

    /// The same image for another platform: the reference will name a list of all of them.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn both(arm64: &Container) -> PublishOptions {
    ///     PublishOptions::new().platform(arm64)
    /// }
    /// # both(&Container::new());
    /// ```
    #[must_use]
    pub fn platform(self, container: &Container) -> Self {
        self.0.add_platform(&container.0);
        self
    }

    /// How new layers are compressed. Default: [`Compression::Gzip`].
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = PublishOptions::new().compression(Compression::Zstd);
    /// ```
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        self.0.set_compression(compression);
        self
    }

    /// Something that the manifest says beside, such as `org.opencontainers.image.source`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = PublishOptions::new().annotation("org.opencontainers.image.source", "https://example.com/acme/app");
    /// ```
    #[must_use]
    pub fn annotation(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.0.add_annotation(name.as_ref(), value.as_ref());
        self
    }

    /// Who the registry is told that we are, and a secret whose value is the password or a token in its place. Without it:
    /// what the caller is logged in as.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn as_the_bot(token: &Secret) -> PublishOptions {
    ///     PublishOptions::new().login("acme-bot", token)
    /// }
    /// # as_the_bot(&Secret::of_value("token", "x"));
    /// ```
    #[must_use]
    pub fn login(self, user: impl AsRef<str>, password: &Secret) -> Self {
        self.0.set_login(user.as_ref(), &password.0);
        self
    }
}
