//! Copies from tree to tree.
//!
//! Bytes are shared where that is invisible: by reflink where the file system has it, else by hard links of larger files
//! whose attributes stay as they are, never twice within one tree.

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

use rustix::{fs::AtFlags, io::Errno};

use super::{
    Copy,
    draft::{self, Draft},
    files,
    filter::{Matcher, Verdict},
};
use crate::{
    error::{Context, Error, Result},
    layer::Snapshot,
    store::Store,
    tree::{self, Kind, Merged, Place, Stat, View, join, shown},
};

/// Files of at least this size are shared by hard link.
const LINK_FROM: u64 = 64 * 1024;

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
    let mut copier = Copier::new(&draft, source, options)?;
    copier.matcher.enter(b"", &directory)?;
    let mut chain = vec![Level {
        name: Vec::new(),
        like: None,
        opened: Some((Arc::new(target), below)),
    }];
    copier.directory(b"", &directory, &mut chain)?;
    copier.finish()?;
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
    if place.directory.is_some() {
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
    let mut copier = Copier::new(&draft, source, options)?;
    copier.place(&place, &directory, &name)?;
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
    let draft = Draft::new(store, &empty)?;
    let options = Copy::default();
    let root = tree::open_directory(&draft.path())?;
    {
        let mut copier = Copier::new(&draft, snapshot, &options)?;
        let own_root = root.try_clone().context(|| "the new layer".to_owned())?;
        let mut chain = vec![Level {
            name: Vec::new(),
            like: None,
            opened: Some((Arc::new(own_root), None)),
        }];
        copier.directory(b"", &directory, &mut chain)?;
        copier.finish()?;
    }
    if let (Some(top), Some(stat)) = (directory.top(), directory.stat()?) {
        files::copy_xattrs(top, &root).context(|| path.to_owned())?;
        files::set_attributes(&root, &stat).context(|| path.to_owned())?;
    }
    draft.publish()
}

/// Copies a merged tree into a real directory: what many layers are to a mount.
pub(crate) fn flatten(tree: &Merged, to: &Path) -> Result<()> {
    let root = tree::open_directory(to)?;
    if let (Some(top), Some(stat)) = (tree.top(), tree.stat()?) {
        files::copy_xattrs(top, &root).context(|| "the root".to_owned())?;
        files::set_attributes(&root, &stat).context(|| "the root".to_owned())?;
    }
    let options = Copy::default();
    let mut copier = Copier::with(true, &options)?;
    let mut chain = vec![Level {
        name: Vec::new(),
        like: None,
        opened: Some((Arc::new(root), None)),
    }];
    copier.directory(b"", tree, &mut chain)?;
    copier.finish()
}

/// Copies the directory at `path` into a directory outside the store's layers: what fills a new cache volume.
pub fn fill(store: &Store, snapshot: &Snapshot, path: &str, to: &Path) -> Result<()> {
    let view = View::new(store, snapshot)?;
    let directory = view.directory(path.as_bytes())?;
    let root = Arc::new(tree::open_directory(to)?);
    let options = Copy::default();
    // Never linked: whoever uses the volume writes to it.
    let mut copier = Copier::with(false, &options)?;
    let mut chain = vec![Level {
        name: Vec::new(),
        like: None,
        opened: Some((root, None)),
    }];
    copier.directory(b"", &directory, &mut chain)?;
    copier.finish()
}

/// What `upper` has that `lower` has not, or has otherwise.
pub fn diff(store: &Store, lower: &Snapshot, upper: &Snapshot) -> Result<Snapshot> {
    let (lower_view, upper_view) = (View::new(store, lower)?, View::new(store, upper)?);
    let empty = Snapshot::default();
    let draft = Draft::new(store, &empty)?;
    let root = tree::open_directory(&draft.path())?;
    {
        let options = Copy::default();
        let mut copier = Copier::new(&draft, upper, &options)?;
        copier.only_new = Some(lower_view.root().clone());
        let mut chain = vec![Level {
            name: Vec::new(),
            like: None,
            opened: Some((Arc::new(root), None)),
        }];
        copier.directory(b"", upper_view.root(), &mut chain)?;
        copier.finish()?;
    }
    draft.publish()
}

/// A directory of the target on the way to where we are; made when something is put into it.
struct Level {
    name: Vec<u8>,
    like: Option<Place>,
    opened: Option<(Arc<OwnedFd>, Option<Merged>)>,
}

fn shared((directory, below): (OwnedFd, Option<Merged>)) -> (Arc<OwnedFd>, Option<Merged>) {
    (Arc::new(directory), below)
}

struct Copier<'c> {
    options: &'c Copy,
    matcher: Matcher,
    /// May files be linked instead of copied? Not within one tree.
    may_link: bool,
    /// Inodes that were put into the target already: hard links of one file stay that.
    put: HashMap<(u64, u64), (Arc<OwnedFd>, Vec<u8>)>,
    linked: HashSet<(u64, u64)>,
    /// Directories that were made, with the attributes that they get in the end.
    made: Vec<(Arc<OwnedFd>, Stat)>,
    only_new: Option<Merged>,
}

impl<'c> Copier<'c> {
    fn new(draft: &Draft<'_>, source: &Snapshot, options: &'c Copy) -> Result<Self> {
        let shared = source
            .layers()
            .iter()
            .any(|layer| draft.base.layers().contains(layer));
        Self::with(!shared, options)
    }

    fn with(may_link: bool, options: &'c Copy) -> Result<Self> {
        Ok(Self {
            options,
            matcher: Matcher::new(&options.filter)?,
            may_link,
            put: HashMap::new(),
            linked: HashSet::new(),
            made: Vec::new(),
            only_new: None,
        })
    }

    fn directory(&mut self, path: &[u8], source: &Merged, chain: &mut Vec<Level>) -> Result<()> {
        let mut children = source.entries()?;
        children.sort_by(|one, other| one.name.cmp(&other.name));
        for child in children {
            let at = join(path, &child.name);
            let verdict = self.matcher.judge(&at, child.directory.is_some());
            if verdict == Verdict::Skip || self.is_old(&at, &child)? {
                continue;
            }
            if let Some(inner) = child.directory.clone() {
                self.matcher.enter(&at, &inner)?;
                chain.push(Level {
                    name: child.name.clone(),
                    like: Some(child),
                    opened: None,
                });
                if verdict == Verdict::Take && self.only_new.is_none() {
                    self.open(chain)?;
                }
                self.directory(&at, &inner, chain)?;
                chain.pop();
            } else {
                self.open(chain)?;
                if let Some((directory, _)) = chain.last().and_then(|level| level.opened.as_ref()) {
                    let directory = Arc::clone(directory);
                    self.place(&child, &directory, &child.name)?;
                }
            }
        }
        Ok(())
    }

    /// Does the lower tree of a difference have this as it is? Directories are looked into.
    fn is_old(&self, path: &[u8], place: &Place) -> Result<bool> {
        let Some(lower) = &self.only_new else {
            return Ok(false);
        };
        let Some(old) = tree::find_place(lower, path)? else {
            return Ok(false);
        };
        if place.directory.is_some() || old.directory.is_some() {
            return Ok(false);
        }
        let attributes = |stat: &Stat| (stat.kind, stat.mode, stat.uid, stat.gid, stat.size, stat.device);
        if attributes(&old.stat) != attributes(&place.stat) {
            return Ok(false);
        }
        match place.stat.kind {
            Kind::Symlink => Ok(old.link_target()? == place.link_target()?),
            Kind::File if old.stat.inode != place.stat.inode => same_bytes(&old, place),
            _ => Ok(true),
        }
    }

    /// Makes the directories of the chain that are not there yet.
    fn open(&mut self, chain: &mut [Level]) -> Result<()> {
        for at in 1..chain.len() {
            if chain[at].opened.is_some() {
                continue;
            }
            let (above, rest) = chain.split_at_mut(at);
            let Some((parent, below)) = above.last().and_then(|level| level.opened.as_ref()) else {
                continue;
            };
            let level = &mut rest[0];
            let existing = below
                .as_ref()
                .map(|below| below.child(&level.name))
                .transpose()?
                .flatten();
            match existing {
                Some(place) if place.directory.is_none() => {
                    // A file, or a link to wherever, gives way to the directory.
                    draft::clear(parent, &level.name)?;
                    level.opened = Some(shared(draft::replace(parent, &level.name)?));
                }
                _ => level.opened = Some(shared(draft::enter(parent, below.as_ref(), &level.name)?)),
            }
            let is_new = level.opened.as_ref().is_some_and(|(_, below)| below.is_none());
            if let (true, Some(like), Some((directory, _))) = (is_new, &level.like, &level.opened) {
                let source = like.directory.as_ref().and_then(Merged::top);
                if let Some(source) = source {
                    files::copy_xattrs(source, directory).context(|| shown(&level.name))?;
                }
                let stat = self.owned(&like.stat);
                files::set_owner_and_mode(directory, (stat.uid, stat.gid), stat.mode)
                    .context(|| shown(&level.name))?;
                self.made.push((Arc::clone(directory), stat));
            }
        }
        Ok(())
    }

    fn owned(&self, stat: &Stat) -> Stat {
        let (uid, gid) = self.options.owner.unwrap_or((stat.uid, stat.gid));
        Stat { uid, gid, ..*stat }
    }

    /// Puts what is no directory.
    fn place(&mut self, place: &Place, directory: &Arc<OwnedFd>, name: &[u8]) -> Result<()> {
        draft::clear(directory, name)?;
        let mut stat = self.owned(&place.stat);
        if let (Kind::File, Some(mode)) = (stat.kind, self.options.mode) {
            stat.mode = mode;
        }
        if let Some((other, other_name)) = self.put.get(&place.stat.inode) {
            return files::hard_link(other, other_name, directory, name);
        }
        let link = self.may_link
            && stat == place.stat
            && stat.kind == Kind::File
            && stat.size >= LINK_FROM
            && self.linked.insert(stat.inode);
        if link {
            match rustix::fs::linkat(
                &*place.parent,
                place.name.as_slice(),
                directory,
                name,
                AtFlags::empty(),
            ) {
                Ok(()) => {
                    self.note(place, directory, name);
                    return Ok(());
                }
                Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => {}
                Err(error) => return Err(Error::io(shown(name), error)),
            }
        }
        files::copy_place(place, directory, name, &stat)?;
        self.note(place, directory, name);
        Ok(())
    }

    /// Notes where a file that has several names was put.
    fn note(&mut self, place: &Place, directory: &Arc<OwnedFd>, name: &[u8]) {
        if place.stat.kind == Kind::File && place.links > 1 {
            self.put
                .insert(place.stat.inode, (Arc::clone(directory), name.to_vec()));
        }
    }

    /// Sets the times of directories: filling them changed them.
    fn finish(&mut self) -> Result<()> {
        for (directory, stat) in self.made.drain(..).rev() {
            files::set_times(&directory, &stat).context(|| "a copied directory".to_owned())?;
        }
        Ok(())
    }
}

fn same_bytes(one: &Place, other: &Place) -> Result<bool> {
    use std::io::Read;
    let (mut one, mut other) = (one.open()?, other.open()?);
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let count = one.read(&mut left).context(|| "comparing".to_owned())?;
        if count == 0 {
            return Ok(true);
        }
        if other.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
    }
}
