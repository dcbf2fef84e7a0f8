//! The right to start from images of registries.

use crate::bindings::wharf::pipeline::image as raw;
use crate::{Container, Platform, Secret};

/// The image that `reference` names, as Docker reads it: `python:3.11-slim`, `ghcr.io/acme/app@sha256:…`. A tag is resolved
/// once a run.
pub fn pull(reference: impl AsRef<str>) -> Container {
    raw::pull(reference.as_ref(), None).into()
}

/// As [`pull`], for another platform than the engine's own.
pub fn pull_for(reference: impl AsRef<str>, platform: &Platform) -> Container {
    raw::pull(reference.as_ref(), Some(platform)).into()
}

/// As [`pull`], from a registry that is told who we are; the secret's value is the password or a token in its place. The login
/// is in no key.
pub fn pull_as(reference: impl AsRef<str>, user: impl AsRef<str>, password: &Secret) -> Container {
    raw::pull_as(reference.as_ref(), None, user.as_ref(), &password.0).into()
}

/// As [`pull_as`], for another platform than the engine's own.
pub fn pull_as_for(
    reference: impl AsRef<str>,
    platform: &Platform,
    user: impl AsRef<str>,
    password: &Secret,
) -> Container {
    raw::pull_as(reference.as_ref(), Some(platform), user.as_ref(), &password.0).into()
}
