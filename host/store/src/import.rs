//! Layers from tar streams, as the OCI image specification has them.
//!
//! What comes in is read with suspicion: names that leave the tree and links that lead out of it are refused, and nothing
//! is written outside the new layer. A layer knows nothing of those below it, so a directory that it only passes through
//! has the attributes of a new one.

use std::{
    io::{self, Read, Seek, SeekFrom},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::fs::{AtFlags, FileType, Mode, XattrFlags};
use wharf_archive::{Entries, Entry, EntryType, Sparse};

use crate::{
    archive::{OPAQUE, WHITEOUT},
    edit::{self, Attributed},
    error::{Context, Error, Result},
    layer::{LayerDraft, LayerId, Snapshot},
    ordinary,
    store::Store,
    tree::{self, shown},
};

/// Prefix of names that are neither files nor whiteouts but another file system's own bookkeeping.
const BOOKKEEPING: &[u8] = b".wh..wh.";

impl Store {
    /// The layer in this tar stream, as the OCI image specification has it.
    pub fn import_layer(&self, stream: &mut dyn Read) -> Result<LayerId> {
        let draft = self.new_layer(&Snapshot::default())?;
        let mut import = Import::into(&draft, Kind::Layer)?;
        let mut entries = Entries::new(stream);
        while let Some(entry) = entries.next().context(|| "a layer".to_owned())? {
            import.entry(&entry, &mut entries)?;
        }
        import.finish()?;
        self.publish(draft)
    }
}

/// What an archive is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One layer of an image, with whiteouts.
    Layer,
    /// Files of anybody: nothing in it has a meaning of its own, and it has no devices.
    Files,
}

/// An archive on its way into a new layer.
pub(crate) struct Import {
    kind: Kind,
    root: OwnedFd,
    /// Set in the end: filling a directory changes its time.
    directory_times: Vec<(Vec<u8>, i64)>,
}

pub(crate) fn refused(path: &[u8], why: &str) -> Error {
    Error::Invalid(format!("the archive is refused: {} {why}", shown(path)))
}

/// The directory at a name for something that comes into it: there, or made; never through a link.
fn enter(here: &OwnedFd, name: &[u8], path: &[u8]) -> Result<OwnedFd> {
    match tree::stat_at(here, name)? {
        Some(stat) if tree::Stat::of(&stat).is_directory() => {}
        Some(stat) if tree::is_whiteout(&stat) => return over_whiteout(here, name),
        Some(_) => return Err(refused(path, "passes through something that is no directory")),
        None => rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)).context(|| shown(path))?,
    }
    tree::open_child(here, name)
}

/// A directory in place of a whiteout goes on hiding what is below.
fn over_whiteout(here: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    edit::clear(here, name)?;
    rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)).context(|| shown(name))?;
    let made = tree::open_child(here, name)?;
    hide_below(&made)?;
    Ok(made)
}

fn hide_below(directory: &OwnedFd) -> Result<()> {
    rustix::fs::fsetxattr(directory, tree::OPAQUE.as_str(), b"y", XattrFlags::empty())
        .context(|| "an opaque directory".to_owned())
}

impl Import {
    pub(crate) fn into(draft: &LayerDraft, kind: Kind) -> Result<Self> {
        Self::at(&draft.path(), kind)
    }

    /// Into a directory that is there.
    pub(crate) fn at(directory: &Path, kind: Kind) -> Result<Self> {
        Ok(Self {
            kind,
            root: tree::open_directory(directory)?,
            directory_times: Vec::new(),
        })
    }

    /// Opens the directory that holds a name, making what is missing.
    fn parent(&self, path: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
        let mut names: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
            .collect();
        if names.contains(&b"..".as_slice()) {
            return Err(refused(path, "leads out of the tree"));
        }
        let name = names.pop().unwrap_or_default().to_vec();
        let mut here = self.root.try_clone().context(|| shown(path))?;
        for part in names {
            here = enter(&here, part, path)?;
        }
        Ok((here, name))
    }

    pub(crate) fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        let path = &entry.path;
        if path.starts_with(b"/") {
            return Err(refused(path, "is absolute"));
        }
        if self.kind == Kind::Files {
            check(entry)?;
        }
        let (directory, name) = self.parent(path)?;
        if name == OPAQUE {
            return hide_below(&directory);
        }
        if name.starts_with(BOOKKEEPING) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return whiteout(&directory, hidden, path);
        }
        match entry.kind {
            EntryType::Directory => self.directory(entry, &directory, &name),
            _ if name.is_empty() => Err(refused(path, "is the root and no directory")),
            EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => {
                file(entry, content, &directory, &name)
            }
            EntryType::Link => self.link(entry, &directory, &name),
            _ => special(entry, &directory, &name),
        }
    }

    fn directory(&mut self, entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<()> {
        let path = &entry.path;
        let made = if name.is_empty() {
            self.root.try_clone().context(|| shown(path))?
        } else {
            let stat = tree::stat_at(parent, name)?;
            let gives_way =
                |stat: &rustix::fs::Stat| !tree::is_whiteout(stat) && !tree::Stat::of(stat).is_directory();
            if stat.as_ref().is_some_and(gives_way) {
                edit::clear(parent, name)?;
            }
            enter(parent, name, path)?
        };
        edit::set_owner_and_mode(&made, entry.owner, entry.mode).context(|| shown(path))?;
        set_xattrs(entry, &made)?;
        self.directory_times.push((path.clone(), entry.modified));
        Ok(())
    }

    fn link(&self, entry: &Entry, directory: &OwnedFd, name: &[u8]) -> Result<()> {
        let target = link_target(entry)?;
        let (from, from_name) = self.parent(target.strip_prefix(b"/").unwrap_or(target))?;
        edit::clear(directory, name)?;
        rustix::fs::linkat(&from, from_name.as_slice(), directory, name, AtFlags::empty())
            .map_err(|_| refused(&entry.path, "links to a file that the archive does not have"))
    }

    pub(crate) fn finish(self) -> Result<()> {
        for (path, modified) in self.directory_times.iter().rev() {
            // One that another entry replaced since has no time to be set.
            let (parent, name) = self.parent(path)?;
            let is_directory = |stat: rustix::fs::Stat| tree::Stat::of(&stat).is_directory();
            if name.is_empty() {
                edit::set_modified(&self.root, *modified).context(|| shown(path))?;
            } else if tree::stat_at(&parent, &name)?.is_some_and(is_directory) {
                edit::set_times_at(&parent, &name, *modified).context(|| shown(path))?;
            }
        }
        Ok(())
    }
}

/// Refuses what archives of files do not have.
fn check(entry: &Entry) -> Result<()> {
    let path = &entry.path;
    let parts = || {
        path.split(|byte| *byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
    };
    if parts().any(|name| name.starts_with(WHITEOUT)) {
        return Err(refused(path, "has a name that takes files away in images"));
    }
    match entry.kind {
        EntryType::Char | EntryType::Block => Err(refused(path, "is a device")),
        EntryType::Symlink if climbs_out(parts().count(), link_target(entry)?) => {
            Err(refused(path, "links out of the tree"))
        }
        _ => Ok(()),
    }
}

/// Does a relative link, from a name so many names deep, lead above the root? An absolute one starts at the root of whatever
/// tree it is seen in.
fn climbs_out(depth: usize, target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return false;
    }
    let mut depth = depth.saturating_sub(1);
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Takes a name of the layers below away; what this layer itself has there stays.
fn whiteout(directory: &OwnedFd, hidden: &[u8], path: &[u8]) -> Result<()> {
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(refused(path, "takes nothing away"));
    }
    match tree::stat_at(directory, hidden)? {
        Some(stat) if tree::Stat::of(&stat).is_directory() => {
            hide_below(&tree::open_child(directory, hidden)?)
        }
        Some(_) => Ok(()),
        None => rustix::fs::mknodat(directory, hidden, FileType::CharacterDevice, Mode::empty(), 0)
            .context(|| shown(path)),
    }
}

fn link_target(entry: &Entry) -> Result<&[u8]> {
    let target = entry.link_target.as_deref();
    target.ok_or_else(|| refused(&entry.path, "links to nothing"))
}

fn file(entry: &Entry, content: &mut dyn Read, directory: &OwnedFd, name: &[u8]) -> Result<()> {
    let said = || shown(&entry.path);
    edit::clear(directory, name)?;
    let mut file = edit::create(directory, name)?;
    match &entry.sparse {
        Some(sparse) => write_parts(sparse, content, &mut file).context(said)?,
        None => {
            io::copy(content, &mut file).context(said)?;
        }
    }
    edit::set_owner_and_mode(&file, entry.owner, entry.mode).context(said)?;
    set_xattrs(entry, &file)?;
    edit::set_modified(&file, entry.modified).context(said)
}

/// Writes a file's parts to where they lie; between them are holes.
fn write_parts(sparse: &Sparse, content: &mut dyn Read, file: &mut std::fs::File) -> io::Result<()> {
    let damaged = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    file.set_len(sparse.size)?;
    for part in &sparse.parts {
        let end = part.offset.checked_add(part.length);
        if end.is_none_or(|end| end > sparse.size) {
            return Err(damaged("a part of it lies behind its end"));
        }
        file.seek(SeekFrom::Start(part.offset))?;
        if io::copy(&mut Read::take(&mut *content, part.length), file)? < part.length {
            return Err(damaged("it has less content than its parts"));
        }
    }
    Ok(())
}

/// Links, pipes and devices.
fn special(entry: &Entry, directory: &OwnedFd, name: &[u8]) -> Result<()> {
    let said = || shown(&entry.path);
    if matches!(entry.kind, EntryType::Char | EntryType::Block) && !ordinary::makes_devices() {
        // Steps have the usual ones by other means, whatever their image holds.
        tracing::warn!(
            "{}: a device file of an image is left out, as this engine is not root",
            said()
        );
        return Ok(());
    }
    let mode = Mode::from_raw_mode(entry.mode);
    let (major, minor) = entry.device;
    let make = |kind, device| {
        edit::clear(directory, name)?;
        rustix::fs::mknodat(directory, name, kind, mode, device).context(said)
    };
    match entry.kind {
        EntryType::Symlink => {
            let target = link_target(entry)?;
            edit::clear(directory, name)?;
            rustix::fs::symlinkat(target, directory, name).context(said)?;
        }
        EntryType::Fifo => make(FileType::Fifo, 0)?,
        EntryType::Char => make(FileType::CharacterDevice, rustix::fs::makedev(major, minor))?,
        EntryType::Block => make(FileType::BlockDevice, rustix::fs::makedev(major, minor))?,
        _ => {
            return Err(refused(
                &entry.path,
                "is of a kind that archives of layers do not have",
            ));
        }
    }
    let (uid, gid) = ordinary::owner(entry.owner).context(said)?;
    rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context(said)?;
    set_xattrs(entry, &edit::Name::of(directory, name).context(said)?)?;
    if entry.kind != EntryType::Symlink {
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty()).context(said)?;
    }
    edit::set_times_at(directory, name, entry.modified).context(said)
}

fn set_xattrs(entry: &Entry, file: &impl Attributed) -> Result<()> {
    for (name, value) in &entry.attributes {
        // Overlay's marks and ours are ours to set.
        let is_ours = |begin| ordinary::is_attribute(name, begin);
        if is_ours("overlay.") || is_ours("wharf.") || name.starts_with(b"trusted.overlay.") {
            continue;
        }
        file.set(name, value)
            .context(|| format!("{}: attribute {}", shown(&entry.path), shown(name)))?;
    }
    Ok(())
}
