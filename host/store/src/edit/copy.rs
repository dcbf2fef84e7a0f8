//! Copies from tree to tree.
//!
//! Bytes are shared where that is invisible: by reflink where the file system has it, else by hard links of larger files
//! whose attributes stay as they are, never twice within one tree.

use std::{path::Path, sync::Arc};

use super::{
    Copy, Owner, attributes,
    copier::{Change, Copier, Onto},
    draft::Draft,
    files,
};
use crate::{
    error::{Context, Error, Result},
    layer::Snapshot,
    ordinary,
    shares::Sharing,
    store::Store,
    tree::{self, Merged, Stat, View, shown},
};

/// Lays the contents of the directory `from` of `source` over what is at `to`.
pub fn copy_directory(
    store: &Store,
    base: &Snapshot,
    to: &str,
    source: &Snapshot,
    from: &str,
    options: &Copy,
) -> Result<Snapshot> {
    let view = View::new(store, source)?;
    let directory = view.directory(from.as_bytes())?;
    let mut draft = Draft::new(store, base)?;
    let real = draft.resolve(to)?;
    let target = draft.directory(&real)?;
    let below = tree::resolve_directory(&draft.base_view()?, &real)?;
    // A directory that comes with the copy belongs to whom the copy does; one that was there stays as it is.
    if let (None, Some(owner)) = (&below, options.owner) {
        let (uid, gid) = ordinary::owner(owner).context(|| format!("giving {to} away"))?;
        rustix::fs::fchown(&target, uid, gid).context(|| format!("giving {to} away"))?;
    }
    let sharing = Sharing::between(store, base, source, &view.resolve(from)?)?;
    let mut copier = Copier::new(Change::Copy(options), sharing)?;
    copier.onto = Some(Onto {
        root: draft.root()?,
        base: draft.base_view()?,
        at: real,
    });
    draft.sharing = copier.contents(&directory, target, below)?;
    draft.publish()
}

/// Puts the file or link at `from` of `source` to `to`, or into `to` when that is a directory or must be one.
pub fn copy_file(
    store: &Store,
    base: &Snapshot,
    to: &str,
    into_directory: bool,
    source: &Snapshot,
    from: &str,
    options: &Copy,
) -> Result<Snapshot> {
    let view = View::new(store, source)?;
    let place = view.find(from.as_bytes(), true)?;
    if place.is_directory() {
        return Err(Error::Invalid(format!("{from} is a directory, not a file")));
    }
    let own_name = from.rsplit('/').next().unwrap_or_default().to_owned();
    let mut draft = Draft::new(store, base)?;
    let real = draft.resolve(to)?;
    let is_directory = tree::resolve_directory(&draft.base_view()?, &real)?.is_some();
    let (parent, name) = if into_directory || is_directory {
        (real, own_name.into_bytes())
    } else {
        draft.target(to)?
    };
    let directory = Arc::new(draft.directory(&parent)?);
    let sharing = Sharing::between(store, base, source, &view.resolve(from)?)?;
    let mut copier = Copier::new(Change::Copy(options), sharing)?;
    copier.place(&place, &directory, &name)?;
    draft.sharing = copier.sharing;
    draft.publish()
}

/// The tree below `path` as a tree of its own.
pub fn subtree(store: &Store, snapshot: &Snapshot, path: &str) -> Result<Snapshot> {
    if path == "/" {
        return Ok(snapshot.clone());
    }
    let view = View::new(store, snapshot)?;
    let directory = view.directory(path.as_bytes())?;
    let empty = Snapshot::default();
    let mut draft = Draft::new(store, &empty)?;
    let options = Copy::default();
    let root = draft.root()?;
    let sharing = Sharing::between(store, &empty, snapshot, &view.resolve(path)?)?;
    let copier = Copier::new(Change::Copy(&options), sharing)?;
    draft.sharing = copier.contents(&directory, draft.root()?, None)?;
    like(&directory, &root).context(|| path.to_owned())?;
    draft.publish()
}

/// Gives a real directory the attributes of a merged one.
fn like(directory: &Merged, target: &std::os::fd::OwnedFd) -> std::io::Result<()> {
    let Some(top) = directory.top() else { return Ok(()) };
    attributes::copy_xattrs(&**top, target)?;
    files::set_attributes(target, &Stat::of(&rustix::fs::fstat(top)?))
}

/// Copies a merged tree into a real directory: what many layers are to a mount.
pub(crate) fn flatten(tree: &Merged, to: &Path) -> Result<()> {
    let options = Copy::default();
    // It stands for the layers that it is made of.
    let copier = Copier::new(Change::Copy(&options), Sharing::anything())?;
    copier.contents(tree, tree::open_directory(to)?, None)?;
    like(tree, &tree::open_directory(to)?).context(|| "the root".to_owned())
}

/// Copies the directory at `path` into a directory outside the store's layers: what fills a new cache volume.
pub fn fill(store: &Store, snapshot: &Snapshot, path: &str, to: &Path) -> Result<()> {
    let view = View::new(store, snapshot)?;
    let directory = view.directory(path.as_bytes())?;
    let options = Copy::default();
    // Never linked: whoever uses the volume writes to it.
    let copier = Copier::new(Change::Copy(&options), Sharing::nothing())?;
    copier
        .contents(&directory, tree::open_directory(to)?, None)
        .map(drop)
}

/// What `upper` has that `lower` has not, or has otherwise.
pub fn diff(store: &Store, lower: &Snapshot, upper: &Snapshot) -> Result<Snapshot> {
    let (lower_view, upper_view) = (View::new(store, lower)?, View::new(store, upper)?);
    let empty = Snapshot::default();
    let mut draft = Draft::new(store, &empty)?;
    let options = Copy::default();
    let sharing = Sharing::between(store, &empty, upper, b"/")?;
    let mut copier = Copier::new(Change::Copy(&options), sharing)?;
    copier.without = Some(lower_view.root().clone());
    draft.sharing = copier.contents(upper_view.root(), draft.root()?, None)?;
    draft.publish()
}

/// Sets the owner of a path and all below it.
pub fn chown(store: &Store, base: &Snapshot, path: &str, owner: Owner) -> Result<Snapshot> {
    rewrite(store, base, path, Change::Owner(owner))
}

/// Sets every modification time, in seconds since 1970, and makes it part of the identity.
pub fn set_timestamps(store: &Store, base: &Snapshot, seconds: u64) -> Result<Snapshot> {
    let modified = i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    rewrite(store, base, "/", Change::Time(modified))
}

/// Brings what is at and below `path` up into a new layer, where the change makes it another.
fn rewrite(store: &Store, base: &Snapshot, path: &str, change: Change<'_>) -> Result<Snapshot> {
    let mut draft = Draft::new(store, base)?;
    let real = draft.resolve(path)?;
    let root = draft.base_view()?;
    if root.top().is_none() && real == b"/" {
        return Ok(base.clone());
    }
    let start = tree::find_place(&root, &real)?.ok_or_else(|| tree::missing(path.as_bytes()))?;
    let mut copier = Copier::new(change, Sharing::nothing())?;
    if let Some(directory) = start.directory()? {
        let target = draft.directory(&real)?;
        let own = target.try_clone().context(|| shown(&real))?;
        copier.contents(&directory, own, Some(directory.clone()))?;
        change
            .finish_directory(&target, &start.stat)
            .context(|| shown(&real))?;
    } else {
        let (parent, name) = draft.target(path)?;
        let directory = Arc::new(draft.directory(&parent)?);
        copier.place(&start, &directory, &name)?;
    }
    draft.publish()
}
