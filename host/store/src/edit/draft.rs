//! A layer being made by an edit: opens directories in it, bringing up from below what they are.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use super::{attributes, files};
use crate::{
    error::{Context, Error, Result},
    layer::{LayerDraft, Snapshot},
    shares::Sharing,
    store::Store,
    tree::{self, Merged, Stat, shown},
};

pub(super) struct Draft<'s> {
    pub(super) store: &'s Store,
    pub(super) base: &'s Snapshot,
    layer: LayerDraft,
    root: OwnedFd,
    /// What the layer took over from others.
    pub(super) sharing: Sharing,
}

impl<'s> Draft<'s> {
    pub(super) fn new(store: &'s Store, base: &'s Snapshot) -> Result<Self> {
        let layer = store.new_layer(base)?;
        let root = tree::open_directory(&layer.path())?;
        Ok(Self {
            store,
            base,
            layer,
            root,
            sharing: Sharing::nothing(),
        })
    }

    /// The tree below, without this layer.
    pub(super) fn base_view(&self) -> Result<Merged> {
        Merged::root(self.store, self.base, None)
    }

    /// The tree with this layer.
    pub(super) fn view(&self) -> Result<Merged> {
        Merged::root(self.store, self.base, Some(&self.layer.path()))
    }

    /// Where a path leads once links are followed.
    pub(super) fn resolve(&self, path: &str) -> Result<Vec<u8>> {
        tree::real_path(&self.view()?, path.as_bytes())
    }

    /// The resolved parent and the name of a path whose last component is not followed.
    pub(super) fn parent_of(&self, path: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let (parent, name) = super::split(path)?;
        Ok((self.resolve(parent)?, name.as_bytes().to_vec()))
    }

    /// The resolved parent and name of a path whose last component is followed when it is a link.
    pub(super) fn target(&self, path: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        super::split(path)?;
        let real = self.resolve(path)?;
        let slash = real.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let (parent, name) = (real[..slash].to_vec(), real[slash + 1..].to_vec());
        if name.is_empty() {
            return Err(Error::Invalid(format!(
                "{path:?} leads to the root, which is a directory"
            )));
        }
        Ok((parent, name))
    }

    /// The real directory of this layer at a resolved path; brought up from below or made as needed.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<OwnedFd> {
        Ok(descend(&self.root, self.base_view()?, path)?.0)
    }

    /// The root of the layer's own tree.
    pub(super) fn root(&self) -> Result<OwnedFd> {
        self.root.try_clone().context(|| "the new layer".to_owned())
    }

    /// Do the layers below have this name in the directory at `parent`?
    pub(super) fn is_below(&self, parent: &[u8], name: &[u8]) -> Result<bool> {
        match tree::resolve_directory(&self.base_view()?, parent)? {
            Some(directory) => Ok(directory.child(name)?.is_some()),
            None => Ok(false),
        }
    }

    pub(super) fn publish(self) -> Result<Snapshot> {
        self.sharing.write(&self.layer.directory)?;
        let layer = self.store.publish(self.layer)?;
        let snapshot = self.base.with(layer);
        self.store.pins.give_out(&snapshot);
        Ok(snapshot)
    }
}

/// The real directory of a layer at a resolved path, brought up from `below` or made as needed, with what is below it.
pub(super) fn descend(root: &OwnedFd, below: Merged, path: &[u8]) -> Result<(OwnedFd, Option<Merged>)> {
    let mut here = root.try_clone().context(|| "the new layer".to_owned())?;
    let mut below = Some(below);
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        (here, below) = enter(&here, below.as_ref(), name)?;
    }
    Ok((here, below))
}

/// A new directory in place of whatever is at a name, hiding what is below it.
pub(super) fn replace(here: &OwnedFd, name: &[u8]) -> Result<(OwnedFd, Option<Merged>)> {
    clear(here, name)?;
    let made = make(here, name, None)?;
    mark_opaque(&made)?;
    Ok((made, None))
}

/// The directory `name` in `here`: there, brought up from `below`, or new. Returned with what is below it.
pub(super) fn enter(
    here: &OwnedFd,
    below: Option<&Merged>,
    name: &[u8],
) -> Result<(OwnedFd, Option<Merged>)> {
    let place_below = below.map(|below| below.child(name)).transpose()?.flatten();
    let own = tree::stat_at(here, name)?;
    let own_directory = own.as_ref().is_some_and(|stat| Stat::of(stat).is_directory());
    if own.is_some() && !own_directory {
        // A whiteout or a file of this layer gives way to a directory that hides what is below.
        return replace(here, name);
    }
    let directory_below = match place_below {
        None => None,
        Some(place) => Some(
            place
                .directory()?
                .ok_or_else(|| Error::Invalid(format!("{} is not a directory", shown(name))))?,
        ),
    };
    if own_directory {
        let opened = open(here, name)?;
        let hidden = tree::is_opaque(&opened);
        return Ok((opened, directory_below.filter(|_| !hidden)));
    }
    let made = make(here, name, directory_below.as_ref())?;
    Ok((made, directory_below))
}

fn make(here: &OwnedFd, name: &[u8], like: Option<&Merged>) -> Result<OwnedFd> {
    rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)).context(|| shown(name))?;
    let made = open(here, name)?;
    match like.and_then(|like| Some((like.top()?, like))) {
        Some((top, like)) => {
            attributes::copy_xattrs(&**top, &made).context(|| shown(name))?;
            if let Some(stat) = like.stat()? {
                files::set_attributes(&made, &stat).context(|| shown(name))?;
            }
        }
        None => files::set_owner_and_mode(&made, (0, 0), 0o755).context(|| shown(name))?,
    }
    Ok(made)
}

fn open(here: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    tree::open_child(here, name)
}

/// Hides what lower layers have in a directory.
fn mark_opaque(directory: &OwnedFd) -> Result<()> {
    rustix::fs::fsetxattr(
        directory,
        tree::OPAQUE.as_str(),
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .context(|| "marking a directory".to_owned())
}

/// Removes a name with all below it from a real directory.
pub(crate) fn clear(directory: &OwnedFd, name: &[u8]) -> Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(Error::io(shown(name), error)),
    }
    let inner = open(directory, name)?;
    for child in tree::names(&inner)? {
        clear(&inner, &child)?;
    }
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR).context(|| shown(name))
}
