//! The caller's own files and environment, as far as they were granted. Relative paths start at the project's directory.
//!
//! ```
//! use wharf_sdk::prelude::*;
//!
//! /// The project's sources, and whether this is a machine of the CI.
//! async fn project() -> Result<(Directory, bool)> {
//!     let sources = host::directory_opts("src", &CopyOptions::new().exclude(["*.bak"]));
//!     Ok((sources, host::env_variable("CI").await?.is_some()))
//! }
//! ```

use crate::bindings::wharf::pipeline::host as raw;
use crate::{CopyOptions, Directory, File, Result};

/// A directory of the caller; .gitignore and .wharfignore are honoured.
pub fn directory(path: impl AsRef<str>) -> Directory {
    raw::directory_at(path.as_ref(), None).into()
}

/// As [`directory`], taking what the options let through.
pub fn directory_opts(path: impl AsRef<str>, options: &CopyOptions) -> Directory {
    raw::directory_at(path.as_ref(), Some(&options.0)).into()
}

/// A file of the caller.
pub fn file(path: impl AsRef<str>) -> File {
    raw::file_at(path.as_ref()).into()
}

/// The nearest path of this name in `start` or above it, relative to the project's directory; none when there is none.
pub async fn find_up(name: impl Into<String>, start: impl Into<String>) -> Result<Option<String>> {
    Ok(raw::find_up(name.into(), start.into()).await?)
}

/// A variable of the caller's environment; none when it is not set.
pub async fn env_variable(name: impl Into<String>) -> Result<Option<String>> {
    Ok(raw::env_variable(name.into()).await?)
}
