//! Words for the person who watches the run, shown among the steps under the module's name.

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
