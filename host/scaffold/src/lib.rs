//! What a new module begins with: the files that `wharf init` writes, and the SDK that the program carries, so that the
//! first hour needs no network and an SDK is never of another version than the host.

mod ci;
mod project;
mod sdk;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use ci::{Ci, CiFile};
pub use project::{Project, suggested_name};
pub use sdk::{CRATES, SDK, SDK_DIGEST, ensure_sdk, ensure_sdk_at, is_edited, vendored_crates};

/// What can go wrong when files are written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaffoldError {
    /// Something that would be overwritten is there.
    #[error("{0} is there already, and is left as it is")]
    Exists(PathBuf),
    /// A module's directory whose name cannot be written into a file for others.
    #[error(
        "{} cannot be named in a file of a CI system: use letters, digits and . _ - + @ in the names of directories",
        .0.display()
    )]
    Path(PathBuf),
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl ScaffoldError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
