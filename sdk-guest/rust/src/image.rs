//! The right to start from images of registries.
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
use crate::{Container, Platform};

/// The image that `reference` names, as Docker reads it: `python:3.11-slim`, `ghcr.io/acme/app@sha256:…`. A tag is resolved
/// once a run.
pub fn pull(reference: impl AsRef<str>) -> Container {
    raw::pull(reference.as_ref(), None).into()
}

/// As [`pull`], for another platform than the engine's own.
pub fn pull_for(reference: impl AsRef<str>, platform: &Platform) -> Container {
    raw::pull(reference.as_ref(), Some(platform)).into()
}
