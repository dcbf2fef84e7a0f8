//! A merged directory: the directories of several layers that an overlay would show as one.

use std::{
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, LazyLock},
};

use rustix::fs::{FileType, Mode, OFlags};

use super::{is_whiteout, shown, stat_at};
use crate::{
    error::{Context, Result},
    layer::Snapshot,
    ordinary,
    store::Store,
};

/// The attribute by which overlay marks a directory whose lower namesakes are hidden.
pub(crate) static OPAQUE: LazyLock<String> = LazyLock::new(|| ordinary::attribute("overlay.opaque"));

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// Facts about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified: i64,
    /// Number of a device.
    pub device: u64,
    /// Which inode of which disk: equal for hard links of one file.
    pub inode: (u64, u64),
}

impl Stat {
    /// The root of a tree without layers.
    pub(crate) const EMPTY_ROOT: Self = Self {
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        modified: 0,
        device: 0,
        inode: (0, 0),
    };

    /// Is it a directory?
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Is it a regular file?
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    pub(crate) fn of(stat: &rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            _ => Kind::File,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            modified: stat.st_mtime * 1_000_000_000 + stat.st_mtime_nsec as i64,
            device: stat.st_rdev,
            inode: (stat.st_dev, stat.st_ino),
        }
    }
}

/// A merged directory: its part in each layer that has one and is not hidden, the highest first.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    parts: Arc<[Arc<OwnedFd>]>,
}

/// A name in a merged directory. It opens nothing: a directory may hold more of them than a process may have open.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: Vec<u8>,
    /// The directory that it is in.
    within: Merged,
    /// How many of that directory's highest parts do not have it.
    skipped: usize,
    pub(crate) stat: Stat,
    /// How many names the inode has, in all layers of the store.
    pub(crate) links: u64,
}

impl Place {
    /// The root of a tree, by the name under which it is in itself; none when the tree is empty.
    pub(crate) fn root(root: &Merged) -> Result<Option<Self>> {
        let stat = root.stat()?;
        Ok(stat.map(|stat| Self {
            name: b".".to_vec(),
            within: root.clone(),
            skipped: 0,
            stat,
            links: 1,
        }))
    }

    /// The real directory that holds it: of a directory, its highest part's.
    pub(crate) fn parent(&self) -> &Arc<OwnedFd> {
        &self.within.parts[self.skipped]
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.stat.is_directory()
    }

    /// Of a directory: what is in it.
    pub(crate) fn directory(&self) -> Result<Option<Merged>> {
        if !self.is_directory() {
            return Ok(None);
        }
        let mut parts = Vec::new();
        for part in &self.within.parts[self.skipped..] {
            let Some(stat) = stat_at(part, &self.name)? else {
                continue;
            };
            // A lower non-directory ends what is merged under a directory.
            if !Stat::of(&stat).is_directory() {
                break;
            }
            let child = open_child(part, &self.name)?;
            let hides = is_opaque(&child);
            parts.push(Arc::new(child));
            if hides {
                break;
            }
        }
        Ok(Some(Merged { parts: parts.into() }))
    }

    /// Of a directory: its highest part, whose attributes it has.
    pub(crate) fn top(&self) -> Result<Option<OwnedFd>> {
        self.is_directory()
            .then(|| open_child(self.parent(), &self.name))
            .transpose()
    }
}

/// Opens a real directory by path.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .context(|| path.display().to_string())
}

pub(crate) fn open_child(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).context(|| shown(name))
}

pub(crate) fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 4];
    matches!(rustix::fs::fgetxattr(directory, OPAQUE.as_str(), &mut value), Ok(1) if value[0] == b'y')
}

impl Merged {
    /// The root of a snapshot, under a draft's changes when there is one.
    pub(crate) fn root(store: &Store, snapshot: &Snapshot, draft: Option<&Path>) -> Result<Self> {
        let lower = store.lower_paths(snapshot)?;
        let paths: Vec<_> = draft.map(Path::to_owned).into_iter().chain(lower).collect();
        Self::of_paths(&paths)
    }

    /// A real directory by itself.
    pub(crate) fn of_directory(directory: OwnedFd) -> Self {
        Self {
            parts: Arc::new([Arc::new(directory)]),
        }
    }

    /// The merge of these real directories, the highest first.
    pub(crate) fn of_paths(paths: &[std::path::PathBuf]) -> Result<Self> {
        let mut parts: Vec<Arc<OwnedFd>> = Vec::with_capacity(paths.len());
        for path in paths {
            if parts.last().is_some_and(|part| is_opaque(part)) {
                break;
            }
            parts.push(Arc::new(open_directory(path)?));
        }
        Ok(Self { parts: parts.into() })
    }

    /// Its highest part, whose attributes are the directory's; none for the root of the empty tree.
    pub(crate) fn top(&self) -> Option<&Arc<OwnedFd>> {
        self.parts.first()
    }

    /// Facts about the directory itself.
    pub(crate) fn stat(&self) -> Result<Option<Stat>> {
        let stat = |part: &Arc<OwnedFd>| {
            rustix::fs::fstat(part.as_fd()).context(|| "a directory of a layer".to_owned())
        };
        self.top()
            .map(stat)
            .transpose()
            .map(|stat| stat.as_ref().map(Stat::of))
    }

    /// What is at a name.
    pub(crate) fn child(&self, name: &[u8]) -> Result<Option<Place>> {
        for (skipped, part) in self.parts.iter().enumerate() {
            let Some(stat) = stat_at(part, name)? else {
                continue;
            };
            let place = || Place {
                name: name.to_vec(),
                within: self.clone(),
                skipped,
                stat: Stat::of(&stat),
                links: stat.st_nlink,
            };
            return Ok((!is_whiteout(&stat)).then(place));
        }
        Ok(None)
    }

    /// Everything in it, in no order.
    pub(crate) fn entries(&self) -> Result<Vec<Place>> {
        let mut seen = HashSet::new();
        let mut places = Vec::new();
        for part in &*self.parts {
            for name in super::names(part)? {
                if !seen.contains(&name) {
                    places.extend(self.child(&name)?);
                    seen.insert(name);
                }
            }
        }
        Ok(places)
    }
}
