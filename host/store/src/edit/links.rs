//! Hard links during a copy: files of a tree that have several names stay that.
//!
//! Their first copies are linked into a directory of their own while the copy is under way, so that no directory has to be
//! kept open for them: a tree may have more directories with such files than a process may have open.

use std::{
    collections::HashSet,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{fs::AtFlags, io::Errno};
use tempfile::TempDir;

use crate::{
    error::{Context, Error, Result},
    tree::{self, shown},
};

/// An inode of a source: its disk and its number.
type Inode = (u64, u64);

/// The files of a copy that have several names.
pub(super) struct Links {
    /// Where directories can be made on the target's disk.
    drafts: PathBuf,
    own: Option<(TempDir, OwnedFd)>,
    put: HashSet<Inode>,
}

impl Links {
    pub(super) fn new(drafts: &Path) -> Self {
        Self {
            drafts: drafts.to_owned(),
            own: None,
            put: HashSet::new(),
        }
    }

    /// Links what was put for this inode to a name, in place of what is there; no when nothing was.
    pub(super) fn link(&self, inode: Inode, directory: &OwnedFd, name: &[u8]) -> Result<bool> {
        let Some((_, own)) = self.own.as_ref().filter(|_| self.put.contains(&inode)) else {
            return Ok(false);
        };
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::io(shown(name), error)),
        }
        rustix::fs::linkat(own, name_of(inode), directory, name, AtFlags::empty()).context(|| shown(name))?;
        Ok(true)
    }

    /// Notes what was put for an inode.
    pub(super) fn keep(&mut self, inode: Inode, directory: &OwnedFd, name: &[u8]) -> Result<()> {
        let (_, own) = match &mut self.own {
            Some(own) => own,
            None => {
                let directory = tempfile::tempdir_in(&self.drafts).context(|| shown(name))?;
                let opened = tree::open_directory(directory.path())?;
                self.own.insert((directory, opened))
            }
        };
        rustix::fs::linkat(directory, name, &*own, name_of(inode), AtFlags::empty())
            .context(|| shown(name))?;
        self.put.insert(inode);
        Ok(())
    }
}

fn name_of((disk, number): Inode) -> String {
    format!("{disk}-{number}")
}
