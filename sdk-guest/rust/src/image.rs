//! The right to start from images: of registries, of archives, of the caller's Docker.
//!
//! ```
//! use wharf_sdk::prelude::*;
//!
//! fn bases() -> (Container, Container) {
//!     let arm = Platform { os: "linux".into(), architecture: "arm64".into(), cpu: None };
//!     (image::pull("alpine:3.20"), image::pull_for("alpine:3.20", &arm))
//! }
//! ```

use crate::bindings::wharf::pipeline::image as raw;
use crate::{Container, File, Platform, Secret};

/// The image that `reference` names, as Docker reads it: `python:3.11-slim`, `ghcr.io/acme/app@sha256:…`. A tag is resolved
/// once a run.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let base = image::pull("python:3.11-slim");
/// ```
pub fn pull(reference: impl AsRef<str>) -> Container {
    raw::pull(reference.as_ref(), None).into()
}

/// As [`pull`], for another platform than the engine's own.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let arm = Platform { os: "linux".into(), architecture: "arm64".into(), cpu: None };
/// let base = image::pull_for("alpine:3.20", &arm);
/// ```
pub fn pull_for(reference: impl AsRef<str>, platform: &Platform) -> Container {
    raw::pull(reference.as_ref(), Some(platform)).into()
}

/// As [`pull`], from a registry that is told who we are; the secret's value is the password or a token in its place. The login
/// is in no key.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// fn base(token: &Secret) -> Container {
///     image::pull_as("ghcr.io/acme/base:1", "acme-bot", token)
/// }
/// # base(&Secret::of_value("token", "x"));
/// ```
pub fn pull_as(reference: impl AsRef<str>, user: impl AsRef<str>, password: &Secret) -> Container {
    raw::pull_as(reference.as_ref(), None, user.as_ref(), &password.0).into()
}

/// As [`pull_as`], for another platform than the engine's own.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// fn base(token: &Secret, platform: &Platform) -> Container {
///     image::pull_as_for("ghcr.io/acme/base:1", platform, "acme-bot", token)
/// }
/// # base(&Secret::of_value("token", "x"), &Platform { os: "linux".into(), architecture: "arm64".into(), cpu: None });
/// ```
pub fn pull_as_for(
    reference: impl AsRef<str>,
    platform: &Platform,
    user: impl AsRef<str>,
    password: &Secret,
) -> Container {
    raw::pull_as(reference.as_ref(), Some(platform), user.as_ref(), &password.0).into()
}

/// The image in an archive, as `docker save`, skopeo and [`Container::export`] write it, compressed or not.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let base = image::of_archive(&host::file("base.tar"));
/// ```
pub fn of_archive(file: &File) -> Container {
    raw::of_archive(&file.0, None).into()
}

/// As [`of_archive`], for another platform than the engine's own.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let arm = Platform { os: "linux".into(), architecture: "arm64".into(), cpu: None };
/// let base = image::of_archive_for(&host::file("base.tar"), &arm);
/// ```
pub fn of_archive_for(file: &File, platform: &Platform) -> Container {
    raw::of_archive(&file.0, Some(platform)).into()
}

/// The image that the caller's own Docker has under this name. It is sent to the engine when something needs it.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let mine = image::of_docker("acme/app:dev");
/// ```
pub fn of_docker(name: impl AsRef<str>) -> Container {
    raw::of_docker(name.as_ref()).into()
}
