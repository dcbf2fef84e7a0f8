//! The walk that copies trees and brings them up changed: directories are made when something comes into them, and files
//! that have several names in the tree stay one file.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    os::fd::OwnedFd,
    sync::Arc,
};

use rustix::{fs::AtFlags, io::Errno};

use super::{
    Copy, Owner,
    attributes::{self, Attributed},
    draft, files,
    filter::{Filter, Matcher, Verdict},
};
use crate::{
    error::{Context, Error, Result},
    shares::Sharing,
    tree::{self, Kind, Merged, Place, Stat, join, shown},
};

/// Files of at least this size are shared by hard link.
pub(crate) const LINK_FROM: u64 = 64 * 1024;

/// What becomes of what is walked over.
#[derive(Clone, Copy)]
pub(super) enum Change<'c> {
    /// It is put elsewhere.
    Copy(&'c Copy),
    /// It is brought up where its owner is another.
    Owner(Owner),
    /// It is brought up with this modification time, in nanoseconds since 1970, which counts from now on.
    Time(i64),
}

impl Change<'_> {
    fn of(&self, stat: &Stat) -> Stat {
        let mut changed = *stat;
        match self {
            Self::Copy(options) => {
                (changed.uid, changed.gid) = options.owner.unwrap_or((stat.uid, stat.gid));
                if let (Kind::File, Some(mode)) = (stat.kind, options.mode) {
                    changed.mode = mode;
                }
            }
            Self::Owner(owner) => (changed.uid, changed.gid) = *owner,
            Self::Time(modified) => changed.modified = *modified,
        }
        changed
    }

    /// Is it left as it is below?
    fn leaves(&self, stat: &Stat) -> bool {
        match self {
            Self::Copy(_) | Self::Time(_) => false,
            Self::Owner(owner) => (stat.uid, stat.gid) == *owner,
        }
    }

    /// Attributes of a directory, once it is filled: filling it changed its time.
    pub(super) fn finish_directory(&self, directory: &OwnedFd, stat: &Stat) -> std::io::Result<()> {
        let stat = self.of(stat);
        files::set_attributes(directory, &stat)?;
        self.mark(directory, &stat)
    }

    fn mark(&self, file: &impl Attributed, stat: &Stat) -> std::io::Result<()> {
        match self {
            Self::Time(_) => attributes::mark_time(file, stat.modified),
            _ => Ok(()),
        }
    }
}

/// What a copy is laid over.
pub(super) struct Onto {
    /// The new layer's root.
    pub(super) root: OwnedFd,
    /// The tree below.
    pub(super) base: Merged,
    /// Where in it the copy begins.
    pub(super) at: Vec<u8>,
}

/// A directory of the target on the way to where we are; made when something is put into it.
struct Level {
    name: Vec<u8>,
    like: Option<Place>,
    /// The directory and what is below it.
    opened: Option<(Arc<OwnedFd>, Option<Merged>)>,
    /// It gets the source's attributes when it is left.
    is_new: bool,
}

pub(super) struct Copier<'c> {
    change: Change<'c>,
    matcher: Matcher,
    pub(super) sharing: Sharing,
    /// The first name of each inode that has several, somewhere in the store: disk and number, and the path in what is copied.
    /// No directory is kept open for it: a tree may have more of them than a process may have open.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    /// The tree whose files are left out when they are the same.
    pub(super) without: Option<Merged>,
    pub(super) onto: Option<Onto>,
}

impl<'c> Copier<'c> {
    pub(super) fn new(change: Change<'c>, sharing: Sharing) -> Result<Self> {
        let matcher = match change {
            Change::Copy(options) => Matcher::new(&options.filter)?,
            _ => Matcher::new(&Filter::default())?,
        };
        Ok(Self {
            change,
            matcher,
            sharing,
            first_names: HashMap::new(),
            without: None,
            onto: None,
        })
    }

    /// Takes the contents of a directory over into a real one, which has `below` under it; returns what was shared.
    pub(super) fn contents(mut self, source: &Merged, to: OwnedFd, below: Option<Merged>) -> Result<Sharing> {
        self.matcher.enter(b"", source)?;
        let mut chain = vec![Level {
            name: Vec::new(),
            like: None,
            opened: Some((Arc::new(to), below)),
            is_new: false,
        }];
        let without = self.without.take();
        self.directory(b"", source, without.as_ref(), &mut chain)?;
        Ok(self.sharing)
    }

    fn directory(
        &mut self,
        path: &[u8],
        source: &Merged,
        without: Option<&Merged>,
        chain: &mut Vec<Level>,
    ) -> Result<()> {
        let mut children = source.entries()?;
        children.sort_by(|one, other| one.name.cmp(&other.name));
        for child in children {
            let at = join(path, &child.name);
            let verdict = self.matcher.judge(&at, child.is_directory());
            if verdict == Verdict::Skip {
                continue;
            }
            let old = without
                .map(|without| without.child(&child.name))
                .transpose()?
                .flatten();
            let is_old = old.as_ref().map(|old| is_same(old, &child)).transpose()? == Some(true);
            let left = is_old || self.change.leaves(&child.stat);
            if let Some(inner) = child.directory()? {
                self.matcher.enter(&at, &inner)?;
                chain.push(Level {
                    name: child.name.clone(),
                    like: Some(child),
                    opened: None,
                    is_new: false,
                });
                if verdict == Verdict::Take && !left {
                    self.open(chain)?;
                    self.bring_up(chain);
                }
                let without = old.map(|old| old.directory()).transpose()?.flatten();
                self.directory(&at, &inner, without.as_ref(), chain)?;
                self.leave(chain)?;
            } else if !left {
                self.open(chain)?;
                if let Some((directory, _)) = chain.last().and_then(|level| level.opened.as_ref()) {
                    let directory = Arc::clone(directory);
                    if !self.is_linked(&child, at, &directory, &chain[0])? {
                        self.place(&child, &directory, &child.name)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A change in place is one of directories that are there, too.
    fn bring_up(&self, chain: &mut [Level]) {
        if let (Change::Owner(_) | Change::Time(_), Some(level)) = (self.change, chain.last_mut()) {
            level.is_new = true;
        }
    }

    fn leave(&self, chain: &mut Vec<Level>) -> Result<()> {
        let Some(level) = chain.pop() else { return Ok(()) };
        if let (true, Some(like), Some((directory, _))) = (level.is_new, &level.like, &level.opened) {
            self.change
                .finish_directory(directory, &like.stat)
                .context(|| shown(&level.name))?;
        }
        Ok(())
    }

    /// Makes the directories of the chain that are not there yet.
    fn open(&self, chain: &mut [Level]) -> Result<()> {
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
            let (directory, below) = match existing {
                Some(place) if !place.is_directory() => {
                    let names = above[1..].iter().map(|level| &level.name).chain([&level.name]);
                    match self.behind_link(&place, names)? {
                        Some(found) => found,
                        // A file, or a link to nothing, gives way to the directory.
                        None => draft::replace(parent, &level.name)?,
                    }
                }
                _ => draft::enter(parent, below.as_ref(), &level.name)?,
            };
            level.is_new = below.is_none();
            if let (true, Some(like)) = (level.is_new, &level.like)
                && let Some(source) = like.top()?
            {
                attributes::copy_xattrs(&source, &directory).context(|| shown(&level.name))?;
            }
            level.opened = Some((Arc::new(directory), below));
        }
        Ok(())
    }

    /// The directory that a link of the tree below leads to: `/bin` goes on leading to `/usr/bin`.
    fn behind_link<'n>(
        &self,
        place: &Place,
        names: impl Iterator<Item = &'n Vec<u8>>,
    ) -> Result<Option<(OwnedFd, Option<Merged>)>> {
        let Some(onto) = self.onto.as_ref().filter(|_| place.stat.kind == Kind::Symlink) else {
            return Ok(None);
        };
        let path = names.fold(onto.at.clone(), |path, name| join(&path, name));
        let Ok(real) = tree::real_path(&onto.base, &path) else {
            return Ok(None);
        };
        if tree::resolve_directory(&onto.base, &real)?.is_none() {
            return Ok(None);
        }
        draft::descend(&onto.root, onto.base.clone(), &real).map(Some)
    }

    /// Links a file to the name of it that was put before, if there is one.
    fn is_linked(&mut self, place: &Place, path: Vec<u8>, directory: &OwnedFd, top: &Level) -> Result<bool> {
        if place.stat.kind != Kind::File || place.links < 2 {
            return Ok(false);
        }
        let first = match self.first_names.entry(place.stat.inode) {
            Entry::Vacant(none) => {
                none.insert(path);
                return Ok(false);
            }
            Entry::Occupied(first) => first.get().clone(),
        };
        let (parent, name) = match first.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&first[..slash], &first[slash + 1..]),
            None => (&b""[..], &first[..]),
        };
        let parent = self.reopen(top, parent)?;
        over(directory, &place.name, || {
            rustix::fs::linkat(&parent, name, directory, place.name.as_slice(), AtFlags::empty())
                .context(|| shown(&place.name))
        })?;
        Ok(true)
    }

    /// The directory that [`Self::open`] made or found for this path of what is copied.
    fn reopen(&self, top: &Level, path: &[u8]) -> Result<OwnedFd> {
        let gone = || Error::Invalid(format!("{} is not there any more", shown(path)));
        let (directory, below) = top.opened.as_ref().ok_or_else(gone)?;
        let mut here = directory.try_clone().context(|| shown(path))?;
        let mut below = below.clone();
        let names: Vec<Vec<u8>> = path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        for (at, name) in names.iter().enumerate() {
            let place_below = below
                .as_ref()
                .map(|below| below.child(name))
                .transpose()?
                .flatten();
            let own = tree::stat_at(&here, name)?;
            if own.is_some_and(|stat| Stat::of(&stat).is_directory()) {
                here = tree::open_child(&here, name)?;
                below = match place_below {
                    Some(place) if !tree::is_opaque(&here) => place.directory()?,
                    _ => None,
                };
            } else {
                let place = place_below.ok_or_else(gone)?;
                let names = names[..=at].iter();
                (here, below) = self.behind_link(&place, names)?.ok_or_else(gone)?;
            }
        }
        Ok(here)
    }

    /// Puts what is no directory.
    pub(super) fn place(&mut self, place: &Place, directory: &Arc<OwnedFd>, name: &[u8]) -> Result<()> {
        let stat = self.change.of(&place.stat);
        let link = stat == place.stat
            && stat.kind == Kind::File
            && stat.size >= LINK_FROM
            && self.sharing.take(stat.inode.1);
        over(directory, name, || {
            if link && link_into(place, directory, name)? {
                return Ok(());
            }
            match files::copy_place(place, directory, name, &stat)? {
                Some(file) => self.change.mark(&file, &stat).context(|| shown(name)),
                None => Ok(()),
            }
        })
    }
}

/// Puts something at a name, in place of what is there: that is seldom anything, so it is not looked for first.
fn over(directory: &OwnedFd, name: &[u8], put: impl Fn() -> Result<()>) -> Result<()> {
    match put() {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            draft::clear(directory, name)?;
            put()
        }
        outcome => outcome,
    }
}

/// Shares an inode; no when it has all the names that it can have.
fn link_into(place: &Place, directory: &OwnedFd, name: &[u8]) -> Result<bool> {
    let linked = rustix::fs::linkat(
        &**place.parent(),
        place.name.as_slice(),
        directory,
        name,
        AtFlags::empty(),
    );
    match linked {
        Ok(()) => Ok(true),
        Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => Ok(false),
        Err(error) => Err(Error::io(shown(name), error)),
    }
}

/// Does the lower tree of a difference have this as it is? Of directories only their own attributes count.
fn is_same(old: &Place, place: &Place) -> Result<bool> {
    let attributes = |stat: &Stat| {
        let size = if stat.kind == Kind::File { stat.size } else { 0 };
        (stat.kind, stat.mode, stat.uid, stat.gid, size, stat.device)
    };
    if attributes(&old.stat) != attributes(&place.stat) {
        return Ok(false);
    }
    match place.stat.kind {
        Kind::Symlink if old.link_target()? != place.link_target()? => Ok(false),
        Kind::File if old.stat.inode != place.stat.inode => {
            Ok(same_xattrs(&old.open()?, &place.open()?)? && same_bytes(old, place)?)
        }
        Kind::Directory => match (old.top()?, place.top()?) {
            (Some(old), Some(new)) => same_xattrs(&old, &new),
            _ => Ok(true),
        },
        Kind::File => Ok(true),
        _ => {
            let said = || shown(&place.name);
            same_xattrs(
                &old.attributed().context(said)?,
                &place.attributed().context(said)?,
            )
        }
    }
}

fn same_xattrs(one: &impl Attributed, other: &impl Attributed) -> Result<bool> {
    let said = || "extended attributes".to_owned();
    Ok(attributes::xattrs(one).context(said)? == attributes::xattrs(other).context(said)?)
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
