//! Edits: each makes one new layer over a snapshot, or the snapshot itself when there is nothing to change.

mod attributes;
mod copier;
mod copy;
mod draft;
mod files;
mod filter;

pub use copy::{chown, copy_directory, copy_file, diff, fill, set_timestamps, subtree};
pub use filter::Filter;

pub(crate) use attributes::{Attributed, Name, TIME_SET, is_time_set, xattrs};
pub(crate) use copier::LINK_FROM;
pub(crate) use copy::flatten;
pub(crate) use draft::clear;
pub(crate) use files::{copy_bytes, create, set_mode, set_modified, set_owner_and_mode, set_times_at};

use std::path::Path;

use draft::Draft;
use rustix::fs::{AtFlags, FileType, Mode};

use crate::{
    error::{Context, Error, Result},
    layer::Snapshot,
    ordinary,
    store::Store,
    tree::{self, Stat},
};

/// Owner and group, by number.
pub type Owner = (u32, u32);

/// How copied files arrive.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// What is taken.
    pub filter: Filter,
    /// As in the source when absent.
    pub owner: Option<Owner>,
    /// Permission bits of files; as in the source when absent.
    pub mode: Option<u32>,
}

/// Gives the root of a new layer the attributes of the root below it.
pub(crate) fn copy_root(below: &std::fs::File, root: &std::fs::File) -> std::io::Result<()> {
    attributes::copy_xattrs(below, root)?;
    let stat = rustix::fs::fstat(below)?;
    files::set_attributes(root, &Stat::of(&stat))
}

/// Splits an absolute path into parent and last component.
fn split(path: &str) -> Result<(&str, &str)> {
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() || name == "." || name == ".." {
        return Err(Error::Invalid(format!("{path:?} does not name a file")));
    }
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}

/// Writes a file; its parents are made.
pub fn write_file(
    store: &Store,
    base: &Snapshot,
    path: &str,
    bytes: &mut dyn std::io::Read,
    mode: u32,
    owner: Owner,
) -> Result<Snapshot> {
    let mut draft = Draft::new(store, base)?;
    write(&mut draft, path, bytes, mode, owner)?;
    draft.publish()
}

fn write(
    draft: &mut Draft<'_>,
    path: &str,
    bytes: &mut dyn std::io::Read,
    mode: u32,
    owner: Owner,
) -> Result<()> {
    let (parent, name) = draft.target(path)?;
    let directory = draft.directory(&parent)?;
    draft::clear(&directory, &name)?;
    let mut file = files::create(&directory, &name)?;
    std::io::copy(bytes, &mut file).context(|| format!("writing {path}"))?;
    files::set_owner_and_mode(&file, owner, mode).context(|| format!("writing {path}"))
}

/// A change of one path.
#[derive(Clone, Debug)]
pub enum Put {
    /// A file with these bytes, mode and owner.
    File(Vec<u8>, u32, Owner),
    /// A symbolic link to this.
    Symlink(String),
    /// Nothing: what is there is removed.
    Nothing,
}

/// Makes several changes in one layer, in order; parents are made.
pub fn put(store: &Store, base: &Snapshot, changes: &[(String, Put)]) -> Result<Snapshot> {
    let mut draft = Draft::new(store, base)?;
    for (path, change) in changes {
        match change {
            Put::File(bytes, mode, owner) => {
                write(&mut draft, path, &mut bytes.as_slice(), *mode, *owner)?;
            }
            Put::Symlink(target) => link(&mut draft, target, path)?,
            Put::Nothing => {
                remove_from(&mut draft, path)?;
            }
        }
    }
    draft.publish()
}

/// Makes a directory and its parents; one that is there gets mode and owner.
pub fn make_directory(
    store: &Store,
    base: &Snapshot,
    path: &str,
    mode: u32,
    owner: Owner,
) -> Result<Snapshot> {
    let mut draft = Draft::new(store, base)?;
    let real = draft.resolve(path)?;
    let directory = draft.directory(&real)?;
    files::set_owner_and_mode(&directory, owner, mode).context(|| format!("making {path}"))?;
    draft.publish()
}

/// Makes a symbolic link; what is at `path` is replaced.
pub fn symlink(store: &Store, base: &Snapshot, target: &str, path: &str) -> Result<Snapshot> {
    let mut draft = Draft::new(store, base)?;
    link(&mut draft, target, path)?;
    draft.publish()
}

fn link(draft: &mut Draft<'_>, target: &str, path: &str) -> Result<()> {
    let (parent, name) = draft.parent_of(path)?;
    let directory = draft.directory(&parent)?;
    draft::clear(&directory, &name)?;
    rustix::fs::symlinkat(target, &directory, name.as_slice()).context(|| format!("linking {path}"))
}

/// Removes paths with all below them; what is not there is no error. A link is removed, not what it points to.
pub fn remove(store: &Store, base: &Snapshot, paths: &[String]) -> Result<Snapshot> {
    let mut draft = Draft::new(store, base)?;
    let mut changed = false;
    for path in paths {
        changed |= remove_from(&mut draft, path)?;
    }
    if changed {
        draft.publish()
    } else {
        Ok(base.clone())
    }
}

/// Gives a file outside of any layer an owner, as far as there is one of that number.
pub fn give(path: &Path, owner: Owner) -> Result<()> {
    let said = || format!("giving {} away", path.display());
    let (uid, gid) = ordinary::owner(owner).context(said)?;
    rustix::fs::chownat(rustix::fs::CWD, path, uid, gid, AtFlags::empty()).context(said)
}

/// Removes a path from a draft; was it there?
fn remove_from(draft: &mut Draft<'_>, path: &str) -> Result<bool> {
    let Ok((parent, name)) = draft.parent_of(path) else {
        return Err(Error::Invalid(format!("{path:?} cannot be removed")));
    };
    let merged = draft.view()?;
    let Some(parent_directory) = tree::resolve_directory(&merged, &parent)? else {
        return Ok(false);
    };
    if parent_directory.child(&name)?.is_none() {
        return Ok(false);
    }
    let directory = draft.directory(&parent)?;
    draft::clear(&directory, &name)?;
    if draft.is_below(&parent, &name)? {
        let device = rustix::fs::makedev(0, 0);
        rustix::fs::mknodat(
            &directory,
            name.as_slice(),
            FileType::CharacterDevice,
            Mode::empty(),
            device,
        )
        .context(|| format!("removing {path}"))?;
    }
    Ok(true)
}
