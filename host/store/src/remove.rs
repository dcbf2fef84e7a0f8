//! Removing trees, whatever is in them.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Sender, channel},
};

/// Removes a tree as far as it can; what stays is removed at the next start, and said.
pub(crate) fn tree(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("{} stays behind until the next start: {error}", path.display()),
    }
}

/// Removes trees behind whoever is done with them. What it has not come to when the process ends goes at the next start.
#[derive(Clone, Debug)]
pub(crate) struct Remover(Sender<PathBuf>);

impl Remover {
    /// It works until its last copy is gone.
    pub(crate) fn start() -> Self {
        let (sender, trees) = channel::<PathBuf>();
        std::thread::spawn(move || trees.iter().for_each(|path| tree(&path)));
        Self(sender)
    }

    pub(crate) fn remove(&self, path: PathBuf) {
        // Its thread does not end before the last sender.
        self.0.send(path).ok();
    }
}
