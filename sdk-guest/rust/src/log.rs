//! Words for the person who watches the run, shown among the steps under the module's name.
//!
//! ```
//! use wharf_sdk::prelude::*;
//!
//! async fn each(files: Vec<File>) -> Result<u64> {
//!     let mut bytes = 0;
//!     for (done, file) in files.iter().enumerate() {
//!         log::progress(done as u64, files.len() as u64);
//!         bytes += file.size().await?;
//!     }
//!     log::info(format!("{bytes} bytes in {} files", files.len()));
//!     Ok(bytes)
//! }
//! ```

use crate::bindings::wharf::pipeline::log as raw;

/// Something worth knowing.
pub fn info(message: impl AsRef<str>) {
    raw::info(message.as_ref());
}

/// Something that may be wrong.
pub fn warn(message: impl AsRef<str>) {
    raw::warn(message.as_ref());
}

/// Something that is wrong.
pub fn error(message: impl AsRef<str>) {
    raw::error(message.as_ref());
}

/// How far the work is: `current` of `total`.
pub fn progress(current: u64, total: u64) {
    raw::progress(current, total);
}
