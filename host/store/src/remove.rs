//! Removing trees, whatever is in them.

use std::path::Path;

/// Removes a tree as far as it can; what stays is removed at the next start, and said.
pub(crate) fn tree(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("{} stays behind until the next start: {error}", path.display()),
    }
}
