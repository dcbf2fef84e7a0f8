//! Reading merged trees in our own code: what an overlay of the layers would show, without a mount, rooted, and following
//! links inside the root only.

mod merged;
mod resolve;

use std::fs::File;

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

pub use merged::{Kind, Stat};
pub(crate) use merged::{Merged, OPAQUE, Place, is_opaque, open_child, open_directory};
pub(crate) use resolve::{find as find_at, real_path};

use crate::{
    error::{Context, Error, Result},
    layer::Snapshot,
    store::Store,
};

/// An entry of a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// Facts about it, links not followed.
    pub stat: Stat,
}

/// An entry of a walk.
#[derive(Clone, Debug)]
pub struct WalkEntry {
    /// Its path relative to where the walk began.
    pub path: Vec<u8>,
    /// Facts about it, links not followed.
    pub stat: Stat,
}

/// A merged tree.
#[derive(Debug)]
pub struct View<'s> {
    snapshot: &'s Snapshot,
    root: Merged,
}

impl<'s> View<'s> {
    /// The tree that these layers make.
    pub fn new(store: &Store, snapshot: &'s Snapshot) -> Result<Self> {
        Ok(Self {
            snapshot,
            root: Merged::root(store, snapshot, None)?,
        })
    }

    /// The layers.
    pub fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }

    pub(crate) fn root(&self) -> &Merged {
        &self.root
    }

    /// What is at a path; links on the way are followed inside the root, the last one when `follow`.
    pub(crate) fn find(&self, path: &[u8], follow: bool) -> Result<Place> {
        resolve::find(&self.root, path, follow)?.ok_or_else(|| missing(path))
    }

    /// The root, when the path leads there: it is there even in the empty tree.
    fn at_root(&self, path: &[u8]) -> Result<Option<Merged>> {
        Ok((real_path(&self.root, path)? == b"/").then(|| self.root.clone()))
    }

    /// Facts about a path.
    pub fn stat(&self, path: &str, follow: bool) -> Result<Stat> {
        if self.root.top().is_none() && self.at_root(path.as_bytes())?.is_some() {
            return Ok(Stat::EMPTY_ROOT);
        }
        Ok(self.find(path.as_bytes(), follow)?.stat)
    }

    /// Where a path leads once links are followed: absolute, and it need not exist from some component on.
    pub fn resolve(&self, path: &str) -> Result<Vec<u8>> {
        resolve::real_path(&self.root, path.as_bytes())
    }

    /// Opens a regular file.
    pub fn open_file(&self, path: &str) -> Result<File> {
        let place = self.find(path.as_bytes(), true)?;
        if place.stat.kind != Kind::File {
            return Err(Error::Invalid(format!("{path} is not a file")));
        }
        place.open()
    }

    /// Target of the symbolic link at a path.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        let place = self.find(path, false)?;
        if place.stat.kind != Kind::Symlink {
            return Err(Error::Invalid(format!("{} is not a symbolic link", shown(path))));
        }
        place.link_target()
    }

    /// The bytes of the regular file at a path, links on the way followed.
    pub fn read_bytes(&self, path: &[u8]) -> Result<Vec<u8>> {
        let place = self.find(path, true)?;
        if place.stat.kind != Kind::File {
            return Err(Error::Invalid(format!("{} is not a file", shown(path))));
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut place.open()?, &mut bytes).context(|| shown(path))?;
        Ok(bytes)
    }

    /// A small file as text, when it is there; what `etc/passwd` and the like are read with.
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        match self.open_file(path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut std::io::Read::take(file, 1024 * 1024), &mut bytes)
                    .context(|| path.to_owned())?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Err(Error::NotFound(_) | Error::Invalid(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The entries of a directory, in no order.
    pub fn read_dir(&self, path: &str) -> Result<Vec<Entry>> {
        let directory = self.directory(path.as_bytes())?;
        let places = directory.entries()?;
        Ok(places
            .into_iter()
            .map(|place| Entry {
                stat: place.stat,
                name: place.name,
            })
            .collect())
    }

    pub(crate) fn directory(&self, path: &[u8]) -> Result<Merged> {
        if let Some(root) = self.at_root(path)? {
            return Ok(root);
        }
        let place = self.find(path, true)?;
        place
            .directory()?
            .ok_or_else(|| Error::Invalid(format!("{} is not a directory", shown(path))))
    }

    /// Everything below a directory, parents first, names sorted.
    pub fn walk(&self, path: &str) -> Result<impl Iterator<Item = Result<WalkEntry>> + use<>> {
        let directory = self.directory(path.as_bytes())?;
        Ok(walk(directory).map(|step| {
            step.map(|(path, place)| WalkEntry {
                path,
                stat: place.stat,
            })
        }))
    }
}

/// Everything below a directory, parents first, names sorted, with the places themselves.
pub(crate) fn walk(directory: Merged) -> impl Iterator<Item = Result<(Vec<u8>, Place)>> {
    let mut stack: Vec<(Vec<u8>, Place)> = Vec::new();
    let mut start = Some(directory);
    std::iter::from_fn(move || {
        if let Some(directory) = start.take()
            && let Err(error) = push_children(&mut stack, b"", &directory)
        {
            return Some(Err(error));
        }
        let (path, place) = stack.pop()?;
        let pushed = match place.directory() {
            Ok(Some(directory)) => push_children(&mut stack, &path, &directory),
            other => other.map(drop),
        };
        if let Err(error) = pushed {
            return Some(Err(error));
        }
        Some(Ok((path, place)))
    })
}

fn push_children(stack: &mut Vec<(Vec<u8>, Place)>, parent: &[u8], directory: &Merged) -> Result<()> {
    let mut children = directory.entries()?;
    children.sort_by(|one, other| other.name.cmp(&one.name));
    stack.extend(
        children
            .into_iter()
            .map(|place| (join(parent, &place.name), place)),
    );
    Ok(())
}

/// `parent/name`, or `name` at the top.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(parent.len() + 1 + name.len());
    path.extend_from_slice(parent);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// A path for people.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    if text.chars().any(char::is_control) {
        format!("{text:?}")
    } else {
        text.into_owned()
    }
}

pub(crate) fn missing(path: &[u8]) -> Error {
    Error::NotFound(format!("{} does not exist", shown(path)))
}

impl Place {
    /// Opens a regular file.
    pub(crate) fn open(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&**self.parent(), self.name.as_slice(), flags, Mode::empty())
            .context(|| shown(&self.name))?;
        Ok(File::from(file))
    }

    /// What is not opened for its extended attributes: links, pipes, devices.
    pub(crate) fn attributed(&self) -> std::io::Result<crate::edit::Name> {
        crate::edit::Name::of(&**self.parent(), &self.name)
    }

    /// Target of a symbolic link.
    pub(crate) fn link_target(&self) -> Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&**self.parent(), self.name.as_slice(), Vec::new())
            .context(|| shown(&self.name))?;
        Ok(target.into_bytes())
    }
}

/// What is at a path that has no links; none when it does not exist.
pub(crate) fn find_place(root: &Merged, path: &[u8]) -> Result<Option<Place>> {
    find_at(root, path, false)
}

/// The merged directory at a path; none when it does not exist or is none.
pub(crate) fn resolve_directory(root: &Merged, path: &[u8]) -> Result<Option<Merged>> {
    if path.iter().all(|byte| *byte == b'/') {
        return Ok(Some(root.clone()));
    }
    match find_at(root, path, true)? {
        Some(place) => place.directory(),
        None => Ok(None),
    }
}

/// Names in a real directory.
pub(crate) fn names(directory: &std::os::fd::OwnedFd) -> Result<Vec<Vec<u8>>> {
    // A descriptor of its own: the position of a directory is shared by duplicates.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::openat(directory, c".", flags, Mode::empty());
    let listing = own
        .and_then(rustix::fs::Dir::new)
        .context(|| "a directory of a layer".to_owned())?;
    let mut names = Vec::new();
    for entry in listing {
        match entry {
            Ok(entry) => names.push(entry.file_name().to_bytes().to_vec()),
            Err(Errno::NOENT) => break,
            Err(error) => return Err(Error::io("a directory of a layer", error)),
        }
    }
    names.retain(|name| name != b"." && name != b"..");
    Ok(names)
}

/// Facts about a name in a real directory; none when it is not there.
pub(crate) fn stat_at(directory: &impl std::os::fd::AsFd, name: &[u8]) -> Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(Error::io(shown(name), error)),
    }
}

/// Is this overlay's mark that a name of a lower layer is gone?
pub(crate) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
